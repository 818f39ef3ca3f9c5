"""What can be checked: layers and networks of this package, layers of other makes, functions."""

import numpy as np
import pytest
from naive import normal

from minicnn import (
    BatchNorm2D,
    ConvReLUPool,
    Dense,
    Dropout,
    Flatten,
    Layer,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    gradient_check,
)
from minicnn.checks.report import GradientError
from minicnn.engine import reference

# --- layers and networks of this package ---------------------------------------------------------


def test_a_float32_layer_is_checked_in_float64_and_left_alone():
    layer = Dense(4, 3)
    layer.weight.grad[:] = 7
    values = layer.weight.value.copy()
    y = layer.forward(normal(2, 4).astype(np.float32), training=True)
    before = y.copy()
    gradient_check(layer, normal(5, 4).astype(np.float32)).assert_ok()
    assert layer.weight.value.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.value, values)
    np.testing.assert_array_equal(y, before)
    assert (layer.weight.grad == 7).all()
    layer.backward(y)  # still belongs to the forward before the check


def small_network():
    net = [ConvReLUPool(1, 3, 3, rng=2), Flatten(), Dense(27, 8, name="a", rng=3), ReLU(), Dropout(0.5)]
    return Sequential([*net, Dense(8, 4, name="b", rng=4)], (6, 6, 1))


def test_a_network_is_left_alone():
    net = small_network()
    values, grads = net.values.copy(), net.grads.copy()
    state = net.layers[4].rng.bit_generator.state
    gradient_check(net, normal(1, 6, 6, 1), entries=5)
    np.testing.assert_array_equal(net.values, values)
    np.testing.assert_array_equal(net.grads, grads)
    assert net.layers[4].rng.bit_generator.state == state


@pytest.mark.parametrize("ops", ["reference", "kernels"])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_with_dropout_is_checked_with_one_mask(ops, training):
    net = small_network()
    net.use_ops(ops)
    report = gradient_check(net, normal(3, 6, 6, 1), training=training)
    report.assert_ok()
    names = ["x", *(f"{layer}.{array}" for layer in ("conv", "a", "b") for array in ("weight", "bias"))]
    assert [array.name for array in report.arrays] == names


def test_dropout_is_checked_with_the_mask_that_it_would_draw_next():
    layer, twin = Dropout(0.5, rng=5), Dropout(0.5, rng=5)
    report = gradient_check(layer, np.ones((1, 1)), dy=np.ones((1, 1)))
    assert report["x"].largest == 2 * twin.draw_mask((1, 1)).item()
    np.testing.assert_array_equal(layer.draw_mask((3, 4)), Dropout(0.5, rng=5).draw_mask((3, 4)))


class FreshMask(Dropout):
    def differentiate(self, ops, dy, cache, input_gradient):
        return ops.dropout_backward(dy, (self.draw_mask(dy.shape), self.keep_prob))


def test_a_fresh_mask_in_backward_is_wrong():
    assert gradient_check(FreshMask(0.5, rng=0, ops="reference"), normal(4, 10)).wrong


def test_the_loss_is_checked_with_its_labels():
    labels = np.array([0, 2, 2])
    report = gradient_check(SoftmaxCrossEntropy("mean", ops="reference"), normal(3, 4), labels)
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["logits"]


# --- layers whose state changes ------------------------------------------------------------------


def norm(**options):
    values = {"scale": normal(2, seed=1), "shift": normal(2, seed=2)}
    values |= {"running_mean": normal(2, seed=3), "running_variance": np.array([0.5, 2.0])}
    return BatchNorm2D(2, values=values, ops="reference", **options)


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalization_is_checked_and_its_statistics_left_alone(training):
    layer = norm()
    before = {name: array.copy() for name, array in layer.arrays().items()}
    report = gradient_check(layer, 3 * normal(3, 4, 3, 2) + 1, training=training)
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "norm.scale", "norm.shift"]
    np.testing.assert_equal(layer.arrays(), before)


def test_evaluation_uses_the_statistics_that_the_layer_has():
    """dx = dy * scale / sqrt(running variance + epsilon), constants all."""
    layer = norm()
    report = gradient_check(layer, normal(1, 1, 1, 2), training=False, dy=np.ones((1, 1, 1, 2)))
    slopes = np.abs(layer.scale.value) / np.sqrt(layer.state["running_variance"] + 1e-5)
    assert report["x"].largest == pytest.approx(slopes.max())


class StatisticsAsConstants(BatchNorm2D):
    """The classical mistake: mean and variance of the batch depend on x, and backward forgets it."""

    def differentiate(self, ops, dy, cache, input_gradient):
        mean, variance, normed, scale, std, _ = cache
        return super().differentiate(ops, dy, (mean, variance, normed, scale, std, False), input_gradient)


def test_a_batch_normalization_that_forgets_its_statistics_in_backward_is_wrong():
    report = gradient_check(StatisticsAsConstants(2, ops="reference"), normal(3, 4, 3, 2))
    assert [array.verdict for array in report.arrays] == ["WRONG", "ok", "ok"]


class MovingTarget(Layer):
    """In training it returns x times a number that it has learned so far, and learns."""

    def __init__(self, name="target", values=None, dtype=np.float64, ops="reference"):
        super().__init__(name, ops)
        self.declare({}, {"seen": ((1,), 2.0)}, values=values, dtype=dtype)

    def compute(self, ops, x, training):
        factor = self.state["seen"].copy()
        self.state["seen"] += training
        return x * factor, factor

    def differentiate(self, ops, dy, factor, input_gradient):
        return dy * factor


def test_state_is_restored_before_every_evaluation():
    report = gradient_check(MovingTarget(), normal(2, 3), dy=np.ones((2, 3)))
    report.assert_ok()
    assert report["x"].largest == pytest.approx(2)


class Undeclared(MovingTarget):
    """Keeps its number where nobody knows of it."""

    seen = 2.0

    def compute(self, ops, x, training):
        self.seen += training
        return x * self.seen, self.seen


def test_state_that_is_not_declared_is_refused():
    with pytest.raises(
        ValueError, match="expected the same output for the same input, .* lists in its state"
    ):
        gradient_check(Undeclared(), normal(2, 3))


def test_the_gradient_of_a_large_weight_is_checked_as_it_is_read_first():
    """It is left as a product by backward, and multiplied when it is read."""
    layer = Dense(400, 300, rng=0, ops="reference")
    report = gradient_check(layer, normal(2, 400), entries=20)
    report.assert_ok()
    assert report["dense.weight"].directions == 4


# --- layers of other makes --------------------------------------------------------------------------


class TheirDense:
    """As in many a course: parameters and gradients are plain attributes, gradients add up."""

    def __init__(self, dtype=np.float64):
        rng = np.random.default_rng(0)
        self.W, self.b = rng.standard_normal((4, 3)).astype(dtype), np.zeros(3, dtype)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW += self.x.T @ dy
        self.db += dy.sum(axis=0)
        return dy @ self.W.T


def test_a_layer_of_another_make_is_checked_in_two_lines():
    layer = TheirDense()
    report = gradient_check(layer, normal(5, 4), parameters={"W": "dW", "b": "db"})
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "W", "b"]


def test_parameters_are_put_back():
    layer = TheirDense()
    before = layer.W.copy()
    gradient_check(layer, normal(5, 4), parameters={"W": "dW"}, entries=5)
    np.testing.assert_array_equal(layer.W, before)


class Unusual(TheirDense):
    """Its gradients have names that nobody would guess."""

    def __init__(self):
        super().__init__()
        del self.dW, self.db

    def backward(self, dy):
        self.first, self.second = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T


def test_parameters_that_are_not_named_leave_the_verdict_open():
    report = gradient_check(Unusual(), normal(5, 4))
    assert report["x"].verdict == "ok"
    assert (report.ok, report.wrong) == (False, False)
    with pytest.raises(
        GradientError, match="UNDECIDED: parameters were not checked: W, b change the output, .*; name it, "
    ):
        report.assert_ok()
    gradient_check(Unusual(), normal(5, 4), parameters={"W": "first", "b": "second"}).assert_ok()


def test_no_parameters_must_be_stated():
    gradient_check(Unusual(), normal(5, 4), parameters={}).assert_ok()
    gradient_check(Unusual(), normal(5, 4), constants=("W", "b")).assert_ok()


class UnusualWithAnEmptyList(Unusual):
    parameters = ()


def test_an_empty_list_of_parameters_leaves_the_verdict_open_too():
    report = gradient_check(UnusualWithAnEmptyList(), normal(5, 4))
    assert report.verdict.startswith("UNDECIDED: parameters were not checked")


def test_a_wrong_gradient_is_wrong_whether_or_not_parameters_were_named():
    layer = TheirDense()
    layer.backward = lambda dy: 2 * dy @ layer.W.T
    assert gradient_check(layer, normal(5, 4)).verdict.startswith("WRONG: ")


class Their:
    """A parameter of another make."""

    def __init__(self, name, layer, value, gradient, factor=1.0):
        self.name, self.value = name, getattr(layer, value)
        self._gradient = lambda: factor * getattr(layer, gradient)

    @property
    def grad(self):
        return self._gradient()


class TwoOfOneName(TheirDense):
    def __init__(self, name, factor):
        super().__init__()
        self.db = 0.0
        self.parameters = [Their(name, self, "W", "dW"), Their(name, self, "b", "db", factor)]

    def forward(self, x):
        self.dW, self.db = np.zeros_like(self.W), 0.0
        return super().forward(x)


@pytest.mark.parametrize(("name", "names"), [("W", ["x", "W", "W#2"]), ("x", ["x", "x#2", "x#3"])])
def test_arrays_of_one_name_are_all_checked(name, names):
    report = gradient_check(TwoOfOneName(name, factor=1.0), normal(5, 4))
    report.assert_ok()
    assert [array.name for array in report.arrays] == names
    assert [array.shape for array in report.arrays] == [(5, 4), (4, 3), (3,)]
    report = gradient_check(TwoOfOneName(name, factor=2.0), normal(5, 4))
    assert [array.verdict for array in report.arrays] == ["ok", "ok", "WRONG"]
    assert report.verdict == f"WRONG: backward is not the derivative of forward for {names[2]}"


class TheirLayerWithParameters(TheirDense):
    def parameters(self):
        parameter = type("Their", (), {})()
        parameter.name, parameter.value, parameter.grad = "W", self.W, self.dW
        return [parameter]


def test_parameters_with_value_and_grad_are_found():
    report = gradient_check(TheirLayerWithParameters(), normal(5, 4))
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "W"]


class TheirDropout:
    def forward(self, x, training=False):
        self.mask = np.random.rand(*x.shape) < 0.5 if training else np.ones(x.shape)
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


def test_numpys_global_random_numbers_are_fixed_too():
    before = np.random.get_state()[1].copy()
    report = gradient_check(TheirDropout(), normal(4, 6), parameters={})
    report.assert_ok()
    assert report["x"].largest > 0
    np.testing.assert_array_equal(np.random.get_state()[1], before)


class InPlace:
    """Changes its arguments, as its author may not know."""

    def forward(self, x):
        self.negative = x < 0
        x[self.negative] = 0
        return x

    def backward(self, dy):
        dy[self.negative] = 0
        return dy


def test_a_layer_that_changes_its_input_is_judged_by_its_results():
    x = normal(3, 4)
    before = x.copy()
    report = gradient_check(InPlace(), x, parameters={})
    report.assert_ok()
    assert report.changed == ["forward changes x in place", "backward changes dy in place"]
    np.testing.assert_array_equal(x, before)


def test_functions_name_their_inputs_and_settings_are_passed_on():
    x, w, b = normal(2, 5, 4, 2), normal(3, 2, 2, 3, seed=1), normal(3, seed=2)
    pair = reference.conv2d_forward, reference.conv2d_backward
    report = gradient_check(pair, x, w, b, 2, "valid")
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "w", "b"]


def test_a_layer_with_float32_parameters_is_refused():
    with pytest.raises(TypeError, match="W: expected float64, got float32"):
        gradient_check(TheirDense(np.float32), normal(5, 4), parameters={"W": "dW"})
