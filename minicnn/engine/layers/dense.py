"""The fully connected layer, and the reshape that leads into it.

y  = x @ w + b
dx = dy @ w.T        dw = x.T @ dy        db = sum of dy over the batch
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.engine.arguments import floating, integer
from minicnn.engine.initializers import BIASES, WEIGHTS, Generator, Initializer, as_generator
from minicnn.engine.layers.base import Layer, WeightedLayer

LARGE = 100_000  # weights; below that their gradient stays in a processor's cache anyway


class Dense(WeightedLayer):
    """Every output sees every input: x [N, D] -> y = x @ weight + bias [N, F].

    Parameters: `weight` [D, F], `bias` [F]. Raises ValueError for sizes below 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        name: str = "dense",
        weight_init: Initializer = WEIGHTS,
        bias_init: Initializer = BIASES,
        rng: Generator = 0,
        dtype: np.dtype | type = np.float32,
        ops: str = "kernels",
    ) -> None:
        in_features = integer("in_features", in_features, at_least=1)
        out_features, dtype = integer("out_features", out_features, at_least=1), floating(dtype)
        rng = as_generator(rng)
        weight = weight_init(rng, (in_features, out_features)).astype(dtype)
        super().__init__(name, weight, bias_init(rng, (out_features,)).astype(dtype), ops)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        D, F = self.weight.value.shape
        self._expect(input_shape, D)
        return (F,)

    def settings(self) -> dict[str, Any]:
        D, F = self.weight.value.shape
        return super().settings() | {"in_features": D, "out_features": F}

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        return self.ops.dense_forward(x, self.weight.value, self.bias.value)

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        dx, dw, db = self.ops.dense_backward(dy, cache, input_gradient)
        self._store(dw, db)
        return dx

    def _backward_factored(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        if self.weight.value.size < LARGE:
            return self._backward(dy, cache, input_gradient)
        dx, _, db = self.ops.dense_backward(dy, cache, input_gradient, weight_gradient=False)
        self._store(self.weight.grad, db)
        self.weight.factors = cache[0], dy  # x and dy: dw = x.T @ dy is left to the optimizer
        return dx


class Flatten(Layer):
    """The same numbers in one row per image: x [N, H, W, C] -> y [N, H * W * C], in y, x, channel order."""

    def __init__(self, *, name: str = "flatten", ops: str = "kernels") -> None:
        super().__init__(name, ops)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(input_shape),)

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        return x.reshape(len(x), -1), x.shape

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        return dy.reshape(cache)
