"""Batch normalization.

Forward, for each channel c, over all images n and pixels (i, j) of the batch:

    mean = mean of x        variance = mean of (x - mean)^2
    normed = (x - mean) / sqrt(variance + epsilon)        y = scale * normed + shift

Backward, where M is the number of values in a channel, N * H * W, and sums run over them:

    dshift = sum of dy        dscale = sum of dy * normed
    dx = scale / sqrt(variance + epsilon) * (dy - dshift / M - normed * dscale / M)

In evaluation the mean and variance are running averages of those seen in training, and constants:
then dx = scale / sqrt(variance + epsilon) * dy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.arguments import BELOW_1, integer, number
from minicnn.engine.initializers import constant
from minicnn.engine.layers.base import Array, Layer, Shape, register_layer
from minicnn.engine.parameters import Parameter


@register_layer
class BatchNorm2D(Layer):
    """Each channel normalized over the batch: x [N, H, W, C] -> y [N, H, W, C].

    Parameters: `scale` [C], which starts at 1, and `shift` [C], which starts at 0. State, saved but not
    trained: `running_mean` [C] and `running_variance` [C]. A training forward moves them,

        running = momentum * running + (1 - momentum) * that of the batch,

    where the batch's variance is divided by M - 1 instead of M. Evaluation uses them.
    Raises ValueError for channels below 1, or unless 0 <= momentum < 1 and epsilon > 0.
    Source: Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift (2015), Algorithms 1 and 2.
    """

    momentum: float
    epsilon: float
    scale: Parameter
    shift: Parameter

    def __init__(
        self,
        channels: int,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        *,
        name: str = "norm",
        dtype: DTypeLike = np.float32,
        values: Mapping[str, Array] | None = None,
        ops: str = "kernels",
    ) -> None:
        super().__init__(name, ops)
        C = integer("channels", channels, at_least=1)
        self.momentum = number("momentum", momentum, "0 <= momentum < 1", low=0, high=BELOW_1)
        self.epsilon = number("epsilon", epsilon, "a number above 0", above=0)
        self.declare(
            parameters={"scale": ((C,), constant(1)), "shift": ((C,), constant(0))},
            state={"running_mean": ((C,), 0.0), "running_variance": ((C,), 1.0)},
            values=values,
            dtype=dtype,
        )
        self.scale, self.shift = self.parameters

    def output_shape(self, input_shape: Shape) -> Shape:
        self._expect(input_shape, "H", "W", self.scale.value.size)
        return input_shape

    def settings(self) -> dict[str, Any]:
        sizes = {"channels": self.scale.value.size}
        return super().settings() | sizes | {"momentum": self.momentum, "epsilon": self.epsilon}

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        running = self.state["running_mean"], self.state["running_variance"]
        statistics = (None, None) if training else running
        y, cache = ops.batch_norm2d_forward(x, self.scale.value, self.shift.value, *statistics, self.epsilon)
        if training:
            mean, variance, *_ = cache
            M = x.size // x.shape[-1]
            of_batch = mean, variance * x.dtype.type(M / max(1, M - 1))
            for average, seen in zip(running, of_batch, strict=True):
                average += x.dtype.type(1 - self.momentum) * (seen - average)
        return y, cache

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        dx, dscale, dshift = ops.batch_norm2d_backward(dy, cache)
        self.scale.set_gradient(dscale)
        self.shift.set_gradient(dshift)
        return dx
