"""Convolution, and the block of convolution, ReLU and max-pool.

Forward, for one output pixel (i, j) of one filter f (stride 1, xpad is x with its padding):

    y[i, j, f] = b[f] + sum over u, v, c of xpad[i + u, j + v, c] * w[u, v, c, f]

Backward, from dy = dL/dy: every product above passes its share to both factors,

    dw[u, v, c, f]      = sum over n, i, j of dy[i, j, f] * xpad[i + u, j + v, c]
    dxpad[i + u, j + v, c] += dy[i, j, f] * w[u, v, c, f]      over all i, j, f
    db[f]               = sum over n, i, j of dy[i, j, f]

The arithmetic is in `minicnn.engine.reference` (plain) and `minicnn.engine.kernels` (fast).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.engine.arguments import floating, integer, pair
from minicnn.engine.initializers import BIASES, WEIGHTS, Generator, Initializer, as_generator
from minicnn.engine.layers.base import WeightedLayer
from minicnn.engine.reference import window_geometry


class Conv2D(WeightedLayer):
    """2-D convolution (cross-correlation): x [N, H, W, C] -> y [N, Ho, Wo, F].

    Parameters: `weight` [kh, kw, C, F], `bias` [F].
    padding "same" keeps H and W at stride 1 (Ho = ceil(H / stride)), "valid" pads nothing.
    Raises ValueError for sizes below 1 or an unknown padding.
    Source: Goodfellow, Bengio, Courville: Deep Learning (2016), section 9.1.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: int | tuple[int, int] = 5,
        stride: int = 1,
        padding: str = "same",
        *,
        name: str = "conv",
        weight_init: Initializer = WEIGHTS,
        bias_init: Initializer = BIASES,
        rng: Generator = 0,
        dtype: np.dtype | type = np.float32,
        ops: str = "kernels",
    ) -> None:
        kh, kw = pair("kernel_size", kernel_size, at_least=1)
        in_channels = integer("in_channels", in_channels, at_least=1)
        filters = integer("filters", filters, at_least=1)
        stride, dtype = integer("stride", stride, at_least=1), floating(dtype)
        window_geometry(max(kh, kw), 1, stride, padding)  # refuses an unknown padding
        rng = as_generator(rng)
        weight = weight_init(rng, (kh, kw, in_channels, filters)).astype(dtype)
        super().__init__(name, weight, bias_init(rng, (filters,)).astype(dtype), ops)
        self.stride, self.padding = stride, padding

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        kh, kw, C, F = self.weight.value.shape
        self._expect(input_shape, "H", "W", C)
        H, W, _ = input_shape
        Ho, _, _ = window_geometry(H, kh, self.stride, self.padding)
        Wo, _, _ = window_geometry(W, kw, self.stride, self.padding)
        return Ho, Wo, F

    def settings(self) -> dict[str, Any]:
        kh, kw, C, F = self.weight.value.shape
        sizes = {"in_channels": C, "filters": F, "kernel_size": [kh, kw]}
        return super().settings() | sizes | {"stride": self.stride, "padding": self.padding}

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        return self.ops.conv2d_forward(x, self.weight.value, self.bias.value, self.stride, self.padding)

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        dx, dw, db = self.ops.conv2d_backward(dy, cache, input_gradient)
        self._store(dw, db)
        return dx


class ConvReLUPool(Conv2D):
    """Convolution, ReLU and 2x2 max-pool in one pass: x [N, H, W, C] -> y [N, ceil(Ho/2), ceil(Wo/2), F].

    The same parameters and the same results as `Conv2D`, `ReLU`, `MaxPool2D` in a row, but the
    full-size map between them is never written to memory, and backward skips the zeros that
    pooling and ReLU leave.
    """

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        Ho, Wo, F = super().output_shape(input_shape)
        return -(-Ho // 2), -(-Wo // 2), F

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        w, b = self.weight.value, self.bias.value
        return self.ops.conv_relu_pool_forward(x, w, b, self.stride, self.padding)

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        dx, dw, db = self.ops.conv_relu_pool_backward(dy, cache, input_gradient)
        self._store(dw, db)
        return dx
