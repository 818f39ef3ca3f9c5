"""ReLU and dropout, the fast twins of the reference's: one pass over memory each."""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect, expect_floats
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.reference import Cache
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

SMALL = 128 * 1024  # entries: up to here, one thread is done before the others are awake


@kernel(parallel=True, serial_up_to=SMALL)
def _relu(x, y):
    zero = x.dtype.type(0)
    for i in prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]  # written so that a NaN stays a NaN


@kernel(parallel=True, serial_up_to=SMALL)
def _relu_backward(dy, y, dx):
    zero = dy.dtype.type(0)
    for i in prange(dy.size):
        dx[i] = dy[i] if y[i] > zero else zero


@kernel(parallel=True, serial_up_to=SMALL)
def _dropout(x, mask, keep_prob, y):
    zero = x.dtype.type(0)
    for i in prange(x.size):
        y[i] = x[i] / keep_prob if mask[i] else zero


def relu_forward(x: np.ndarray, *, workspace: Workspace = FRESH) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.relu_forward`."""
    expect_floats("x", x)
    y = workspace.empty("y", x.shape, x.dtype)
    _relu(as_contiguous(x).reshape(-1), y.reshape(-1))
    return y, (y,)


def relu_backward(dy: np.ndarray, cache: Cache, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.relu_backward`."""
    (y,) = cache
    expect_floats("y", y)
    expect("dy", dy, y.shape, y.dtype)
    dx = workspace.empty("dx", dy.shape, dy.dtype)
    _relu_backward(as_contiguous(dy).reshape(-1), y.reshape(-1), dx.reshape(-1))
    return dx


def dropout_forward(
    x: np.ndarray, mask: np.ndarray, keep_prob: float, *, workspace: Workspace = FRESH
) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.dropout_forward`."""
    expect_floats("x", x)
    expect("mask", mask, x.shape, np.bool_)
    return _masked(workspace.empty("y", x.shape, x.dtype), x, mask, keep_prob), (mask, keep_prob)


def dropout_backward(dy: np.ndarray, cache: Cache, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.dropout_backward`."""
    mask, keep_prob = cache
    expect("mask", mask, np.shape(mask), np.bool_)
    expect_floats("dy", dy)
    expect("dy", dy, mask.shape, dy.dtype)
    # y = mask * x / keep_prob is linear in x: backward is the same function
    return _masked(workspace.empty("dx", dy.shape, dy.dtype), dy, mask, keep_prob)


def _masked(y: np.ndarray, x: np.ndarray, mask: np.ndarray, keep_prob: float) -> np.ndarray:
    scale = x.dtype.type(keep_prob)
    _dropout(as_contiguous(x).reshape(-1), as_contiguous(mask).reshape(-1), scale, y.reshape(-1))
    return y
