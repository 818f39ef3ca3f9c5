"""The fully connected layer, and the reshape that leads into it.

y  = x @ w + b
dx = dy @ w.T        dw = x.T @ dy        db = sum of dy over the batch
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.arguments import integer
from minicnn.engine.initializers import BIASES, WEIGHTS, Initializer, Seed
from minicnn.engine.layers.base import Array, Layer, Shape, register_layer
from minicnn.engine.parameters import Parameter
from minicnn.engine.shards import Terms

LARGE = 100_000  # weights: their gradient is left as a product. A smaller one stays in the processor's cache


@register_layer
class Dense(Layer):
    """Every output sees every input: x [N, D] -> y = x @ weight + bias [N, F].

    Parameters: `weight` [D, F], `bias` [F]. Raises ValueError for sizes below 1.
    """

    weight: Parameter
    bias: Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        name: str = "dense",
        weight_init: Initializer = WEIGHTS,
        bias_init: Initializer = BIASES,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
        values: Mapping[str, Array] | None = None,
        ops: str = "kernels",
    ) -> None:
        super().__init__(name, ops)
        D = integer("in_features", in_features, at_least=1)
        F = integer("out_features", out_features, at_least=1)
        drawn = {"weight": ((D, F), weight_init), "bias": ((F,), bias_init)}
        self.declare(drawn, values=values, rng=rng, dtype=dtype)
        self.weight, self.bias = self.parameters

    def output_shape(self, input_shape: Shape) -> Shape:
        D, F = self.weight.value.shape
        self._expect(input_shape, D)
        return (F,)

    def settings(self) -> dict[str, Any]:
        D, F = self.weight.value.shape
        return super().settings() | {"in_features": D, "out_features": F}

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        return ops.dense_forward(x, self.weight.value, self.bias.value)

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        large = self.weight.value.size >= LARGE
        dx, dw, db = ops.dense_backward(dy, cache, input_gradient, weight_gradient=not large)
        self.bias.set_gradient(db)
        if large:
            x, _ = cache
            self.weight.set_gradient_product(x, dy, ops)  # dw = x.T @ dy
        else:
            self.weight.set_gradient(dw)
        return dx

    def differentiate_terms(
        self, ops: Any, dy: Array, cache: Any, input_gradient: bool
    ) -> tuple[Array | None, Terms]:
        # dw = x.T @ dy has far more entries than its factors, so several processes exchange these.
        x, w = cache
        dx, _, _ = ops.dense_backward(dy, (x, w), input_gradient, weight_gradient=False)
        return dx, Terms(by_image=(x, dy))

    def add_up(self, ops: Any, terms: Terms) -> None:
        x, dy = terms.by_image
        self.differentiate(ops, dy, (x, self.weight.value), input_gradient=False)


@register_layer
class Flatten(Layer):
    """The same numbers in one row per image: x [N, H, W, C] -> y [N, H * W * C], in y, x, channel order."""

    def __init__(self, *, name: str = "flatten", ops: str = "kernels") -> None:
        super().__init__(name, ops)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        return x.reshape(len(x), -1), x.shape

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        return dy.reshape(cache)
