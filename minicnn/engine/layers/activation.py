"""Layers without parameters that work entry by entry: ReLU and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.engine.arguments import number
from minicnn.engine.initializers import Generator, as_generator
from minicnn.engine.layers.base import Layer


class ReLU(Layer):
    """Rectified linear unit: y = max(x, 0), so dx = dy where y > 0, else 0. Any shape."""

    def __init__(self, *, name: str = "relu", ops: str = "kernels") -> None:
        super().__init__(name, ops)

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        return self.ops.relu_forward(x)

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        return self.ops.relu_backward(dy, cache)


class Dropout(Layer):
    """Inverted dropout: in training each entry is kept with probability keep_prob and divided by it.

    y = mask * x / keep_prob in training, y = x in evaluation; dx = mask * dy / keep_prob.
    The layer owns the random generator, `rng`, that draws the masks. A `fixed_mask` (bool, the shape
    of x) replaces the draw, for gradient checks.
    Raises ValueError unless 0 < keep_prob <= 1.
    Source: Srivastava et al.: Dropout: A Simple Way to Prevent Neural Networks from Overfitting (2014).
    """

    def __init__(
        self, keep_prob: float = 0.5, *, name: str = "dropout", rng: Generator = 0, ops: str = "kernels"
    ) -> None:
        super().__init__(name, ops)
        self.keep_prob = number("keep_prob", keep_prob, "a number above 0 and at most 1", above=0, high=1)
        self.rng = as_generator(rng)
        self.fixed_mask: np.ndarray | None = None

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"keep_prob": self.keep_prob}

    def draw_mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """A fresh mask, True with probability keep_prob, or the fixed one."""
        if self.fixed_mask is not None:
            return self.fixed_mask
        draws = self._buffers.empty("draws", shape, np.dtype(np.float32))
        self.rng.random(out=draws, dtype=np.float32)
        return np.less(draws, self.keep_prob, out=self._buffers.empty("mask", shape, np.dtype(np.bool_)))

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        if not training or self.keep_prob == 1:
            return x, "identity"
        return self.ops.dropout_forward(x, self.draw_mask(x.shape), self.keep_prob)

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        if cache == "identity":
            return dy
        return self.ops.dropout_backward(dy, cache)
