"""Average-pooling, the fast twin of the reference's."""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect, expect_floats, expect_window
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.reference import Cache, window_geometry
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

Array = np.ndarray


@kernel(parallel=True)
def _average_pool(x, y, size, stride, top, left):
    N, H, W, C = x.shape
    _, Ho, Wo, _ = y.shape
    for row in prange(N * Ho):
        n, i = row // Ho, row % Ho
        for j in range(Wo):
            first_row, last_row = max(0, i * stride - top), min(H, i * stride - top + size)
            first_column, last_column = max(0, j * stride - left), min(W, j * stride - left + size)
            for c in range(C):
                y[n, i, j, c] = 0
            for r in range(first_row, last_row):
                for s in range(first_column, last_column):
                    for c in range(C):
                        y[n, i, j, c] += x[n, r, s, c]
            count = x.dtype.type((last_row - first_row) * (last_column - first_column))
            for c in range(C):
                y[n, i, j, c] /= count


@kernel(parallel=True)
def _average_pool_backward(dy, dx, size, stride, top, left):
    N, H, W, C = dx.shape
    _, Ho, Wo, _ = dy.shape
    for n in prange(N):  # windows may overlap, so one thread owns the whole image
        dx[n] = 0
        for i in range(Ho):
            for j in range(Wo):
                first_row, last_row = max(0, i * stride - top), min(H, i * stride - top + size)
                first_column, last_column = max(0, j * stride - left), min(W, j * stride - left + size)
                count = dy.dtype.type((last_row - first_row) * (last_column - first_column))
                for r in range(first_row, last_row):
                    for s in range(first_column, last_column):
                        for c in range(C):
                            # y = sum of the window / count
                            dx[n, r, s, c] += dy[n, i, j, c] / count


def average_pool2d_forward(
    x: Array, size: int = 2, stride: int = 2, padding: str = "same", *, workspace: Workspace = FRESH
) -> tuple[Array, Cache]:
    """See `minicnn.engine.reference.average_pool2d_forward`."""
    expect_floats("x", x, 4)
    expect_window(size=size, stride=stride)
    N, H, W, C = x.shape
    Ho, top, _ = window_geometry(H, size, stride, padding)
    Wo, left, _ = window_geometry(W, size, stride, padding)
    y = workspace.empty("y", (N, Ho, Wo, C), x.dtype)
    _average_pool(as_contiguous(x), y, size, stride, top, left)
    return y, (x.shape, size, stride, padding)


def average_pool2d_backward(dy: Array, cache: Cache, *, workspace: Workspace = FRESH) -> Array:
    """See `minicnn.engine.reference.average_pool2d_backward`."""
    x_shape, size, stride, padding = cache
    Ho, top, _ = window_geometry(x_shape[1], size, stride, padding)
    Wo, left, _ = window_geometry(x_shape[2], size, stride, padding)
    expect_floats("dy", dy)
    expect("dy", dy, (x_shape[0], Ho, Wo, x_shape[3]), dy.dtype)
    dx = workspace.empty("dx", x_shape, dy.dtype)
    _average_pool_backward(as_contiguous(dy), dx, size, stride, top, left)
    return dx


def global_average_pool2d_forward(x: Array, *, workspace: Workspace = FRESH) -> tuple[Array, Cache]:
    """See `minicnn.engine.reference.global_average_pool2d_forward`. NumPy's mean waits for memory alone."""
    expect_floats("x", x, 4)
    y = workspace.empty("y", (x.shape[0], x.shape[3]), x.dtype)
    np.mean(x, axis=(1, 2), out=y)
    return y, (x.shape,)


def global_average_pool2d_backward(dy: Array, cache: Cache, *, workspace: Workspace = FRESH) -> Array:
    """See `minicnn.engine.reference.global_average_pool2d_backward`."""
    ((N, H, W, C),) = cache
    expect_floats("dy", dy)
    expect("dy", dy, (N, C), dy.dtype)
    dx = workspace.empty("dx", (N, H, W, C), dy.dtype)
    # y = sum over the image / (H * W)
    dx[...] = (dy / dy.dtype.type(H * W))[:, None, None, :]
    return dx
