"""The contract of a layer: what every layer promises, besides the gradient that `gradient_check` checks.

    minicnn.check_layer(lambda dtype: Scale(4, dtype=dtype), x)

tries all promises on small layers and names those that are broken. In a test suite, one test for each:

    @pytest.mark.parametrize(("name", "check"), minicnn.checks.contract.layer_promises())
    def test_contract(name, check):
        check(make, x)

A layer that cannot keep a promise says so where it is checked: except_for={"images_are_independent"}.

Each promise below is a function of `make` and x. Its docstring is the promise, and begins the message
of the error if it is broken.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

import numpy as np

from minicnn.checks.examples import upstream
from minicnn.engine.optimizers import SGD

Make = Callable[[Any], Any]  # make(dtype) -> a new layer, with the same values every time
Check = Callable[[Make, np.ndarray], None]

PROMISES: dict[str, Check] = {}


class ContractError(AssertionError):
    """A layer breaks a promise. The message says which, what was expected and what was found."""


def check_layer(make: Make, x: np.ndarray, *, except_for: Collection[str] = ()) -> None:
    """Check that layers from `make` keep the promises that every layer makes.

    `make(dtype)` returns a new layer with parameters of that dtype, float32 or float64, each time with the
    same values and random numbers. x is a batch of at least 2 inputs, float64; values without ties and
    zeros are best. `except_for` names promises that this layer does not make.

    Raises ContractError, an AssertionError that lists every broken promise; ValueError for an unknown
    name in `except_for`, or for such an x; TypeError for x of another dtype.
    """
    broken = []
    for _, check in layer_promises(except_for):
        try:
            check(make, x)
        except ContractError as error:
            broken.append(str(error))
    if broken:
        raise ContractError("\n".join(broken))


def layer_promises(except_for: Collection[str] = ()) -> list[tuple[str, Check]]:
    """The name of each promise, and `check(make, x)`, which raises ContractError if it is broken.

    Made for pytest.mark.parametrize. Raises ValueError for an unknown name in `except_for`.
    """
    except_for = {except_for} if isinstance(except_for, str) else set(except_for)
    if unknown := sorted(except_for - set(PROMISES)):
        raise ValueError(f"except_for: expected names among {', '.join(PROMISES)}, got {', '.join(unknown)}")
    return [(name, check) for name, check in PROMISES.items() if name not in except_for]


def promise(check: Check) -> Check:
    """Enter a promise under the function's name, and let its failures say whose it is."""

    @wraps(check)
    def checked(make: Make, x: np.ndarray) -> None:
        if not isinstance(x, np.ndarray) or x.dtype != np.float64:
            raise TypeError(f"x: expected a float64 array, got {getattr(x, 'dtype', type(x).__name__)}")
        if x.ndim < 2 or len(x) < 2:
            raise ValueError(f"x: expected a batch [N, ...] of at least 2, got {list(x.shape)}")
        who = type(make(np.float64)).__name__
        broken = f"{who} breaks {check.__name__}: {' '.join((check.__doc__ or '').split())}"
        try:
            check(make, x)
        except _Broken as error:
            raise ContractError(f"{broken} {error}") from None
        except Exception as error:
            found = f"Expected no error, found {type(error).__name__}: {error}."
            raise ContractError(f"{broken} {found}") from error

    PROMISES[check.__name__] = checked
    return checked


# --- helpers -------------------------------------------------------------------------------------

Results = dict[str, np.ndarray]  # by what they are: "y", "dx", "the gradient of weight"
CLOSE = 1e-12  # relative: sums in another order


class _Broken(Exception):  # noqa: N818
    pass


def _expect(condition: bool, expected: str, found: object) -> None:
    if not condition:
        raise _Broken(f"Expected {expected}, found {found}.")


def _expect_same(found: Results, expected: Results, than: str, rtol: float = 0.0) -> None:
    """Raise unless the results are those of `than`: bit for bit, or up to rounding."""
    for name, array in expected.items():
        other = found[name]
        if other.shape != array.shape:
            raise _Broken(f"Expected {name} as {than}, {list(array.shape)}, found {list(other.shape)}.")
        same = np.isclose(other, array, rtol=rtol, atol=rtol, equal_nan=True)
        if not same.all():
            where = tuple(int(i) for i in np.argwhere(~same)[0])
            raise _Broken(
                f"Expected {name} as {than}; at {list(where)} expected {array[where]:.8g}, "
                f"found {other[where]:.8g} (in all, {np.sum(~same)} of {same.size} differ)."
            )


def _expect_error(kind: type[Exception], what: str, function: Callable, *arguments: Any) -> None:
    try:
        function(*arguments)
    except kind:
        return
    except Exception as error:
        raise _Broken(
            f"Expected {kind.__name__} for {what}, found {type(error).__name__}: {error}."
        ) from error
    raise _Broken(f"Expected {kind.__name__} for {what}, found no error.")


def _new(make: Make) -> Any:
    return make(np.float64)


def _train(layer: Any, x: np.ndarray) -> Results:
    """Copies of y, dx and the gradients of a training forward and its backward."""
    y = layer.forward(x, training=True).copy()
    dx = layer.backward(upstream(y)).copy()
    return {"y": y, "dx": dx} | _gradients(layer)


def _gradients(layer: Any) -> Results:
    return {f"the gradient of {p.name}": p.grad.copy() for p in layer.parameters}


def _evaluate(layer: Any, x: np.ndarray) -> Results:
    return {"the output in evaluation": layer.forward(x).copy()}


def _arrays_of(layer: Any) -> Results:
    """Copies of all parameters and of the state that is arrays."""
    return {name: array.copy() for name, array in layer.arrays().items()}


def _random_states(layer: Any) -> list[Any]:
    return [copy.deepcopy(g.bit_generator.state) for g in layer.generators().values()]


def _same_start(layer: Any, other: Any) -> Any:
    """`other`, with the random numbers that `layer` will draw next."""
    for g, state in zip(other.generators().values(), _random_states(layer), strict=True):
        g.bit_generator.state = state
    return other


def _trained(make: Make, x: np.ndarray) -> Any:
    """A layer whose parameters and statistics are not the first ones."""
    layer = _new(make)
    for p in layer.parameters:
        p.value = p.value + 0.125
    _train(layer, 2 * x + 1)
    return layer


# --- the promises: what comes out ----------------------------------------------------------------


@promise
def shapes_are_as_announced(make: Make, x: np.ndarray) -> None:
    """The output has the shape that `output_shape` announces, and every gradient that of its array."""
    layer = _new(make)
    found = _train(layer, x)
    shapes = {"y": (len(x), *layer.output_shape(x.shape[1:])), "dx": x.shape}
    shapes |= {f"the gradient of {p.name}": p.value.shape for p in layer.parameters}
    for name, shape in shapes.items():
        _expect(found[name].shape == shape, f"{name} of shape {list(shape)}", list(found[name].shape))


@promise
def dtype_is_kept(make: Make, x: np.ndarray) -> None:
    """A layer computes in the dtype that it was made with: float32 to train, float64 to check."""
    for dtype in np.dtype(np.float32), np.dtype(np.float64):
        layer = make(dtype)
        found = _train(layer, x.astype(dtype)) | _evaluate(layer, x.astype(dtype)) | _arrays_of(layer)
        for name, array in found.items():
            _expect(array.dtype == dtype, f"{name} in {dtype}", array.dtype)


@promise
def images_are_independent(make: Make, x: np.ndarray) -> None:
    """In evaluation the output for an image does not depend on the other images of the batch."""
    layer = _trained(make, x)
    together = layer.forward(x).copy()
    for n in range(len(x)):
        alone = {f"the output for image {n}": layer.forward(x[n : n + 1]).copy()}
        _expect_same(alone, {f"the output for image {n}": together[n : n + 1]}, "within the batch", CLOSE)


@promise
def evaluation_is_deterministic(make: Make, x: np.ndarray) -> None:
    """Until the next training forward or change of parameters, evaluation is one fixed function."""
    layer = _trained(make, x)
    first = _evaluate(layer, x)
    _evaluate(layer, x[::-1])
    _expect_same(_evaluate(layer, x), first, "the first time")


@promise
def equal_layers_give_equal_results(make: Make, x: np.ndarray) -> None:
    """Two layers with the same values and random numbers give the same results, in training too."""
    first, second = _new(make), _new(make)
    for _ in range(2):
        _expect_same(_train(second, x), _train(first, x), "from the other layer")
    _expect_same(_evaluate(second, x), _evaluate(first, x), "from the other layer")


@promise
def batch_size_may_change(make: Make, x: np.ndarray) -> None:
    """Nothing of a batch is left for the next one, whatever their sizes."""
    layer = _new(make)
    for size in len(x), 1, len(x) - 1, len(x):
        fresh = _same_start(layer, _new(make))
        _expect_same(
            _train(layer, x[:size]), _train(fresh, x[:size]), f"from a new layer, {size} images", CLOSE
        )


# --- the promises: arguments and memory ----------------------------------------------------------


@promise
def arguments_are_not_modified(make: Make, x: np.ndarray) -> None:
    """Forward leaves x as it is, backward leaves dy, and neither moves a parameter."""
    layer, given = _new(make), x.copy()
    before = {p.name: p.value.copy() for p in layer.parameters}
    dy = upstream(layer.forward(given, training=True))
    _expect_same({"x": given}, {"x": x}, "it was given to forward")
    layer.backward(dy)
    _expect_same({"dy": dy}, {"dy": upstream(dy)}, "it was given to backward")
    _expect_same({p.name: p.value for p in layer.parameters}, before, "it was")


@promise
def any_memory_layout_is_accepted(make: Make, x: np.ndarray) -> None:
    """Transposed, strided and read-only arrays give the same results as contiguous ones."""
    expected = _train(_new(make), x)

    def read_only(a: np.ndarray) -> np.ndarray:
        a = a.copy()
        a.setflags(write=False)
        return a

    layouts: dict[str, Callable] = {
        "from contiguous arrays, not from transposed ones": np.asfortranarray,
        "from contiguous arrays, not from strided ones": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        "from writable arrays, not from read-only ones": read_only,
    }
    for than, layout in layouts.items():
        layer = _new(make)
        y = layer.forward(layout(x), training=True).copy()
        dx = layer.backward(layout(upstream(y)))
        _expect_same({"y": y, "dx": dx} | _gradients(layer), expected, than, CLOSE)


@promise
def forward_gives_fresh_memory(make: Make, x: np.ndarray) -> None:
    """What forward and backward return is not overwritten later, when a layer is used on its own."""
    layer = _new(make)
    y = layer.forward(x, training=True)
    dx = layer.backward(upstream(y))
    results = {"y": y, "dx": dx, "the output in evaluation": layer.forward(x)}
    before = {name: array.copy() for name, array in results.items()}
    for training in True, False:
        layer.backward(-2 * upstream(layer.forward(1 - 2 * x, training=training)))
    _expect_same(results, before, "it was returned")


@promise
def empty_batches_are_refused(make: Make, x: np.ndarray) -> None:
    """A batch of no images is refused with ValueError."""
    _expect_error(ValueError, f"x of shape {[0, *x.shape[1:]]}", _new(make).forward, x[:0])


@promise
def other_types_are_refused(make: Make, x: np.ndarray) -> None:
    """An x that is no array of floats is refused with TypeError."""
    _expect_error(TypeError, "x of integers", _new(make).forward, x.astype(np.int64))
    _expect_error(TypeError, "x as a list", _new(make).forward, x.tolist())


# --- the promises: backward ----------------------------------------------------------------------


@promise
def backward_needs_a_forward(make: Make, x: np.ndarray) -> None:
    """Each backward belongs to a forward; without one left, it raises RuntimeError."""
    layer = _new(make)
    dy = upstream(_new(make).forward(x))
    _expect_error(RuntimeError, "backward before any forward", layer.backward, dy)
    layer.forward(x, training=True)
    layer.backward(dy)
    _expect_error(RuntimeError, "a second backward after one forward", layer.backward, dy)


@promise
def other_dy_are_refused(make: Make, x: np.ndarray) -> None:
    """A dy of another shape or dtype than the output is refused with ValueError, and a later one accepted."""
    layer = _new(make)
    dy = upstream(layer.forward(x, training=True))
    _expect_error(ValueError, "dy without the first image", layer.backward, dy[1:])
    _expect_error(ValueError, "dy in float32 for an output in float64", layer.backward, dy.astype(np.float32))
    layer.backward(dy)


@promise
def gradients_are_overwritten(make: Make, x: np.ndarray) -> None:
    """Backward overwrites the gradients of the parameters; it does not add to what they hold."""
    layer, fresh = _new(make), _new(make)
    _train(fresh, x)
    _train(layer, x)
    for p in layer.parameters:
        p.grad[...] = np.nan
    _expect_same(_train(layer, x), _train(fresh, x), "without NaN in the gradients before")


@promise
def input_gradient_is_optional(make: Make, x: np.ndarray) -> None:
    """With input_gradient=False the gradients of the parameters are the same, bit for bit."""
    layer, expected = _new(make), _train(_new(make), x)
    layer.backward(upstream(layer.forward(x, training=True)), input_gradient=False)
    found = _gradients(layer)
    _expect_same(found, {name: expected[name] for name in found}, "with the input gradient")


@promise
def evaluation_does_not_disturb_backward(make: Make, x: np.ndarray) -> None:
    """An evaluation between a training forward and its backward changes nothing."""
    layer, expected = _new(make), _train(_new(make), x)
    y = layer.forward(x, training=True)
    before, states = _arrays_of(layer), _random_states(layer)
    layer.forward(1 - 2 * x)
    _expect_same(_arrays_of(layer), before, "before the evaluation")
    _expect(_random_states(layer) == states, "no random numbers drawn by the evaluation", "some")
    found = {"y": y.copy(), "dx": layer.backward(upstream(y))} | _gradients(layer)
    _expect_same(found, expected, "without an evaluation in between")


@promise
def evaluation_does_not_disturb_gradients(make: Make, x: np.ndarray) -> None:
    """A gradient that is read after an evaluation is still that of the last backward."""
    layer, expected = _new(make), _train(_new(make), x)
    given = x.copy()
    dy = upstream(layer.forward(given, training=True))
    layer.backward(dy)
    given[...], dy[...] = 0, 0  # they belong to the caller, who may use their memory again
    layer.forward(1 - 2 * x)
    found = _gradients(layer)
    _expect_same(found, {name: expected[name] for name in found}, "without an evaluation in between")


@promise
def written_gradients_are_obeyed(make: Make, x: np.ndarray) -> None:
    """An optimizer's step obeys what was written into p.grad after backward: clipping, freezing."""
    for write in _assign, _write_in_place:
        layer = _new(make)
        layer.backward(upstream(layer.forward(x, training=True)))
        expected = {}
        for k, p in enumerate(layer.parameters, start=1):
            expected[p.name] = p.value - 0.5 * k
            write(p, k)
        if layer.parameters:
            SGD(layer.parameters, learning_rate=0.5, ops="reference").step()
        found = {p.name: p.value for p in layer.parameters}
        _expect_same(found, expected, "its value - learning rate * the gradient written", CLOSE)


def _assign(p: Any, number: float) -> None:
    p.grad = np.full_like(p.value, number)


def _write_in_place(p: Any, number: float) -> None:
    p.grad[...] = number


# --- the promises: copies ------------------------------------------------------------------------


def _expect_twin(make: Make, x: np.ndarray, copied: Callable[[Any], Any], by: str) -> None:
    """Raise unless the copy of a trained layer evaluates and trains like it, and lives apart from it."""
    layer = _trained(make, x)
    twin = copied(layer)
    _expect(type(twin) is type(layer), f"a {type(layer).__name__} from {by}", type(twin).__name__)
    _expect_same(_arrays_of(twin), _arrays_of(layer), f"before {by}")
    _expect_same(_evaluate(twin, x), _evaluate(layer, x), f"before {by}")
    _expect_same(_train(twin, x), _train(layer, x), f"before {by}")
    before = _arrays_of(layer)
    for array in twin.arrays().values():
        array += 1
    _expect_same(_arrays_of(layer), before, f"before the twin from {by} was changed")


@promise
def settings_and_arrays_are_the_layer(make: Make, x: np.ndarray) -> None:
    """`settings()`, the arrays and the generators are all there is: a layer built from them is the same."""

    def rebuilt(layer: Any) -> Any:
        arrays = _arrays_of(layer)
        values = {"values": arrays} if arrays else {}
        twin = type(layer)(**copy.deepcopy(layer.settings()), **values, ops=layer.ops)
        names = [p.name for p in layer.parameters]
        _expect([p.name for p in twin.parameters] == names, f"parameters {names}", twin.parameters)
        return _same_start(layer, twin)

    _expect_twin(make, x, rebuilt, "building it from its settings and arrays")


@promise
def deepcopy_keeps_the_layer(make: Make, x: np.ndarray) -> None:
    """`copy.deepcopy` gives a layer of the same values, statistics and random numbers."""
    _expect_twin(make, x, copy.deepcopy, "copy.deepcopy")


@promise
def pickle_keeps_the_layer(make: Make, x: np.ndarray) -> None:
    """`pickle` gives a layer of the same values, statistics and random numbers, for another process."""
    _expect_twin(make, x, lambda layer: pickle.loads(pickle.dumps(layer)), "pickle")


@promise
def astype_keeps_the_layer(make: Make, x: np.ndarray) -> None:
    """`astype` gives a layer of the same values, statistics and random numbers, in another dtype."""
    _expect_twin(make, x, lambda layer: layer.astype(np.float64), "astype")
    layer = make(np.float32)
    twin = layer.astype(np.float64)
    _expect_same(_evaluate(twin, x), _evaluate(layer, x.astype(np.float32)), "in float32", 1e-4)
