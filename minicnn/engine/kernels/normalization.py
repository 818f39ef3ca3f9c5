"""Batch normalization, the fast twin of the reference's: a few passes over memory.

Sums over the batch are taken in blocks of rows of a fixed size, and the blocks are added in a fixed order:
so the bits do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect, expect_floats
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.reference import Cache
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

Array = np.ndarray
ROWS = 512  # pixels in one block of work


@kernel(parallel=True)
def _deviations(x, center, sums, squares):
    """For each block of rows of x [M, C], the sums of x - center and of its square."""
    M, C = x.shape
    for block in prange(sums.shape[0]):
        for c in range(C):
            sums[block, c] = squares[block, c] = 0
        for i in range(block * ROWS, min(M, (block + 1) * ROWS)):
            for c in range(C):
                d = x[i, c] - center[c]
                sums[block, c] += d
                squares[block, c] += d * d


@kernel(parallel=True)
def _normalize(x, mean, std, scale, shift, normed, y):
    M, C = x.shape
    for block in prange((M + ROWS - 1) // ROWS):
        for i in range(block * ROWS, min(M, (block + 1) * ROWS)):
            for c in range(C):
                normed[i, c] = (x[i, c] - mean[c]) / std[c]
                y[i, c] = scale[c] * normed[i, c] + shift[c]


@kernel(parallel=True)
def _scale_and_shift_gradients(dy, normed, dscale, dshift):
    M, C = dy.shape
    for block in prange(dscale.shape[0]):
        for c in range(C):
            dscale[block, c] = dshift[block, c] = 0
        for i in range(block * ROWS, min(M, (block + 1) * ROWS)):
            for c in range(C):
                dscale[block, c] += dy[i, c] * normed[i, c]
                dshift[block, c] += dy[i, c]


@kernel(parallel=True)
def _input_gradient(dy, normed, factor, mean_of_dy, mean_of_product, dx):
    M, C = dy.shape
    for block in prange((M + ROWS - 1) // ROWS):
        for i in range(block * ROWS, min(M, (block + 1) * ROWS)):
            for c in range(C):
                dx[i, c] = factor[c] * (dy[i, c] - mean_of_dy[c] - normed[i, c] * mean_of_product[c])


def _rows(x: Array) -> Array:
    return as_contiguous(x).reshape(-1, x.shape[-1])


def _partial_sums(M: int, C: int, dtype: np.dtype, workspace: Workspace) -> tuple[Array, Array]:
    shape = -(-M // ROWS), C
    return workspace.empty("sums", shape, dtype), workspace.empty("more sums", shape, dtype)


def batch_norm2d_forward(
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array | None = None,
    variance: Array | None = None,
    epsilon: float = 1e-5,
    *,
    workspace: Workspace = FRESH,
) -> tuple[Array, Cache]:
    """See `minicnn.engine.reference.batch_norm2d_forward`."""
    expect_floats("x", x, 4)
    for name, array in (("scale", scale), ("shift", shift)):
        expect(name, array, x.shape[3:], x.dtype)
    for name, array in (("mean", mean), ("variance", variance)):
        if array is not None:
            expect(name, array, x.shape[3:], x.dtype)
    rows, dtype = _rows(x), x.dtype
    M, C = rows.shape
    of_batch = mean is None or variance is None
    if mean is None or variance is None:
        sums, squares = _partial_sums(M, C, dtype, workspace)
        _deviations(rows, np.zeros(C, dtype), sums, squares)
        mean = sums.sum(axis=0) / dtype.type(M)
        _deviations(rows, mean, sums, squares)  # about the mean: a difference of squares would cancel
        variance = squares.sum(axis=0) / dtype.type(M)
    std = np.sqrt(variance + dtype.type(epsilon))
    normed, y = workspace.empty("normed", x.shape, dtype), workspace.empty("y", x.shape, dtype)
    _normalize(rows, *map(as_contiguous, (mean, std, scale, shift)), normed.reshape(M, C), y.reshape(M, C))
    return y, (mean, variance, normed, scale, std, of_batch)


def batch_norm2d_backward(
    dy: Array, cache: Cache, *, workspace: Workspace = FRESH
) -> tuple[Array, Array, Array]:
    """See `minicnn.engine.reference.batch_norm2d_backward`."""
    _, _, normed, scale, std, of_batch = cache
    expect_floats("normed", normed, 4)
    expect("dy", dy, normed.shape, normed.dtype)
    for name, array in (("scale", scale), ("std", std)):
        expect(name, array, normed.shape[3:], normed.dtype)
    rows, dtype = _rows(dy), dy.dtype
    M, C = rows.shape
    partial = _partial_sums(M, C, dtype, workspace)
    normed = normed.reshape(M, C)
    # y = scale * normed + shift
    _scale_and_shift_gradients(rows, normed, *partial)
    dscale, dshift = (workspace.empty(name, (C,), dtype) for name in ("dscale", "dshift"))
    for sums, total in zip(partial, (dscale, dshift), strict=True):
        sums.sum(axis=0, out=total)
    # normed = (x - mean) / std, where the mean and std of a batch depend on x, too
    share = dtype.type(1 / M if of_batch else 0)
    dx = workspace.empty("dx", dy.shape, dtype)
    _input_gradient(rows, normed, scale / std, share * dshift, share * dscale, dx.reshape(M, C))
    return dx, dscale, dshift
