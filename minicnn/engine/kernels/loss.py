"""Softmax and cross-entropy, the fast twins of the reference's."""

from __future__ import annotations

import numpy as np

from minicnn.engine.kernels.expect import expect, expect_floats
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.reference import Cache
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous


@kernel(parallel=False)
def _softmax(z, p, tops, log_totals):
    """p = softmax of each row of z, with top = max(z) and log_total = log(sum exp(z - top))."""
    N, K = z.shape
    for n in range(N):
        top = z[n, 0]
        for k in range(1, K):
            if z[n, k] > top:
                top = z[n, k]
        total = z.dtype.type(0)
        for k in range(K):
            p[n, k] = np.exp(z[n, k] - top)
            total += p[n, k]
        for k in range(K):
            p[n, k] /= total
        tops[n], log_totals[n] = top, np.log(total)


@kernel(parallel=False)
def _subtract_targets(p, labels, of_all, of_label, scale, dz):
    for n in range(p.shape[0]):
        for k in range(p.shape[1]):
            dz[n, k] = (p[n, k] - of_all) * scale
        dz[n, labels[n]] = (p[n, labels[n]] - of_all - of_label) * scale


def softmax(logits: np.ndarray, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.softmax`."""
    return _softmax_and_logs(logits, workspace)[0]


def _softmax_and_logs(logits: np.ndarray, workspace: Workspace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    expect_floats("logits", logits, 2)
    p = workspace.empty("p", logits.shape, logits.dtype)
    tops = workspace.empty("tops", logits.shape[:1], logits.dtype)
    log_totals = workspace.empty("log_totals", logits.shape[:1], logits.dtype)
    _softmax(as_contiguous(logits), p, tops, log_totals)
    return p, tops, log_totals


def _expect_labels(labels: np.ndarray, N: int) -> None:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        raise TypeError(
            f"labels: expected an array of integers, got {getattr(labels, 'dtype', type(labels))}"
        )
    expect("labels", labels, (N,), labels.dtype)


def softmax_cross_entropy_forward(
    logits: np.ndarray,
    labels: np.ndarray,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    workspace: Workspace = FRESH,
) -> tuple[float, Cache]:
    """See `minicnn.engine.reference.softmax_cross_entropy_forward`."""
    expect_floats("logits", logits, 2)
    _expect_labels(labels, len(logits))
    p, tops, log_totals = _softmax_and_logs(logits, workspace)
    # loss = log(sum exp(z)) - z[label], both less the top score, for which float32 is too coarse
    of_labels = logits[np.arange(len(logits)), labels] - tops
    losses = log_totals - of_labels
    if label_smoothing:
        losses += logits.dtype.type(label_smoothing) * (of_labels - (logits - tops[:, None]).mean(axis=1))
    loss = losses.sum(dtype=np.float64)
    if reduction == "mean":
        loss = loss / len(logits)
    return float(loss), (p, labels, reduction, label_smoothing)


def softmax_cross_entropy_backward(dloss: float, cache: Cache, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.softmax_cross_entropy_backward`."""
    p, labels, reduction, label_smoothing = cache
    expect_floats("p", p, 2)
    _expect_labels(labels, len(p))
    if labels.min() < -p.shape[1] or labels.max() >= p.shape[1]:  # NumPy counts negative ones from the end
        raise ValueError(f"labels: expected 0 to {p.shape[1] - 1}, got {labels.min()} to {labels.max()}")
    real = p.dtype.type
    of_all, of_label = real(label_smoothing / p.shape[1]), real(1 - label_smoothing)
    dlogits = workspace.empty("dlogits", p.shape, p.dtype)
    scale = real(dloss / len(p) if reduction == "mean" else dloss)
    _subtract_targets(p, as_contiguous(np.asarray(labels, np.int64)), of_all, of_label, scale, dlogits)
    return dlogits
