"""The third link: every kernel has the name, the signature and the results of its twin in the reference.

Operations enrol by themselves: all public functions of the reference must have a twin and a builder
of arguments here.
"""

import inspect
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.engine import kernels, reference
from minicnn.engine.kernels.threads import set_threads
from minicnn.engine.kernels.winograd import MIN_CHANNELS, TAPS
from minicnn.engine.shards import shard_sizes
from minicnn.engine.workspace import FRESH, Workspace, aligned_empty

SHARED = {
    "expect_padding",
    "window_geometry",
    "pad_images",
    "spline_basis",
    "spline_knots",
}  # arithmetic on sizes, which the kernels import
OPS = [
    name
    for name, op in vars(reference).items()
    if inspect.isfunction(op) and not name.startswith("_") and name not in SHARED
]
FORWARDS = [name for name in OPS if name.endswith("_forward")]
BACKWARDS = [name for name in OPS if name.endswith(("_backward", "_backward_by_shards"))]
UPDATES = [name for name in OPS if name.endswith("_update")]
ENTRY_BY_ENTRY = [name for name in UPDATES if name != "adam_product_update"]
FUNCTIONS = [name for name in OPS if name not in UPDATES]  # these return new arrays

every_op = pytest.mark.parametrize("name", OPS)
every_function = pytest.mark.parametrize("name", FUNCTIONS)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


# --- arguments for each operation ----------------------------------------------------------------


class Numbers:
    """Random arrays of one dtype and one kind; call it with a shape."""

    def __init__(self, seed, dtype, kind="normal"):
        self.rng, self.dtype, self.kind = np.random.default_rng(seed), dtype, kind

    def __call__(self, *shape):
        return getattr(self, self.kind)(shape).astype(self.dtype)

    def normal(self, shape):
        return self.rng.standard_normal(shape)

    def integers(self, shape):
        """Many ties, and sums without rounding."""
        return self.rng.integers(-3, 4, shape)

    def blank(self, shape):
        """Mostly zeros, like the border of a digit."""
        return self.integers(shape) * (self.rng.random(shape) < 0.1)

    def sixteenths(self, shape):
        """Fractions whose products and sums are exact, in any order of summation."""
        return self.rng.integers(-32, 33, shape) / 16


class Case:
    """Arguments of an op (of the forward for a backward), and the length of the longest sum in it."""

    def __init__(self, *args, length=1):
        self.args, self.length = args, length


def conv2d(numbers, N=3, H=7, W=6, C=3, F=5, kh=3, kw=4, stride=1, padding="same"):
    H, W = (max(H, kh), max(W, kw)) if padding == "valid" else (H, W)
    length = max(kh * kw * max(C, F), N * H * W)
    return Case(numbers(N, H, W, C), numbers(kh, kw, C, F), numbers(F), stride, padding, length=length)


def im2col(numbers, **sizes):
    x, w, _, stride, padding = conv2d(numbers, **sizes).args
    return Case(x, w.shape[0], w.shape[1], stride, padding)


def col2im(numbers, **sizes):
    x, *window = im2col(numbers, **sizes).args
    cols = reference.im2col(x, *window)
    return Case(numbers(*cols.shape), x.shape, *window, length=window[0] * window[1])


def max_pool2d(numbers, N=3, H=7, W=6, C=3, size=2, stride=2, padding="same"):
    H, W = (max(H, size), max(W, size)) if padding == "valid" else (H, W)
    return Case(numbers(N, H, W, C), size, stride, padding, length=size * size)


def global_average_pool2d(numbers, N=3, H=7, W=6, C=3):
    return Case(numbers(N, H, W, C), length=H * W)


def batch_norm2d(numbers, N=3, H=7, W=6, C=3, constant=False):
    """With an epsilon that keeps the quotient small where a channel hardly varies."""
    statistics = (numbers(C), np.abs(numbers(C))) if constant else (None, None)
    return Case(numbers(N, H, W, C), numbers(C), numbers(C), *statistics, 0.1, length=40 * N * H * W)


def dense(numbers, N=3, D=20, F=10):
    return Case(numbers(N, D), numbers(D, F), numbers(F), length=max(N, D, F))


def relu(numbers, N=3, size=11):
    return Case(numbers(N, size))


def dropout(numbers, N=3, size=11, keep_prob=0.5):
    return Case(numbers(N, size), numbers.rng.random((N, size)) < keep_prob, keep_prob)


def softmax(numbers, N=3, K=10, scale=1):
    return Case(numbers(N, K) * numbers.dtype(scale), length=N * K)


def softmax_cross_entropy(numbers, N=3, K=10, scale=1, reduction="mean", label_smoothing=0.0):
    (logits,) = softmax(numbers, N, K, scale).args
    return Case(logits, numbers.rng.integers(0, K, N), reduction, label_smoothing, length=N * K * scale)


def adam(numbers, N=3, size=11, step=3):
    value, grad, m = numbers(N, size), numbers(N, size), numbers(N, size)
    v = np.abs(numbers(N, size)) + m.dtype.type(0.1)
    return Case(value, grad, m, v, step, 0.01, 0.8, 0.9, 1e-3, 0.5)


def dense_weight_gradient(numbers, N=3, D=20, F=10, share=0.25):
    dy = numbers(N, F) * (numbers.rng.random((N, F)) < share)
    return Case(numbers(N, D), dy.astype(numbers.dtype), length=N)


def adam_product(numbers, N=3, D=20, F=10, share=0.25, step=3):
    x, dy = dense_weight_gradient(numbers, N, D, F, share).args
    _, _, m, v, *settings = adam(numbers, D, F, step).args
    return Case(numbers(D, F), x, dy, m, v, *settings, length=16 * N)


def sgd(numbers, N=3, size=11, momentum=0.5):
    return Case(numbers(N, size), numbers(N, size), numbers(N, size), 0.1, momentum)


def average(numbers, N=3, size=11, decay=0.9):
    return Case(numbers(N, size), numbers(N, size), decay)


def warp(numbers, N=3, H=7, W=6, far=1):
    images = numbers.rng.integers(0, 256, (N, H, W)).astype(np.uint8)
    grid = [len(reference.spline_knots(size)) for size in (H, W)]
    # a position of up to H or W pixels, and a pixel changes by up to 1 from one to the next
    return Case(images, numbers(N, *grid, 2) * numbers.dtype(far), length=4 * far * (H + W))


def tree_sum(numbers, N=3, size=11):
    return Case(numbers(N, size), length=N)


BUILDERS = {
    "conv2d": conv2d,
    "conv_relu_pool": conv2d,
    "im2col": im2col,
    "col2im": col2im,
    "max_pool2d": max_pool2d,
    "average_pool2d": max_pool2d,
    "global_average_pool2d": global_average_pool2d,
    "batch_norm2d": batch_norm2d,
    "dense": dense,
    "dense_weight_gradient": dense_weight_gradient,
    "relu": relu,
    "dropout": dropout,
    "softmax": softmax,
    "softmax_cross_entropy": softmax_cross_entropy,
    "adam": adam,
    "adam_product": adam_product,
    "sgd": sgd,
    "average": average,
    "tree_sum": tree_sum,
    "warp": warp,
}

few, stride, padding = st.integers(1, 3), st.integers(1, 3), st.sampled_from(["same", "valid"])
image = {"N": few, "H": st.integers(1, 11), "W": st.integers(1, 11), "C": st.integers(1, 9)}
window = {"kh": st.integers(1, 5), "kw": st.integers(1, 5), "stride": stride, "padding": padding}
product = {"N": st.integers(1, 20), "D": st.integers(1, 70), "F": st.integers(1, 40)}
flat = {"N": few, "size": st.integers(1, 30) | st.integers(1, 20_000)}  # also more than one block
scores = {"N": st.integers(1, 20), "K": st.integers(1, 12), "scale": st.sampled_from([1, 1000])}
SIZES = {
    conv2d: image | window | {"F": st.integers(1, 35)},
    im2col: image | window,
    col2im: image | window,
    max_pool2d: image | {"size": st.integers(1, 4), "stride": stride, "padding": padding},
    global_average_pool2d: image,
    batch_norm2d: image | {"constant": st.booleans()},
    dense: product,
    dense_weight_gradient: product | {"share": st.sampled_from([0, 0.25, 1])},
    relu: flat,
    dropout: flat | {"keep_prob": st.sampled_from([0.1, 0.5, 0.9, 1.0])},
    softmax: scores,
    softmax_cross_entropy: scores
    | {"reduction": st.sampled_from(["sum", "mean"]), "label_smoothing": st.sampled_from([0.0, 0.1])},
    adam: flat | {"step": st.integers(1, 10_000)},
    adam_product: product | {"share": st.sampled_from([0, 0.25, 1]), "step": st.integers(1, 10_000)},
    sgd: flat | {"momentum": st.sampled_from([0.0, 0.9])},
    average: flat | {"decay": st.sampled_from([0.0, 0.9, 0.999])},
    tree_sum: flat | {"N": st.integers(1, 20)},
    warp: {"N": few, "H": st.integers(1, 30), "W": st.integers(1, 30), "far": st.sampled_from([1, 20])},
}
# The block decides ties after rounding, so its two sides agree for certain only without rounding.
EXACT = ["integers", "blank", "sixteenths"]


def stem(name):
    """The operation that a function is part of: "relu" for "relu_backward"."""
    name = name.removesuffix("_by_shards")
    return name.removesuffix("_forward").removesuffix("_backward").removesuffix("_update")


def build(name, numbers, **sizes):
    return BUILDERS[stem(name)](numbers, **sizes)


def typical(name, dtype=np.float64, **sizes):
    return build(name, Numbers(0, dtype, "sixteenths"), **sizes)


@st.composite
def cases(draw, name, dtype):
    kinds = EXACT if stem(name) == "conv_relu_pool" else [*EXACT, "normal"]
    numbers = Numbers(draw(st.integers(0, 2**32 - 1)), dtype, draw(st.sampled_from(kinds)))
    return build(name, numbers, **draw(st.fixed_dictionaries(SIZES[BUILDERS[stem(name)]])))


def upstream(y, kind="sixteenths"):
    """A random dL/dy, the same for the same shape: exact numbers, an array or (for a loss) a float."""
    dtype = y.dtype.type if isinstance(y, np.ndarray) else np.float64
    dy = Numbers(1, dtype, kind)(*np.shape(y))
    return dy if isinstance(y, np.ndarray) else float(dy)


def sizes_for(name, y):
    """What a backward takes besides dy and cache: sizes, if it sums by shards."""
    return [shard_sizes(len(y), 2)] if name.endswith("_by_shards") else []


def backward_of(ops, name, y):
    """ops.<name> as a function of dy and cache."""
    op, sizes = getattr(ops, name), sizes_for(name, y)
    return lambda dy, cache, **options: op(dy, cache, *sizes, **options)


def run(ops, name, args, change=lambda a: a, dy_kind="sixteenths", **options):
    """What ops.<name> computes: its results, or for an update the arrays that it changes.

    A backward is run on the cache of its own forward. `change` is applied to all arrays that go in.
    `options` are passed on, such as `workspace`.
    """
    args = [change(a) if isinstance(a, np.ndarray) else a for a in args]
    op = getattr(ops, name)
    if name in UPDATES:
        args = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        op(*args, **options)
        return [a for a in args if isinstance(a, np.ndarray)]
    if name in FORWARDS:
        return [op(*args, **options)[0]]
    if name in BACKWARDS:
        y, cache = getattr(ops, f"{stem(name)}_forward")(*args, **options)
        dy, backward = upstream(y, dy_kind), backward_of(ops, name, y)
        results = backward(change(dy) if isinstance(dy, np.ndarray) else dy, cache, **options)
        return list(results) if isinstance(results, tuple) else [results]
    return [op(*args, **options)]


def assert_equal(actual, expected, dtype=np.float64, length=1):
    """Equal but for the rounding of sums of `length` numbers of about 1."""
    eps = np.finfo(dtype).eps
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        a, e = np.asarray(a), np.asarray(e)
        assert (a.shape, a.dtype) == (e.shape, e.dtype)
        np.testing.assert_allclose(a, e, rtol=16 * eps, atol=4 * eps * (length + 8))


# --- the same functions --------------------------------------------------------------------------


def test_kernels_exports_the_operations_of_the_reference_and_nothing_else():
    assert sorted(kernels.__all__) == sorted(OPS)


def test_every_operation_has_a_builder_of_arguments():
    assert {stem(name) for name in OPS} == set(BUILDERS)
    assert set(BUILDERS.values()) == set(SIZES)


@every_op
def test_signatures_are_the_same_but_for_the_workspace(name):
    def parameters(op):
        return [(p.name, p.kind, p.default) for p in inspect.signature(op).parameters.values()]

    workspace = ("workspace", inspect.Parameter.KEYWORD_ONLY, FRESH)
    assert parameters(getattr(kernels, name)) == [*parameters(getattr(reference, name)), workspace]


# --- the same results ----------------------------------------------------------------------------


@every_dtype
@every_op
@given(data=st.data())
def test_results_are_equal(name, dtype, data):
    case = data.draw(cases(name, dtype))
    dy_kind = data.draw(st.sampled_from(["sixteenths", "blank"])) if name in BACKWARDS else None
    actual, expected = (run(ops, name, case.args, dy_kind=dy_kind) for ops in (kernels, reference))
    assert_equal(actual, expected, dtype, case.length)


@every_dtype
@pytest.mark.parametrize(
    "sizes",
    [
        {"N": 2, "H": 28, "W": 28, "C": 1, "F": 32, "kh": 5, "kw": 5},
        {"N": 2, "H": 14, "W": 14, "C": 32, "F": 64, "kh": 5, "kw": 5},
        {"N": 1, "H": 9, "W": 9, "C": 17, "F": 33, "kh": 3, "kw": 3, "stride": 2, "padding": "valid"},
    ],
    ids=["conv1", "conv2", "remainders"],
)
@pytest.mark.parametrize("name", ["conv2d_backward", "conv_relu_pool_backward"])
def test_gradients_are_equal_at_the_sizes_of_the_tutorial(name, sizes, dtype):
    # Winograd's sums are rounded, so different patches with equal sums, as integers have, may change places.
    winograd = name == "conv_relu_pool_backward" and sizes["C"] >= MIN_CHANNELS and sizes["kh"] == TAPS
    case = build(name, Numbers(0, dtype, "normal" if winograd else "integers"), **sizes)
    assert_equal(run(kernels, name, case.args), run(reference, name, case.args), dtype, case.length)


@every_dtype
@pytest.mark.parametrize("N", [419, 850])
@pytest.mark.parametrize("D", [255, 600])
@pytest.mark.parametrize("F", [127, 300])
def test_products_larger_than_one_block_are_equal(N, D, F, dtype):
    case = build("dense", Numbers(0, dtype), N=N, D=D, F=F)
    for name, dy_kind in [("dense_forward", None), ("dense_backward", "normal"), ("dense_backward", "blank")]:
        actual, expected = (run(ops, name, case.args, dy_kind=dy_kind) for ops in (kernels, reference))
        assert_equal(actual, expected, dtype, case.length)


@every_dtype
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize(("N", "D", "F"), [(1, 1, 1), (3, 81, 70), (50, 130, 1030)])
def test_a_step_along_a_product_has_the_bits_of_the_product_and_the_step(N, D, F, share, dtype):
    value, x, dy, m, v, *settings = build("adam_product", Numbers(0, dtype), N=N, D=D, F=F, share=share).args
    expected = [a.copy() for a in (value, m, v)]
    dw = kernels.dense_weight_gradient(x, dy)
    kernels.adam_update(expected[0], dw, *expected[1:], *settings)
    kernels.adam_product_update(value, x, dy, m, v, *settings)
    np.testing.assert_array_equal([value, m, v], expected)


@every_dtype
@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.parametrize("ops", [kernels, reference], ids=["kernels", "reference"])
def test_a_weight_gradient_on_demand_has_the_bits_of_backward_and_goes_where_it_is_told(ops, share, dtype):
    x, dy = build("dense_weight_gradient", Numbers(0, dtype), N=20, D=81, F=70, share=share).args
    _, expected, _ = ops.dense_backward(dy, (x, np.zeros((81, 70), dtype)))
    np.testing.assert_array_equal(ops.dense_weight_gradient(x, dy), expected)
    out = np.full_like(expected, 7)
    assert ops.dense_weight_gradient(x, dy, out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_weight_gradient_refuses_a_place_that_only_a_copy_of_it_would_reach(share):
    x, dy = typical("dense_weight_gradient", share=share).args
    for out in np.zeros((10, 20)).T, np.zeros((20, 9)), np.zeros((20, 10), np.float32):
        with pytest.raises((TypeError, ValueError), match="out: expected .*, got"):
            kernels.dense_weight_gradient(x, dy, out)


@every_dtype
@every_op
def test_the_dtype_is_kept(name, dtype):
    for ops in kernels, reference:
        results = run(ops, name, typical(name, dtype).args)
        assert {result.dtype for result in results if np.ndim(result)} <= {np.dtype(dtype)}


@every_function
@pytest.mark.parametrize("ops", [kernels, reference], ids=["kernels", "reference"])
def test_arguments_are_not_changed(ops, name):
    seen = []

    def remember(array):
        seen.append((array, array.copy()))
        return array

    run(ops, name, typical(name).args, remember)
    for array, before in seen:
        np.testing.assert_array_equal(array, before)


def strided(array):
    return np.repeat(array, 2, axis=-1)[..., ::2]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@every_function
@pytest.mark.parametrize("layout", [strided, np.asfortranarray, read_only])
def test_any_layout_of_the_arguments_will_do(name, layout):
    case = typical(name)
    expected = run(reference, name, case.args)
    assert_equal(run(kernels, name, case.args, layout), expected, length=case.length)


@pytest.mark.parametrize("name", UPDATES)
def test_updates_refuse_an_array_whose_update_would_be_lost(name):
    value, *others = typical(name).args
    with pytest.raises((AttributeError, ValueError)):
        getattr(kernels, name)(value.T, *others)


@pytest.mark.parametrize("name", ENTRY_BY_ENTRY)
def test_updates_take_arrays_of_any_shape(name):
    args = typical(name, N=2, size=6).args
    reshaped = [a.reshape(2, 3, 2) if isinstance(a, np.ndarray) else a for a in args]
    assert_equal([a.reshape(2, 6) for a in run(kernels, name, reshaped)], run(kernels, name, args))


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_backward_can_be_repeated(name):
    y, cache = getattr(kernels, f"{stem(name)}_forward")(*typical(name).args)
    backward, dy = backward_of(kernels, name, y), upstream(y)
    np.testing.assert_equal(backward(dy, cache), backward(dy, cache))


@pytest.mark.parametrize("name", ["conv2d_backward", "conv_relu_pool_backward", "dense_backward"])
def test_the_input_gradient_can_be_left_out(name):
    y, cache = getattr(kernels, f"{stem(name)}_forward")(*typical(name).args)
    _, *expected = getattr(kernels, name)(upstream(y), cache)
    dx, *gradients = getattr(kernels, name)(upstream(y), cache, input_gradient=False)
    assert dx is None
    assert_equal(gradients, expected)


@pytest.mark.parametrize("ops", [kernels, reference], ids=["kernels", "reference"])
def test_the_weight_gradient_of_a_dense_layer_can_be_left_out(ops):
    y, cache = ops.dense_forward(*typical("dense_forward").args)
    dx, _, db = ops.dense_backward(upstream(y), cache)
    actual = ops.dense_backward(upstream(y), cache, weight_gradient=False)
    assert actual[1] is None
    assert_equal([actual[0], actual[2]], [dx, db])


# --- arguments that do not fit -------------------------------------------------------------------


def altered(array):
    """The array with one more entry along each axis in turn."""
    for axis in range(array.ndim):
        yield np.concatenate([array, array.take([0], axis)], axis)


def refuses(name, args):
    """Whether kernels.<name> refuses these arguments (of the forward for a backward), naming one of them."""
    op, message = getattr(kernels, name), ""
    try:
        op(*args)
    except (TypeError, ValueError) as error:
        message = str(error)
    assert not message or message.split(":")[0] in inspect.signature(op).parameters, message
    return bool(message)


@pytest.mark.parametrize("name", [name for name in OPS if name not in BACKWARDS])
def test_arrays_that_do_not_fit_are_refused_by_name(name):
    args = list(typical(name).args)
    places = [i for i, a in enumerate(args) if isinstance(a, np.ndarray)]
    for i in places:
        complex_one = [*args[:i], args[i].astype(complex), *args[i + 1 :]]
        assert refuses(name, complex_one)
    for i in places[1:]:
        assert any([refuses(name, [*args[:i], a, *args[i + 1 :]]) for a in altered(args[i])])
        if args[i].dtype == args[0].dtype == np.float64:
            assert refuses(name, [*args[:i], args[i].astype(np.float32), *args[i + 1 :]])


@pytest.mark.parametrize("name", [name for name in BACKWARDS if name != "softmax_cross_entropy_backward"])
def test_an_upstream_gradient_that_does_not_fit_is_refused_by_name(name):
    y, cache = getattr(kernels, f"{stem(name)}_forward")(*typical(name).args)
    rest = [cache, *sizes_for(name, y)]
    assert all([refuses(name, [dy, *rest]) for dy in altered(upstream(y))])
    assert refuses(name, [upstream(y).astype(complex), *rest])


# --- ties and special values ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_pool2d_backward", "conv_relu_pool_backward"])
@pytest.mark.parametrize("value", [0, -1, 2])
def test_ties_in_a_window_go_to_the_first_pixel(name, value):
    case = typical(name)
    case.args[0][:] = value
    assert_equal(run(kernels, name, case.args), run(reference, name, case.args), length=case.length)


@every_dtype
@pytest.mark.parametrize("name", [*FORWARDS, "max_pool2d_backward", "relu_backward", "dropout_backward"])
@pytest.mark.parametrize("count", [1, 8])
def test_nan_goes_where_it_goes_in_the_reference(name, count, dtype):
    case = typical(name, dtype, N=2)
    x = case.args[0]
    x.flat[np.random.default_rng(2).choice(x.size // 2, count, replace=False)] = np.nan  # not the last image
    expected = run(reference, name, case.args)
    if name in FORWARDS:
        assert np.isnan(expected[0]).any()
    assert_equal(run(kernels, name, case.args), expected, dtype, case.length)


@every_dtype
@pytest.mark.parametrize("name", ["max_pool2d_forward", "relu_forward"])
def test_infinity_is_a_number_like_others(name, dtype):
    case = typical(name, dtype)
    case.args[0].flat[::3] = np.inf
    case.args[0].flat[1::3] = -np.inf
    assert_equal(run(kernels, name, case.args), run(reference, name, case.args))


@every_dtype
def test_huge_scores_give_a_finite_loss_and_gradient(dtype):
    logits, labels = np.array([[1e4, -1e4, 0], [-1e4, -1e4, 1e4]], dtype), np.array([1, 2])
    loss, cache = kernels.softmax_cross_entropy_forward(logits, labels, "sum")
    assert loss == pytest.approx(20_000)
    assert kernels.softmax_cross_entropy_backward(1.0, cache).tolist() == [[1, -1, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_may_be_any_integers(dtype):
    logits, labels, *others = typical("softmax_cross_entropy_forward").args
    expected = run(reference, "softmax_cross_entropy_backward", (logits, labels, *others))
    actual = run(kernels, "softmax_cross_entropy_backward", (logits, labels.astype(dtype), *others))
    assert_equal(actual, expected)


# --- threads -------------------------------------------------------------------------------------


@every_dtype
@every_op
def test_one_thread_gives_the_same_bits_as_all(name, dtype):
    most = numba.get_num_threads()
    if most < 2:
        pytest.skip("one thread is all there is")
    sizes = {"size": 50_000} if stem(name) in ("relu", "dropout", "adam", "sgd", "average") else {"N": 7}
    args = build(name, Numbers(3, dtype), **sizes).args
    dy_kinds = ["normal", "blank"] if name in BACKWARDS else [None]
    expected = [run(kernels, name, args, dy_kind=kind) for kind in dy_kinds]
    try:
        set_threads(1)
        alone = [run(kernels, name, args, dy_kind=kind) for kind in dy_kinds]
    finally:
        set_threads(most)
    np.testing.assert_equal(alone, expected)


@pytest.mark.parametrize("count", [0, numba.config.NUMBA_NUM_THREADS + 1])
def test_an_impossible_number_of_threads_is_refused(count):
    with pytest.raises(ValueError, match=f"threads: expected 1 to .*, got {count}"):
        set_threads(count)


# --- the cache of machine code -------------------------------------------------------------------

PRINT_RESULTS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from test_kernels import Numbers, build, kernels, run
args = build("adam_update", Numbers(3, np.float32), size=500).args
for result in run(kernels, "adam_update", args):
    print(*map(float.hex, result.ravel().tolist()))
"""


def new_process(code, **environment):
    """What Python prints for this code in a process of its own."""
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_code_from_the_cache_gives_the_bits_that_it_gave_when_compiled(tmp_path):
    compiled = new_process(PRINT_RESULTS, NUMBA_CACHE_DIR=str(tmp_path))
    cached = new_process(PRINT_RESULTS, NUMBA_CACHE_DIR=str(tmp_path))
    assert len(compiled.split()) == 4 * 3 * 500
    assert cached == compiled


def test_the_cache_tells_vector_widths_apart():
    code = "from minicnn.engine.kernels import cache; print(cache.DIRECTORY)"
    directories = {new_process(code, MINICNN_VECTOR_BITS=bits) for bits in ("128", "256", "512")}
    assert len(directories) == 3


# --- memory --------------------------------------------------------------------------------------


@every_function
@pytest.mark.parametrize("batches", [(3, 2, 5), (1, 4, 3)])
def test_a_workspace_serves_batches_of_any_size(name, batches):
    workspace = Workspace()
    for N, dy_kind in zip(batches, ["sixteenths", "blank", "sixteenths"], strict=True):
        case = typical(name, N=N)
        actual = run(kernels, name, case.args, dy_kind=dy_kind, workspace=workspace)
        assert_equal(actual, run(reference, name, case.args, dy_kind=dy_kind), length=case.length)


@every_op
def test_a_workspace_is_used_again_and_for_every_array(name, monkeypatch):
    workspace = Workspace()
    first = run(kernels, name, typical(name, N=3).args, workspace=workspace)
    size = workspace.nbytes
    monkeypatch.setattr(type(FRESH), "empty", lambda *_: pytest.fail("an array from elsewhere"))
    second = run(kernels, name, typical(name, N=2).args, workspace=workspace)
    if name in FUNCTIONS:
        for a, b in zip(first, second, strict=True):
            assert not np.ndim(a) or np.shares_memory(a, b)
    assert workspace.nbytes == size


def test_a_result_that_its_reader_has_locked_does_not_lock_the_next_one():
    workspace = Workspace()
    first, second = (workspace.empty("y", (2, 3), np.float32) for _ in range(2))
    assert first is second  # a step asks some eighty times, so a new view would cost
    first.flags.writeable = False
    assert workspace.empty("y", (2, 3), np.float32).flags.writeable


@every_function
def test_without_a_workspace_results_are_fresh(name):
    args = typical(name).args
    for a, b in zip(run(kernels, name, args), run(kernels, name, args), strict=True):
        assert not np.ndim(a) or not np.shares_memory(a, b)


@pytest.mark.parametrize("name", BACKWARDS)
def test_live_results_do_not_overlap(name):
    args, workspace = typical(name).args, Workspace()
    y, cache = getattr(kernels, f"{stem(name)}_forward")(*args, workspace=workspace)
    dy = upstream(y)
    gradients = backward_of(kernels, name, y)(dy, cache, workspace=workspace)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    live = [a for a in (*args, y, dy, *gradients) if isinstance(a, np.ndarray)]
    for a, b in combinations(live, 2):
        assert not np.shares_memory(a, b)


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_backward_leaves_the_output_of_its_forward_alone(name):
    workspace = Workspace()
    y, cache = getattr(kernels, f"{stem(name)}_forward")(*typical(name).args, workspace=workspace)
    before = np.copy(y)
    backward_of(kernels, name, y)(upstream(y), cache, workspace=workspace)
    np.testing.assert_array_equal(y, before)


def test_two_workspaces_share_nothing():
    x = np.ones((2, 3))
    one, other = (kernels.relu_forward(x, workspace=Workspace())[0] for _ in range(2))
    assert not np.shares_memory(one, other)


def test_a_workspace_does_not_hand_out_memory_of_another_dtype():
    workspace = Workspace()
    first = workspace.empty("y", (8,), np.float32)
    second = workspace.empty("y", (4,), np.float64)
    assert second.dtype == np.float64
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("size", [1, 17, 1000])
def test_aligned_arrays_start_at_a_cache_line(size):
    array = aligned_empty(size, np.float32)
    assert array.shape == (size,)
    assert array.ctypes.data % 64 == 0
