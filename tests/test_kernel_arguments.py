"""Every kernel function that can be imported refuses arrays that do not fit, or computes what NumPy does.

Compiled code has no checks: an array too small would be read and written beyond its end.
"""

import importlib
import inspect
import pkgutil

import numba
import numpy as np
import pytest
from test_kernels import BACKWARDS, OPS, UPDATES, backward_of, run, stem, typical, upstream

from minicnn.engine import kernels, reference
from minicnn.engine.kernels.dense import sum_rows
from minicnn.engine.kernels.jit import Kernel
from minicnn.engine.kernels.matmul import matmul
from minicnn.engine.kernels.sparse import adam_along_product, sparse_input_gradient, sparse_weight_gradient
from minicnn.engine.kernels.threads import set_threads
from minicnn.engine.kernels.updates import adam_numbers
from minicnn.engine.workspace import FRESH

REFUSED = (TypeError, ValueError)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Checks do not depend on it, and the parallel variants take three times as long to compile."""
    before = numba.get_num_threads()
    set_threads(1)
    yield
    set_threads(before)


# --- the functions, and arguments that fit --------------------------------------------------------


def numbers(*shape):
    return np.random.default_rng(len(shape)).integers(-32, 33, shape) / 16


def mostly_zeros(*shape):
    return numbers(*shape) * (np.random.default_rng(0).random(shape) < 0.2)


def adam_of_product(w, x, dy, m, v, settings, workspace):
    reference.adam_product_update(w, x, dy, m, v, *settings)
    return True


def with_numbers(w, x, dy, m, v, settings, workspace):
    return adam_along_product(w, x, dy, m, v, adam_numbers(np.dtype(np.float64), *settings), workspace)


def assigned(out, value):
    out[...] = value
    return True


ADAM = (3, 0.01, 0.8, 0.9, 1e-3, 0.5)
X, DY, W = numbers(5, 21), mostly_zeros(5, 19), numbers(21, 19)
# Besides the operations: a function, arguments that fit, and its twin in NumPy. Some change arrays in place.
OTHERS = {
    "matmul": (
        lambda a, b, bias, out: matmul(a, b, bias, out=out),
        (numbers(5, 21), W, numbers(19), np.empty((5, 19))),
        lambda a, b, bias, out: assigned(out, a @ b + (0 if bias is None else bias)) and out,
    ),
    "sum_rows": (sum_rows, (DY, FRESH), lambda dy, _: dy.sum(axis=0)),
    "sparse_input_gradient": (
        sparse_input_gradient,
        (DY, W, np.empty((5, 21)), FRESH),
        lambda dy, w, dx, _: assigned(dx, dy @ w.T),
    ),
    "sparse_weight_gradient": (
        sparse_weight_gradient,
        (DY, X, np.empty((21, 19)), FRESH),
        lambda dy, x, dw, _: assigned(dw, x.T @ dy),
    ),
    "adam_along_product": (with_numbers, (W, X, DY, W, W**2, ADAM, FRESH), adam_of_product),
}
# Or checks of arrays, or plain NumPy, or not for computing.
WITHOUT_ARRAYS = {
    "adam_numbers",
    "announce_compilation",
    "compile_seconds",
    "compiled",
    "constant",
    "dry_run",
    "expect",
    "expect_changeable",
    "expect_contiguous",
    "expect_convolution",
    "expect_floats",
    "expect_sizes",
    "expect_window",
    "find_processor",
    "has_cache",
    "helper",
    "kernel",
    "lanes",
    "on_first_compilation",
    "panel_width",
    "place_workers",
    "plain_gather_sum",
    "plain_sandwich",
    "plain_tile",
    "set_thread_count",
    "set_threads",
    "starts_of",
    "suits_winograd",
    "thread_count",
    "transforms",
    "warn_uncached",
}


def modules():
    return [
        importlib.import_module(f"{kernels.__name__}.{module.name}")
        for module in pkgutil.iter_modules(kernels.__path__)
    ]


def test_every_function_that_can_be_imported_is_tried_here():
    found = {
        name
        for module in modules()
        for name, thing in vars(module).items()
        if inspect.isfunction(thing) and thing.__module__ == module.__name__ and not name.startswith("_")
    }
    assert found == {*OPS, *OTHERS, *WITHOUT_ARRAYS}


def test_no_loop_nest_is_public():
    """They have no checks."""
    public = [f"{m.__name__}.{n}" for m in modules() for n, k in vars(m).items() if isinstance(k, Kernel)]
    assert [name for name in public if not name.rpartition(".")[2].startswith("_")] == []


# --- arguments that do not fit --------------------------------------------------------------------


def longer(array, axis):
    return np.concatenate([array, array.take([0], axis)], axis)


def shorter(array, axis):
    return np.ascontiguousarray(array.take(range(1, array.shape[axis]), axis))


def empty(array, axis):
    return array.take([], axis)


BY_AXIS = [longer, shorter, empty]
CHANGES = {
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "complex": lambda a: a.astype(complex),
    "integers": lambda a: np.ones(a.shape, np.int16),
    "objects": lambda a: a.astype(object),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "one axis more": lambda a: a[None],
    "one axis at the end": lambda a: a[..., None],
    "flat": lambda a: a.reshape(-1),
    "one number": lambda a: a.reshape(-1)[0],
    "a list": lambda a: a.tolist(),
    "nothing": lambda a: None,
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "Fortran order": np.asfortranarray,
}


def arrays_in(value, place=()):
    """The places of all arrays, those in caches too."""
    if isinstance(value, np.ndarray):
        yield place
    elif isinstance(value, tuple):
        for i, part in enumerate(value):
            yield from arrays_in(part, (*place, i))


def replaced(value, place, change):
    if not place:
        return change(value)
    parts = list(value)
    parts[place[0]] = replaced(parts[place[0]], place[1:], change)
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def spoiled(args):
    """The arguments with one array in them changed, in every way: each with its place and its change."""
    for place in arrays_in(args):
        array = args
        for i in place:
            array = array[i]
        for name, change in CHANGES.items():
            yield replaced(args, place, change), f"{place}: {name}"
        for change in BY_AXIS:
            for axis in range(array.ndim):
                changed = replaced(args, place, lambda a, change=change, axis=axis: change(a, axis))
                yield changed, f"{place}: {change.__name__} along axis {axis}"


def listed(results):
    return list(results) if isinstance(results, tuple) else [results]


def assert_same(actual, expected, what):
    assert len(actual) == len(expected), what
    for a, e in zip(actual, expected, strict=True):
        assert np.shape(a) == np.shape(e), what
        rtol = 1e4 * np.finfo(np.result_type(a)).eps
        np.testing.assert_allclose(a, e, rtol, rtol, err_msg=what)


def computed(function, args):
    """The result and the arrays as they are then, or None if the arguments are refused."""
    args = tuple(a.copy("K") if isinstance(a, np.ndarray) else a for a in args)
    try:
        result = function(*args)
    except REFUSED:
        return None
    arrays = [a for a in args if isinstance(a, np.ndarray)]
    return [result, *arrays] if isinstance(result, np.ndarray) else arrays


@pytest.mark.parametrize("name", [name for name in OPS if name not in BACKWARDS])
def test_an_operation_refuses_what_does_not_fit_or_computes_what_the_reference_does(name):
    for args, what in spoiled(typical(name).args):
        try:
            actual = run(kernels, name, args)
        except REFUSED:
            continue
        assert_same(actual, run(reference, name, args), what)


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_backward_refuses_what_does_not_fit_with_its_cache(name):
    y, cache = getattr(kernels, f"{stem(name)}_forward")(*typical(name).args)
    backward, dy = backward_of(kernels, name, y), upstream(y)
    expected = backward(dy, cache)
    for args, what in spoiled((dy, cache)):
        try:
            actual = backward(*args)
        except REFUSED:
            continue
        if name == "softmax_cross_entropy_backward":  # any probabilities will do
            expected = reference.softmax_cross_entropy_backward(*args)
        # Otherwise another layout of the same numbers, or an array that is not needed.
        assert_same(listed(actual), listed(expected), what)


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_functions_refuse_what_does_not_fit_or_compute_what_numpy_does(name):
    function, args, twin = OTHERS[name]
    assert_same(computed(function, args), computed(twin, args), "as they should be")
    for changed, what in spoiled(args):
        actual = computed(function, changed)
        if actual is not None:
            assert_same(actual, computed(twin, changed), what)


@pytest.mark.parametrize("name", UPDATES)
def test_an_array_that_cannot_be_written_is_refused(name):
    value, *others = typical(name).args
    value.flags.writeable = False
    with pytest.raises(ValueError, match="got a read-only one"):
        getattr(kernels, name)(value, *others)


@pytest.mark.parametrize("size", [0, -1, 1.5, 2.0, None, "2"])
@pytest.mark.parametrize("name", ["conv2d_forward", "conv_relu_pool_forward", "im2col", "col2im"])
def test_a_stride_that_is_none_is_refused(name, size):
    args = list(typical(name).args)
    args[-2] = size
    with pytest.raises(REFUSED, match="stride: expected"):
        getattr(kernels, name)(*args)
