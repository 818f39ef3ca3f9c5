"""The contract of a layer: kept by every layer that is exported, broken by layers made for it."""

import numpy as np
import pytest

import minicnn
from minicnn.checks import contract
from minicnn.checks.contract import PROMISES, ContractError, check_layer, layer_promises
from minicnn.checks.examples import EXAMPLES, layer_classes, separated, small_layer, small_layers
from minicnn.engine.layers import BatchNorm2D, Dense, Dropout, Layer, ReLU

SMALL = {ops: small_layers(np.random.default_rng(3), ops) for ops in ("reference", "kernels")}
X = separated(np.random.default_rng(4), 3, 4, 3, 2)


@pytest.mark.parametrize(("promise", "check"), layer_promises())
@pytest.mark.parametrize("ops", SMALL)
@pytest.mark.parametrize("name", EXAMPLES)
def test_contract(name, ops, promise, check):
    check(*SMALL[ops][name])


@pytest.mark.parametrize(("promise", "check"), layer_promises())
@pytest.mark.parametrize("ops", SMALL)
def test_a_layer_that_leaves_its_gradient_as_a_product_keeps_the_contract(ops, promise, check):
    layer = Dense(400, 300, ops=ops, dtype=np.float64)
    layer.backward(np.ones_like(layer.forward(np.ones((2, 400)), training=True)))
    assert layer.weight.pending is not None
    values = layer.arrays()

    def make(dtype):
        return Dense(400, 300, ops=ops, values={name: a.astype(dtype) for name, a in values.items()})

    check(make, separated(np.random.default_rng(4), 3, 400))


def test_every_exported_layer_has_an_example():
    assert set(EXAMPLES) == set(layer_classes())
    assert len(EXAMPLES) >= 10


def test_check_layer_is_at_the_front_door():
    assert minicnn.check_layer is check_layer


# --- layers that break it ------------------------------------------------------------------------


class TwiceDifferentiated(ReLU):
    def backward(self, dy, input_gradient=True):
        return super().backward(dy) if self._forward_done else dy


class Widening(ReLU):
    def compute(self, ops, x, training):
        return np.maximum(x, np.float64(0)).astype(np.float64), x

    def differentiate(self, ops, dy, cache, input_gradient):
        return np.where(cache > 0, dy, 0)


class ScalingItsArgument(ReLU):
    def differentiate(self, ops, dy, cache, input_gradient):
        dy *= 2
        return dy


class Moody(ReLU):
    def compute(self, ops, x, training):
        y, cache = super().compute(ops, x, training)
        return y + np.random.rand(), cache


class Unchecked(ReLU):
    def _check_input(self, x):
        pass


class Careless(ReLU):
    """Takes any dy."""

    def backward(self, dy, input_gradient=True):
        done, self._forward_done = self._forward_done, None
        if done is None:
            raise RuntimeError
        return np.zeros(done.shape)


class Centering(ReLU):
    """Looks at the other images."""

    def compute(self, ops, x, training):
        return x - x.mean(axis=0), None

    def differentiate(self, ops, dy, cache, input_gradient):
        return dy - dy.mean(axis=0)


class Transposing(ReLU):
    def compute(self, ops, x, training):
        return x.T, None

    def differentiate(self, ops, dy, cache, input_gradient):
        return dy.T


class Reusing(ReLU):
    """Returns the same memory at each call."""

    buffer = np.empty(X.shape)

    def compute(self, ops, x, training):
        y, cache = super().compute(ops, x, training)
        if (y.shape, y.dtype) != (self.buffer.shape, self.buffer.dtype):
            return y, cache
        self.buffer[...] = y
        return self.buffer, cache


class Leftover(ReLU):
    """A smaller batch sees what a larger one left."""

    def compute(self, ops, x, training):
        y, cache = super().compute(ops, x, training)
        self.most = max(len(x), getattr(self, "most", 0))
        return y + (self.most - len(x)), cache


class Forgetful(ReLU):
    """An evaluation makes it forget the training forward."""

    def forward(self, x, training=False, ops=None):
        if not training:
            self._forward_done = None
        return super().forward(x, training, ops)


class Scale(Layer):
    """y = weight * x + the sum of the running mean, for x [N, ..., 2]."""

    def __init__(self, factor=1.0, *, name="scale", values=None, dtype=np.float32, ops="reference"):
        super().__init__(name, ops)
        self.factor = factor
        ones = lambda rng, shape: np.ones(shape)  # noqa: E731
        self.declare({"weight": ((2,), ones)}, {"mean": ((2,), 0.0)}, values=values, dtype=dtype)

    def settings(self):
        return super().settings() | {"factor": self.factor}

    def compute(self, ops, x, training):
        (weight,), mean = self.parameters, self.state["mean"]
        if training:
            mean += (x.mean(axis=tuple(range(x.ndim - 1))) - mean) / 4
            return self.factor * weight.value * x, x
        return self.factor * weight.value * x + mean, x

    def differentiate(self, ops, dy, x, input_gradient):
        (weight,) = self.parameters
        weight.set_gradient(self.factor * (dy * x).sum(axis=tuple(range(x.ndim - 1))))
        return self.factor * dy * weight.value


class Adding(Scale):
    """Adds to its gradient."""

    def differentiate(self, ops, dy, x, input_gradient):
        (weight,) = self.parameters
        before = weight.grad.copy()
        dx = super().differentiate(ops, dy, x, input_gradient)
        weight.grad += before
        return dx


class Lazy(Scale):
    """Computes its gradient only together with that of its input."""

    def differentiate(self, ops, dy, x, input_gradient):
        return super().differentiate(ops, dy, x, input_gradient) if input_gradient else None


class Stubborn(Scale):
    """Moves its parameter by itself when asked for its gradient, whatever was written there."""

    def differentiate(self, ops, dy, x, input_gradient):
        dx = super().differentiate(ops, dy, x, input_gradient)
        self.parameters[0].value = self.parameters[0].value - 0.5
        return dx


class OutOfDate(Scale):
    """Keeps x and dy, arrays of others, and multiplies them when the gradient is read."""

    def differentiate(self, ops, dy, x, input_gradient):
        dx = super().differentiate(ops, dy, x, input_gradient)
        over = tuple(range(x.ndim - 1))
        kind = type("Late", (minicnn.Parameter,), {"grad": property(lambda p: (dy * x).sum(axis=over))})
        self.parameters[0].__class__ = kind
        return dx


class Learning(Scale):
    """Learns its statistics from evaluations, too."""

    def compute(self, ops, x, training):
        self.state["mean"] += 1
        return super().compute(ops, x, training)


class Secretive(Scale):
    """Keeps a statistic that it does not declare."""

    hidden = 0.0

    def compute(self, ops, x, training):
        self.hidden += training
        return super().compute(ops, x, training)[0] + self.hidden * (not training), x


class Understated(Scale):
    """Leaves a setting out."""

    def settings(self):
        return {"name": self.name}


class Shared(Scale):
    """Copies share their arrays."""

    def __deepcopy__(self, memo):
        twin = self.astype(self.parameters[0].value.dtype)
        twin.parameters, twin.state = self.parameters, self.state
        return twin


class Unpicklable(Scale):
    def __reduce__(self):
        raise TypeError("cannot pickle a lambda")


class Rounding(Scale):
    def astype(self, dtype):
        twin = super().astype(dtype)
        for p in twin.parameters:
            p.value = np.round(p.value)
        return twin


def made(kind, *arguments):
    if issubclass(kind, Scale):
        return lambda dtype: kind(*arguments, dtype=dtype)
    return lambda dtype: kind(*arguments, ops="reference")


@pytest.mark.parametrize(
    ("kind", "promise", "found"),
    [
        (Transposing, "shapes_are_as_announced", r"Expected y of shape \[3, 4, 3, 2\], found \[2, 3, 4, 3\]"),
        (Widening, "dtype_is_kept", "Expected y in float32, found float64"),
        (Centering, "images_are_independent", "Expected the output for image 0 as within the batch"),
        (Moody, "evaluation_is_deterministic", "Expected the output in evaluation as the first time"),
        (Learning, "evaluation_is_deterministic", "Expected the output in evaluation as the first time"),
        (Moody, "equal_layers_give_equal_results", "Expected y as from the other layer"),
        (Leftover, "batch_size_may_change", "Expected y as from a new layer, 1 images"),
        (ScalingItsArgument, "arguments_are_not_modified", "Expected dy as it was given to backward"),
        (Stubborn, "arguments_are_not_modified", "Expected scale.weight as it was"),
        (ScalingItsArgument, "any_memory_layout_is_accepted", "found ValueError: .* read-only"),
        (Reusing, "forward_gives_fresh_memory", "Expected y as it was returned"),
        (Unchecked, "empty_batches_are_refused", r"Expected ValueError for x of shape \[0, 4, 3, 2\]"),
        (Unchecked, "other_types_are_refused", "Expected TypeError for x of integers, found no error"),
        (TwiceDifferentiated, "backward_needs_a_forward", "Expected RuntimeError for backward before any"),
        (Careless, "other_dy_are_refused", "Expected ValueError for dy without the first image"),
        (Adding, "gradients_are_overwritten", "Expected the gradient of scale.weight as without NaN"),
        (Lazy, "input_gradient_is_optional", "Expected the gradient of scale.weight as with the input"),
        (Forgetful, "evaluation_does_not_disturb_backward", "Expected dx as without an evaluation"),
        (Learning, "evaluation_does_not_disturb_backward", "Expected mean as before the evaluation"),
        (OutOfDate, "evaluation_does_not_disturb_gradients", "the gradient of scale.weight as without"),
        (OutOfDate, "written_gradients_are_obeyed", "found AttributeError"),
        (Secretive, "settings_and_arrays_are_the_layer", "Expected the output in evaluation as before"),
        (Understated, "settings_and_arrays_are_the_layer", "Expected the output in evaluation as before"),
        (Shared, "deepcopy_keeps_the_layer", "as before the twin from copy.deepcopy was changed"),
        (Unpicklable, "pickle_keeps_the_layer", "found TypeError: cannot pickle a lambda"),
        (
            Rounding,
            "astype_keeps_the_layer",
            "Expected weight as before astype; at .* expected 1.125, found 1",
        ),
    ],
)
def test_a_layer_that_breaks_a_promise_is_told_which(kind, promise, found):
    make = made(kind, 2.0) if kind is Understated else made(kind)
    with pytest.raises(ContractError, match=f"{kind.__name__} breaks {promise}: .*{found}"):
        PROMISES[promise](make, X)
    with pytest.raises(ContractError, match=f"{kind.__name__} breaks {promise}: .*{found}"):
        check_layer(make, X)


def test_every_promise_can_be_broken():
    (mark,) = test_a_layer_that_breaks_a_promise_is_told_which.pytestmark
    assert {promise for _, promise, _ in mark.args[1]} == set(PROMISES)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_layer_that_learns_statistics_keeps_the_contract(factor):
    check_layer(made(Scale, factor), X)


def test_all_broken_promises_are_listed():
    with pytest.raises(ContractError) as caught:
        check_layer(made(Moody), X)
    broken = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert broken[:2] == ["Moody breaks images_are_independent", "Moody breaks evaluation_is_deterministic"]
    assert "Moody breaks equal_layers_give_equal_results" in broken


# --- exceptions ----------------------------------------------------------------------------------


def test_an_exception_is_declared_by_name():
    check_layer(made(Centering), X, except_for={"images_are_independent"})
    with pytest.raises(ContractError, match="images_are_independent"):
        check_layer(made(Centering), X, except_for={"dtype_is_kept"})


@pytest.mark.parametrize("unknown", [{"images_are_independant"}, "images_are_independant"])
def test_an_unknown_exception_is_refused_with_the_names(unknown):
    message = "except_for: expected names among shapes_are_as_announced, .*, got images_are_independant"
    with pytest.raises(ValueError, match=message):
        check_layer(made(ReLU), X, except_for=unknown)
    with pytest.raises(ValueError, match=message):
        layer_promises(unknown)


def test_promises_are_pairs_of_a_name_and_a_check():
    names = [name for name, _ in layer_promises()]
    assert names == list(PROMISES)
    assert [name for name, _ in layer_promises("dtype_is_kept")] == [n for n in names if n != "dtype_is_kept"]
    assert all(contract.PROMISES[name] is check for name, check in layer_promises())


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X.astype(np.float32), TypeError, "x: expected a float64 array, got float32"),
        (X.tolist(), TypeError, "x: expected a float64 array, got list"),
        (X[:1], ValueError, r"x: expected a batch \[N, ...\] of at least 2, got \[1, 4, 3, 2\]"),
    ],
)
def test_an_x_that_cannot_be_used_is_refused(x, error, message):
    with pytest.raises(error, match=message):
        check_layer(made(ReLU), x)


# --- examples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_makes_equal_layers_of_the_dtype_that_is_asked_for(name):
    make, x = SMALL["reference"][name]
    for dtype in np.float32, np.float64:
        first, second = make(dtype), make(dtype)
        assert first is not second
        assert all(array.dtype == dtype for array in first.arrays().values())
        np.testing.assert_equal(first.arrays(), second.arrays())
    assert (x.dtype, len(x)) == (np.float64, 3)


def test_an_example_serves_a_subclass():
    make, _ = small_layer(type("Mine", (Dropout,), {}), np.random.default_rng(0), "reference")
    assert type(make()).__name__ == "Mine"
    assert make().keep_prob == EXAMPLES["Dropout"][0]["keep_prob"]


def test_a_class_without_an_example_is_named():
    with pytest.raises(ValueError, match="Scale: enter a small layer of this class in EXAMPLES"):
        small_layer(Scale, np.random.default_rng(0))


def test_inputs_of_examples_are_away_from_kinks_and_ties():
    for name, (_, x) in SMALL["reference"].items():
        distances = np.diff(np.sort(np.append(x.ravel(), 0)))
        assert distances.min() > 0.39 / x.size, name


def test_batch_norm_moves_its_statistics_in_training_alone():
    make, x = SMALL["reference"]["BatchNorm2D"]
    layer = make()
    assert isinstance(layer, BatchNorm2D)
    layer.forward(x)
    assert layer.state["running_mean"].tolist() == [0, 0]
    layer.forward(x, training=True)
    np.testing.assert_allclose(layer.state["running_mean"], 0.1 * x.mean(axis=(0, 1, 2)), rtol=1e-12)
