"""Max-pooling and average-pooling.

Forward, for each channel c; s is the stride, and xpad is x with its padding:

    y[i, j, c] = max over u, v of xpad[s * i + u, s * j + v, c]

Backward, where (u, v) is the place in window (i, j) at which that maximum was found:

    dxpad[s * i + u, s * j + v, c] += dy[i, j, c]      over all i, j

An average takes sum / count in place of max, where count is the number of pixels of the window that lie in
the image; backward gives each of them dy[i, j, c] / count.
"""

from __future__ import annotations

from typing import Any

from minicnn.engine.arguments import integer
from minicnn.engine.layers.base import Array, Layer, Shape, register_layer
from minicnn.engine.reference import expect_padding, window_geometry


@register_layer
class MaxPool2D(Layer):
    """The largest value of each size x size window: x [N, H, W, C] -> y [N, Ho, Wo, C].

    Backward sends each dy to the winner of its window alone; of equal values the first in row-major
    order is the winner. Padding never wins.
    Raises ValueError unless 1 <= size <= 15 and stride >= 1.
    """

    size: int
    stride: int
    padding: str

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
        super().__init__(name, ops)
        self.size, self.stride, self.padding = size, stride, expect_padding(padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        return _pooled_shape(self, input_shape)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"size": self.size, "stride": self.stride, "padding": self.padding}

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        return ops.max_pool2d_forward(x, self.size, self.stride, self.padding)

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        return ops.max_pool2d_backward(dy, cache)


@register_layer
class AveragePool2D(Layer):
    """The mean of each size x size window: x [N, H, W, C] -> y [N, Ho, Wo, C]. Padding does not count.

    Backward gives each pixel of a window the same share, dy / (number of its pixels in the image).
    Raises ValueError for sizes below 1 or an unknown padding.
    """

    size: int
    stride: int
    padding: str

    def __init__(
        self,
        size: int = 2,
        stride: int = 2,
        padding: str = "same",
        *,
        name: str = "pool",
        ops: str = "kernels",
    ) -> None:
        super().__init__(name, ops)
        self.size, self.stride = integer("size", size, at_least=1), integer("stride", stride, at_least=1)
        self.padding = expect_padding(padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        return _pooled_shape(self, input_shape)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"size": self.size, "stride": self.stride, "padding": self.padding}

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        return ops.average_pool2d_forward(x, self.size, self.stride, self.padding)

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        return ops.average_pool2d_backward(dy, cache)


@register_layer
class GlobalAveragePool2D(Layer):
    """The mean of each channel over the whole image: x [N, H, W, C] -> y [N, C].

    Backward gives each pixel dy / (H * W).
    Source: Lin, Chen, Yan: Network in Network (2014), section 3.2.
    """

    def __init__(self, *, name: str = "pool", ops: str = "kernels") -> None:
        super().__init__(name, ops)

    def output_shape(self, input_shape: Shape) -> Shape:
        self._expect(input_shape, "H", "W", "C")
        return input_shape[-1:]

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        return ops.global_average_pool2d_forward(x)

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        return ops.global_average_pool2d_backward(dy, cache)


def _pooled_shape(layer: MaxPool2D | AveragePool2D, input_shape: Shape) -> Shape:
    layer._expect(input_shape, "H", "W", "C")
    H, W, C = input_shape
    Ho, _, _ = window_geometry(H, layer.size, layer.stride, layer.padding)
    Wo, _, _ = window_geometry(W, layer.size, layer.stride, layer.padding)
    return Ho, Wo, C
