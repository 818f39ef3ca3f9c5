"""The contract of a layer, kept by every layer that is exported, with both kinds of ops."""

import contract
import numpy as np
import pytest
from contract import PROMISES, enrol, maker

from minicnn.engine import layers
from minicnn.engine.layers import Layer, ReLU

KINDS = enrol(layers)


@pytest.mark.parametrize("check", PROMISES, ids=lambda check: check.__name__)
@pytest.mark.parametrize("ops", ["reference", "kernels"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_contract(kind, ops, check):
    check(*maker(kind, ops))


def test_the_exported_layers_have_enrolled():
    assert len(KINDS) >= 7
    assert {"Conv2D", "ConvReLUPool", "Dense", "Dropout", "Flatten", "MaxPool2D", "ReLU"} <= set(KINDS)


# --- layers that break it ------------------------------------------------------------------------


class Forgetful(ReLU):
    def backward(self, dy, input_gradient=True):
        return self._backward(dy, self._cache, input_gradient) if self._cache else dy


class Widening(ReLU):
    def _forward(self, x, training):
        return np.maximum(x, np.float64(0)).astype(np.float64), (x,)

    def _backward(self, dy, cache, input_gradient):
        return np.where(cache[0] > 0, dy, 0)


class Grabbing(ReLU):
    def _backward(self, dy, cache, input_gradient):
        dy[cache[0] <= 0] = 0
        return dy


class Moody(ReLU):
    def _forward(self, x, training):
        y, cache = super()._forward(x, training)
        return y + np.random.rand(), cache


class Sloppy(ReLU):
    def _check_input(self, x):
        pass


class Batchy(ReLU):
    """Looks at the other images."""

    def _forward(self, x, training):
        y = x - x.mean(axis=0)
        return y, (y,)


class Transposing(Layer):
    def __init__(self, name="transposing", ops="kernels"):
        super().__init__(name, ops)

    def _forward(self, x, training):
        return x.T, "cache"

    def _backward(self, dy, cache, input_gradient):
        return dy.T


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Forgetful, contract.a_backward_without_its_forward_raises),
        (Widening, contract.the_dtype_is_kept),
        (Grabbing, contract.arguments_are_not_modified),
        (Moody, contract.evaluation_is_deterministic),
        (Moody, contract.equal_layers_give_equal_results),
        (Sloppy, contract.an_empty_batch_is_refused),
        (Batchy, contract.an_image_alone_gives_the_same),
        (Transposing, contract.shapes_are_as_announced),
    ],
)
def test_a_layer_that_breaks_a_promise_is_caught(kind, promise):
    make, x = maker(kind, "reference")
    with pytest.raises((AssertionError, TypeError, AttributeError)):
        promise(make, x)


def test_an_unknown_argument_is_named():
    class Gated(ReLU):
        def __init__(self, gates, ops="kernels"):
            super().__init__(ops=ops)

    with pytest.raises(AssertionError, match=r"Gated: say in ARGUMENTS what to pass as \{'gates'\}"):
        maker(Gated, "reference")
