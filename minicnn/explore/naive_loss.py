"""The loss in two steps, as the formula -log(softmax(z)) is written: for a lesson on why nobody does.

    p = softmax(z)                      loss = -log p[label]
    dL/dp[label] = -1 / p[label]        dz = p * (dL/dp - sum of p * dL/dp)

As mathematics this is the engine's loss. In float32, 1 / p[label] overflows where the label's score lies 89
below the largest, and from 104 on p[label] is 0: then the loss is infinite, and the gradient 0 times
infinity, which is no number.
"""

from __future__ import annotations

import numpy as np

from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.ops import find_ops


class NaiveCrossEntropy(SoftmaxCrossEntropy):
    """-log(softmax(z)[label]) in two steps. No label smoothing."""

    def __init__(self, reduction: str = "mean", *, ops: str = "kernels") -> None:
        super().__init__(reduction, ops=ops)
        self._softmax = find_ops(ops).softmax

    def forward(self, logits: np.ndarray, labels: np.ndarray) -> float:
        super().forward(logits, labels)  # checks its arguments
        p: np.ndarray = self._softmax(logits)
        rows = np.arange(len(labels))
        self._cache = p, labels
        with np.errstate(divide="ignore"):
            losses = -np.log(p[rows, labels])
        return float(losses.mean() if self.reduction == "mean" else losses.sum())

    def backward(self) -> np.ndarray:
        if self._cache is None:
            raise RuntimeError("NaiveCrossEntropy.backward: no matching forward; call forward first")
        (p, labels), self._cache = self._cache, None
        rows = np.arange(len(labels))
        dp = np.zeros_like(p)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            dp[rows, labels] = -1 / p[rows, labels]
            dz = p * (dp - (p * dp).sum(axis=1, keepdims=True))
        return dz / len(p) if self.reduction == "mean" else dz
