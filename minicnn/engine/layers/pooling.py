"""Max-pooling.

Forward, for each channel c; s is the stride, and xpad is x with its padding:

    y[i, j, c] = max over u, v of xpad[s * i + u, s * j + v, c]

Backward, where (u, v) is the place in window (i, j) at which that maximum was found:

    dxpad[s * i + u, s * j + v, c] += dy[i, j, c]      over all i, j
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.engine.arguments import integer
from minicnn.engine.layers.base import Layer
from minicnn.engine.reference import window_geometry


class MaxPool2D(Layer):
    """The largest value of each size x size window: x [N, H, W, C] -> y [N, Ho, Wo, C].

    Backward sends each dy to the winner of its window alone; of equal values the first in row-major
    order is the winner. Padding never wins.
    Raises ValueError unless 1 <= size <= 15 and stride >= 1.
    """

    def __init__(
        self,
        size: int = 2,
        stride: int = 2,
        padding: str = "same",
        *,
        name: str = "pool",
        ops: str = "kernels",
    ) -> None:
        size, stride = integer("size", size, at_least=1), integer("stride", stride, at_least=1)
        if size > 15:  # the winner's index is kept in a byte
            raise ValueError(f"size: expected 1 to 15, got {size}")
        window_geometry(size, size, stride, padding)  # refuses an unknown padding
        super().__init__(name, ops)
        self.size, self.stride, self.padding = size, stride, padding

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self._expect(input_shape, "H", "W", "C")
        H, W, C = input_shape
        Ho, _, _ = window_geometry(H, self.size, self.stride, self.padding)
        Wo, _, _ = window_geometry(W, self.size, self.stride, self.padding)
        return Ho, Wo, C

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"size": self.size, "stride": self.stride, "padding": self.padding}

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        return self.ops.max_pool2d_forward(x, self.size, self.stride, self.padding)

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        return self.ops.max_pool2d_backward(dy, cache)
