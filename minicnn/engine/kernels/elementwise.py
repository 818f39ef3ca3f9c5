"""ReLU and dropout, the fast twins of the reference's: one pass over memory each.

Arrays are walked flat, in blocks of a fixed size. A block is a slice, because an index that counts from
0 to a size is all that the compiler needs to know to work on vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from minicnn.engine.kernels.jit import Kernel, kernel
from minicnn.engine.reference import Cache
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

BLOCK = 8192  # entries: large enough to be worth a thread's while, small enough to spread evenly
SMALL = 16 * BLOCK  # up to here, one thread is done before the others are awake


@kernel(parallel=True)
def _relu(x, y, block):
    zero = x.dtype.type(0)
    for part in prange((x.size + block - 1) // block):
        here = slice(part * block, min(x.size, (part + 1) * block))
        source, to = x[here], y[here]
        for i in range(to.size):
            to[i] = zero if source[i] <= zero else source[i]  # written so that a NaN stays a NaN


@kernel(parallel=True)
def _relu_backward(dy, y, dx, block):
    zero = dy.dtype.type(0)
    for part in prange((dy.size + block - 1) // block):
        here = slice(part * block, min(dy.size, (part + 1) * block))
        source, output, to = dy[here], y[here], dx[here]
        for i in range(to.size):
            to[i] = source[i] if output[i] > zero else zero


@kernel(parallel=True)
def _dropout(x, mask, keep_prob, y, block):
    zero = x.dtype.type(0)
    for part in prange((x.size + block - 1) // block):
        here = slice(part * block, min(x.size, (part + 1) * block))
        source, kept, to = x[here], mask[here], y[here]
        for i in range(to.size):
            to[i] = source[i] / keep_prob if kept[i] else zero


def _run(elementwise: Kernel, first: np.ndarray, *others: Any) -> None:
    run = elementwise.serial if first.size <= SMALL else elementwise
    run(first, *others, BLOCK)


def relu_forward(x: np.ndarray, *, workspace: Workspace = FRESH) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.relu_forward`."""
    y = workspace.empty("y", x.shape, x.dtype)
    _run(_relu, as_contiguous(x).reshape(-1), y.reshape(-1))
    return y, (y,)


def relu_backward(dy: np.ndarray, cache: Cache, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.relu_backward`."""
    (y,) = cache
    dx = workspace.empty("dx", dy.shape, dy.dtype)
    _run(_relu_backward, as_contiguous(dy).reshape(-1), y.reshape(-1), dx.reshape(-1))
    return dx


def dropout_forward(
    x: np.ndarray, mask: np.ndarray, keep_prob: float, *, workspace: Workspace = FRESH
) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.dropout_forward`."""
    return _masked(workspace.empty("y", x.shape, x.dtype), x, mask, keep_prob), (mask, keep_prob)


def dropout_backward(dy: np.ndarray, cache: Cache, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.dropout_backward`."""
    mask, keep_prob = cache
    # y = mask * x / keep_prob is linear in x: backward is the same function
    return _masked(workspace.empty("dx", dy.shape, dy.dtype), dy, mask, keep_prob)


def _masked(y: np.ndarray, x: np.ndarray, mask: np.ndarray, keep_prob: float) -> np.ndarray:
    scale = x.dtype.type(keep_prob)
    _run(_dropout, as_contiguous(x).reshape(-1), as_contiguous(mask).reshape(-1), scale, y.reshape(-1))
    return y
