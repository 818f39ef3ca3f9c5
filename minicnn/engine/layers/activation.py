"""Layers without parameters that work entry by entry: ReLU and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.engine.arguments import number
from minicnn.engine.initializers import Seed, as_generator
from minicnn.engine.layers.base import Array, Layer, Shape, register_layer
from minicnn.engine.shards import WHOLE, Share
from minicnn.engine.workspace import Workspace


@register_layer
class ReLU(Layer):
    """Rectified linear unit: y = max(x, 0), so dx = dy where y > 0, else 0. Any shape."""

    def __init__(self, *, name: str = "relu", ops: str = "kernels") -> None:
        super().__init__(name, ops)

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        return ops.relu_forward(x)

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        return ops.relu_backward(dy, cache)


@register_layer
class Dropout(Layer):
    """Inverted dropout: in training each entry is kept with probability keep_prob and divided by it.

    y = mask * x / keep_prob in training, y = x in evaluation; dx = mask * dy / keep_prob.
    The layer owns the random generator, `rng`, that draws the masks. A `fixed_mask` (bool, the shape
    of x) replaces the draw, for gradient checks.
    Raises ValueError unless 0 < keep_prob <= 1.
    Source: Srivastava et al.: Dropout: A Simple Way to Prevent Neural Networks from Overfitting (2014).
    """

    keep_prob: float

    def __init__(
        self, keep_prob: float = 0.5, *, name: str = "dropout", rng: Seed = None, ops: str = "kernels"
    ) -> None:
        super().__init__(name, ops)
        self.keep_prob = number("keep_prob", keep_prob, "a number above 0 and at most 1", above=0, high=1)
        self.state["rng"] = as_generator(rng)
        self.fixed_mask: Array | None = None
        self._masks = Workspace()  # the mask of the last forward, which backward needs again

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"keep_prob": self.keep_prob}

    @property
    def rng(self) -> np.random.Generator:
        """The generator that draws the masks."""
        generator = self.state["rng"]
        assert isinstance(generator, np.random.Generator)
        return generator

    def draw_mask(self, shape: Shape, share: Share = WHOLE) -> Array:
        """A new mask, True with probability keep_prob, or the fixed one. Valid until the next draw.

        What is drawn is the mask of a whole batch; of it, the rows of this `share` are returned.
        Raises ValueError if the fixed mask has another shape or is not bool.
        """
        if self.fixed_mask is not None:
            mask = np.asarray(self.fixed_mask)
            if mask.shape != shape or mask.dtype != np.bool_:
                raise ValueError(
                    f"{self.name}.fixed_mask: expected bool {list(shape)}, "
                    f"got {mask.dtype} {list(mask.shape)}"
                )
            return mask
        N, *rest = shape
        draws = self._masks.empty("draws", (share.whole(N), *rest), np.dtype(np.float32))
        self.rng.random(out=draws, dtype=np.float32)
        mask = self._masks.empty("mask", shape, np.dtype(np.bool_))
        return np.less(draws[share.rows], self.keep_prob, out=mask)

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        if not training or self.keep_prob == 1:
            return x, "identity"
        return ops.dropout_forward(x, self.draw_mask(x.shape, ops.share), self.keep_prob)

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        if cache == "identity":
            return dy
        return ops.dropout_backward(dy, cache)
