"""The loss: softmax cross-entropy of integer labels.

For scores z [N, K], with one label for each n:

    loss[n]      = log(sum over j of exp(z[n, j])) - z[n, label]
    dz[n, k]     = softmax(z)[n, k] - (1 if k is the label else 0)      (divided by N for the mean)

With label smoothing s, (1 - s if k is the label else 0) + s / K takes the place of (1 if k is the label
else 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.engine.arguments import BELOW_1, floats, number
from minicnn.engine.ops import Ops, find_ops


class SoftmaxCrossEntropy:
    """Softmax and cross-entropy in one, finite for scores of any size.

    reduction "mean" averages over the batch, "sum" adds up (as the tutorial does). Unit: nats. With
    `label_smoothing`, 0 to below 1, that part of the target is shared out among all classes, so that the
    network is not trained to be certain. Raises ValueError for other values.
    Source: Goodfellow, Bengio, Courville: Deep Learning (2016), section 6.2.2.3; of smoothing: 7.5.1.
    """

    label_smoothing: float
    ops: Ops

    def __init__(
        self, reduction: str = "mean", label_smoothing: float = 0.0, *, ops: str = "kernels"
    ) -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f'reduction: expected "mean" or "sum", got {reduction!r}')
        self.reduction = reduction
        wanted = "0 <= label_smoothing < 1"
        self.label_smoothing = number("label_smoothing", label_smoothing, wanted, low=0, high=BELOW_1)
        self.ops = find_ops(ops, user="loss")
        self._cache: Any = None

    def __repr__(self) -> str:
        return f"SoftmaxCrossEntropy({self.reduction!r}, label_smoothing={self.label_smoothing:g})"

    def forward(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """The loss of logits [N, K] for labels [N], integers in 0..K-1.

        Raises ValueError or TypeError for shapes or labels that do not fit.
        """
        labels = np.asarray(labels)
        floats("logits", logits)
        if logits.ndim != 2 or logits.size == 0:
            raise ValueError(f"logits: expected [N, K] with N >= 1, got {list(logits.shape)}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels: expected integers, got {labels.dtype}")
        N, K = logits.shape
        if labels.shape != (N,):
            raise ValueError(f"labels: expected shape [{N}], got {list(labels.shape)}")
        if labels.min() < 0 or labels.max() >= K:
            raise ValueError(f"labels: expected 0 to {K - 1}, got {labels.min()} to {labels.max()}")
        loss, self._cache = self.ops.softmax_cross_entropy_forward(
            logits, labels, self.reduction, self.label_smoothing
        )
        return loss

    def backward(self) -> np.ndarray:
        """dL/dlogits [N, K] of the last forward. Raises RuntimeError without one."""
        if self._cache is None:
            raise RuntimeError("SoftmaxCrossEntropy.backward: no matching forward; call forward first")
        cache, self._cache = self._cache, None
        return self.ops.softmax_cross_entropy_backward(1.0, cache)
