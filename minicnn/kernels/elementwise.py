"""ReLU and dropout, the fast twins of the reference's: one pass over memory each.

Arrays are walked flat, in blocks of a fixed size.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.kernels.buffers import empty, ready
from minicnn.kernels.jit import kernel
from minicnn.reference import Cache

BLOCK = 8192  # entries: large enough to be worth a thread's while, small enough to spread evenly


@kernel(parallel=True)
def _relu(x, y, block):
    zero = x.dtype.type(0)
    for part in prange((x.size + block - 1) // block):
        for i in range(part * block, min(x.size, (part + 1) * block)):
            y[i] = zero if x[i] <= zero else x[i]  # written so that a NaN stays a NaN


@kernel(parallel=True)
def _relu_backward(dy, y, dx, block):
    zero = dy.dtype.type(0)
    for part in prange((dy.size + block - 1) // block):
        for i in range(part * block, min(dy.size, (part + 1) * block)):
            dx[i] = dy[i] if y[i] > zero else zero


@kernel(parallel=True)
def _dropout(x, mask, keep_prob, y, block):
    zero = x.dtype.type(0)
    for part in prange((x.size + block - 1) // block):
        for i in range(part * block, min(x.size, (part + 1) * block)):
            y[i] = x[i] / keep_prob if mask[i] else zero


def relu_forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """See `minicnn.reference.relu_forward`."""
    y = empty("y", x.shape, x.dtype)
    _relu(ready(x).reshape(-1), y.reshape(-1), BLOCK)
    return y, (y,)


def relu_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """See `minicnn.reference.relu_backward`."""
    (y,) = cache
    dx = empty("dx", dy.shape, dy.dtype)
    _relu_backward(ready(dy).reshape(-1), y.reshape(-1), dx.reshape(-1), BLOCK)
    return dx


def dropout_forward(x: np.ndarray, mask: np.ndarray, keep_prob: float) -> tuple[np.ndarray, Cache]:
    """See `minicnn.reference.dropout_forward`."""
    return _masked("y", x, mask, keep_prob), (mask, keep_prob)


def dropout_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """See `minicnn.reference.dropout_backward`."""
    mask, keep_prob = cache
    # y = mask * x / keep_prob is linear in x: backward is the same function
    return _masked("dx", dy, mask, keep_prob)


def _masked(name: str, x: np.ndarray, mask: np.ndarray, keep_prob: float) -> np.ndarray:
    y = empty(name, x.shape, x.dtype)
    scale = x.dtype.type(keep_prob)
    _dropout(ready(x).reshape(-1), ready(mask).reshape(-1), scale, y.reshape(-1), BLOCK)
    return y
