"""Convolution, and the block of convolution, ReLU and max-pool.

Forward, for one output pixel (i, j) of one filter f, where s is the stride and xpad is x with its padding:

    y[i, j, f] = b[f] + sum over u, v, c of xpad[s * i + u, s * j + v, c] * w[u, v, c, f]

Backward, from dy = dL/dy: every product above passes its share to both factors,

    dw[u, v, c, f]                  = sum over n, i, j of dy[i, j, f] * xpad[s * i + u, s * j + v, c]
    dxpad[s * i + u, s * j + v, c] += dy[i, j, f] * w[u, v, c, f]      over all i, j, f
    db[f]                           = sum over n, i, j of dy[i, j, f]

As matrices, with one patch of xpad in each row of cols = im2col(x), these are y = cols @ w + b,
dw = cols.T @ dy and dx = col2im(dy @ w.T). The arithmetic is in `minicnn.engine.reference` (plain) and
`minicnn.engine.kernels` (fast).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.arguments import integer, pair
from minicnn.engine.initializers import BIASES, WEIGHTS, Initializer, Seed
from minicnn.engine.layers.base import Array, Layer, Shape, register_layer
from minicnn.engine.parameters import Parameter
from minicnn.engine.reference import expect_padding, window_geometry
from minicnn.engine.shards import Terms


@register_layer
class Conv2D(Layer):
    """2-D convolution (cross-correlation): x [N, H, W, C] -> y [N, Ho, Wo, F].

    Parameters: `weight` [kh, kw, C, F], `bias` [F].
    padding "same" keeps H and W at stride 1 (Ho = ceil(H / stride)), "valid" pads nothing.
    Raises ValueError for sizes below 1 or an unknown padding.
    Source: Goodfellow, Bengio, Courville: Deep Learning (2016), section 9.1.
    """

    stride: int
    padding: str
    weight: Parameter
    bias: Parameter

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
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
        values: Mapping[str, Array] | None = None,
        ops: str = "kernels",
    ) -> None:
        super().__init__(name, ops)
        kh, kw = pair("kernel_size", kernel_size, at_least=1)
        C = integer("in_channels", in_channels, at_least=1)
        F = integer("filters", filters, at_least=1)
        self.stride, self.padding = integer("stride", stride, at_least=1), expect_padding(padding)
        drawn = {"weight": ((kh, kw, C, F), weight_init), "bias": ((F,), bias_init)}
        self.declare(drawn, values=values, rng=rng, dtype=dtype)
        self.weight, self.bias = self.parameters

    def output_shape(self, input_shape: Shape) -> Shape:
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

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        return ops.conv2d_forward(x, self.weight.value, self.bias.value, self.stride, self.padding)

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        dx, terms = self.differentiate_terms(ops, dy, cache, input_gradient)
        self.add_up(ops, terms)
        return dx

    def differentiate_terms(
        self, ops: Any, dy: Array, cache: Any, input_gradient: bool
    ) -> tuple[Array | None, Terms]:
        sizes = ops.share.sizes(len(dy))  # of the shards: there is a dw and a db for each
        dx, dw, db = ops.conv2d_backward_by_shards(dy, cache, sizes, input_gradient)
        return dx, Terms(by_shard=(dw, db))

    def add_up(self, ops: Any, terms: Terms) -> None:
        dw, db = terms.by_shard
        self.weight.set_gradient(ops.tree_sum(dw))
        self.bias.set_gradient(ops.tree_sum(db))


@register_layer
class ConvReLUPool(Conv2D):
    """Convolution, ReLU and 2x2 max-pool in one pass: x [N, H, W, C] -> y [N, ceil(Ho/2), ceil(Wo/2), F].

    The same parameters and the same results as `Conv2D`, `ReLU`, `MaxPool2D` one after the other, but the
    full-size map between them is never written to memory, and backward skips the zeros that
    pooling and ReLU leave.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        Ho, Wo, F = super().output_shape(input_shape)
        return -(-Ho // 2), -(-Wo // 2), F

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        w, b = self.weight.value, self.bias.value
        return ops.conv_relu_pool_forward(x, w, b, self.stride, self.padding)

    def differentiate_terms(
        self, ops: Any, dy: Array, cache: Any, input_gradient: bool
    ) -> tuple[Array | None, Terms]:
        sizes = ops.share.sizes(len(dy))
        dx, dw, db = ops.conv_relu_pool_backward_by_shards(dy, cache, sizes, input_gradient)
        return dx, Terms(by_shard=(dw, db))
