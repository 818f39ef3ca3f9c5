"""What can be checked: layers and networks of this package, layers of a reader, functions."""

import numpy as np
import pytest
from naive import normal

from minicnn import (
    ConvReLUPool,
    Dense,
    Dropout,
    Flatten,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    gradient_check,
)
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


def test_a_fixed_mask_of_dropout_is_kept():
    layer, mask = Dropout(0.5), np.array([[True, False, True, True]])
    layer.fixed_mask = mask
    report = gradient_check(layer, np.ones((1, 4)), dy=np.ones((1, 4)))
    report.assert_ok()
    assert report["x"].largest == 2


class FreshMask(Dropout):
    def _backward(self, dy, cache, input_gradient):
        return self.ops.dropout_backward(dy, (self.draw_mask(dy.shape), self.keep_prob))


def test_a_fresh_mask_in_backward_is_wrong():
    assert gradient_check(FreshMask(0.5, ops="reference"), normal(4, 10)).wrong


def test_the_loss_is_checked_with_its_labels():
    labels = np.array([0, 2, 2])
    report = gradient_check(SoftmaxCrossEntropy("mean", "reference"), normal(3, 4), labels)
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["logits"]


# --- layers of a reader --------------------------------------------------------------------------


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


def test_parameters_that_are_not_named_are_mentioned():
    text = str(gradient_check(TheirDense(), normal(5, 4)))
    assert 'found none; if there are, name them: parameters={"W": "dW"}' in text


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
    report = gradient_check(TheirDropout(), normal(4, 6))
    report.assert_ok()
    assert np.count_nonzero(report["x"].largest) > 0


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
    gradient_check(InPlace(), x).assert_ok()
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
