"""One number as the terms that made it, for showing them and for adding them up by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
OUTSIDE = -1  # the place of a factor that is padding, or lies beyond the edge of a map


@dataclass(frozen=True)
class Factor:
    """One side of a sum of products: the numbers, and where on the page each of them is found."""

    what: str  # "value", "gradient", "parameter", or the "difference" of two entries of a parameter
    name: str  # of the stage or parameter
    values: Array  # float32 [groups, rows, columns]
    places: Array  # int32, likewise: the index in the flat array, or OUTSIDE


@dataclass(frozen=True)
class Trace:
    """One number of the engine, and the sum of products that it is: `constant + sum(left * right)`.

    With `right` None the terms are those of `left` alone, and `rule` says what becomes of them:

        sum        constant + sum of left * right            convolution, dense layer, their gradients
        max        the largest of left                       pool
        relu       max(left, 0)
        gate       left if the output is above 0, else 0     gradient of ReLU
        winners    sum of left where the window's largest value is this one     gradient of a pool
        softmax    exp(left[k] - max) / sum of exp(left - max)
        residual   p[k] - (1 if k is the label else 0)       gradient of softmax and loss
        loss       log(sum of exp(left - max)) - (left[label] - max)
    """

    rule: str
    code: str  # which lines of the reference compute it: see `minicnn.explore.source`
    value: float  # the engine's
    left: Factor
    right: Factor | None = None
    constant: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)  # integers that the rule needs, JSON

    def by_hand(self) -> float:
        """The number again, from the terms, in float64."""
        left = self.left.values.astype(np.float64)
        if self.rule == "sum":
            assert self.right is not None
            return self.constant + float((left * self.right.values.astype(np.float64)).sum())
        if self.rule == "max":
            return float(left[self.left.places != OUTSIDE].max())
        if self.rule == "relu":
            return max(float(left.item()), 0.0)
        if self.rule == "gate":
            return float(left.item()) if self.facts["open"] else 0.0
        if self.rule == "winners":
            return float(left[np.array(self.facts["wins"]).reshape(left.shape)].sum())
        if self.rule == "residual":
            return float(left.ravel()[self.facts["index"]]) - (self.facts["index"] == self.facts["label"])
        shifted = left.ravel() - left.max()
        if self.rule == "softmax":
            return float(np.exp(shifted[self.facts["index"]]) / np.exp(shifted).sum())
        return float(np.log(np.exp(shifted).sum()) - shifted[self.facts["label"]])  # loss
