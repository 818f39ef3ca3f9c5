"""The dense layer, and the bias gradient that convolution shares with it."""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.kernels.buffers import empty, ready
from minicnn.kernels.elementwise import SMALL
from minicnn.kernels.jit import kernel
from minicnn.kernels.products import matmul
from minicnn.kernels.sparse import sparse_dense_backward
from minicnn.reference import Cache


@kernel(parallel=True)
def _sum_rows(dy, db):
    # Each block owns some columns and walks down the rows: the same order for any thread count.
    M, F = dy.shape
    block = 16
    for part in prange((F + block - 1) // block):
        start, stop = part * block, min(F, (part + 1) * block)
        db[start:stop] = 0
        for i in range(M):
            for f in range(start, stop):
                db[f] += dy[i, f]


def sum_rows(dy: np.ndarray) -> np.ndarray:
    """dy [M, F] -> db [F]."""
    db = empty("db", (dy.shape[1],), dy.dtype)
    run = _sum_rows.serial if dy.size <= SMALL else _sum_rows
    run(dy, db)
    return db


def dense_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Cache]:
    """See `minicnn.reference.dense_forward`."""
    x = ready(x)
    return matmul("y", x, w, b), (x, w)


def dense_backward(
    dy: np.ndarray, cache: Cache, input_gradient: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `minicnn.reference.dense_backward`."""
    x, w = cache
    dy = ready(dy)
    # y = x @ w + b
    db = sum_rows(dy)
    skipping_zeros = sparse_dense_backward(dy, x, ready(w), input_gradient)
    if skipping_zeros is not None:
        return (*skipping_zeros, db)
    dw = matmul("dw", x.T, dy)
    dx = matmul("dx", dy, w.T) if input_gradient else None
    return dx, dw, db
