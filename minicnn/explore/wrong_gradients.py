"""Layers whose backward is wrong on purpose, and what the gradient check says of each.

The first three are mistakes that many have made by hand. A network with one of them still runs, and often
still learns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.checks.gradcheck import gradient_check
from minicnn.checks.report import GradientReport
from minicnn.engine.layers import Conv2D, Dense, Layer, ReLU
from minicnn.explore.maps import Array

ENTRIES = 6  # of each array, besides random directions


class ReLUWithoutGate(ReLU):
    """Lets the whole gradient pass, also where the output is 0."""

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        return dy.copy()


class DenseWithoutBiasGradient(Dense):
    """Says that the gradient of its bias is 0."""

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        dx = super().differentiate(ops, dy, cache, input_gradient)
        self.bias.set_gradient(np.zeros_like(self.bias.value))
        return dx


class Conv2DTurnedWeights(Conv2D):
    """Turns the gradient of its weights by 180 degrees: convolution and correlation confused."""

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        dx = super().differentiate(ops, dy, cache, input_gradient)
        self.weight.set_gradient(self.weight.grad[::-1, ::-1].copy())
        return dx


class DenseUphill(Dense):
    """Says the gradient of its weights with the wrong sign."""

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        dx = super().differentiate(ops, dy, cache, input_gradient)
        self.weight.set_gradient(-self.weight.grad)
        return dx


# Which layer of the twins' network is replaced, and by what.
WRONG: dict[str, tuple[str, Callable[..., Layer]]] = {
    "gate": ("relu", ReLUWithoutGate),
    "bias": ("fc1", DenseWithoutBiasGradient),
    "turned": ("conv1", Conv2DTurnedWeights),
    "sign": ("fc2", DenseUphill),
}


def check(layer: Layer, input_shape: tuple[int, ...], seed: int = 0) -> GradientReport:
    """The gradient check of a layer for two random inputs. A float64 copy is checked, with the reference."""
    twin = layer.astype(np.float64)
    twin.use_ops("reference")
    x = np.random.default_rng(seed).standard_normal((2, *input_shape))
    return gradient_check(twin, x, entries=ENTRIES, seed=seed)
