"""Convolution by explicit im2col, the fast twin of the reference's: copy patches, then multiply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import prange

from minicnn.engine.kernels.dense import sum_rows
from minicnn.engine.kernels.expect import (
    expect,
    expect_convolution,
    expect_floats,
    expect_sizes,
    expect_window,
)
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.kernels.matmul import matmul
from minicnn.engine.kernels.shards import starts_of
from minicnn.engine.kernels.vector import add, address, advance, copy
from minicnn.engine.reference import Cache, window_geometry
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous


@kernel(parallel=True)
def _im2col(x, cols, kh, kw, stride, top, left):
    N, H, W, C = x.shape
    _, Ho, Wo, _ = cols.shape
    for row in prange(N * Ho):
        n, i = row // Ho, row % Ho
        for j in range(Wo):
            # In each of its rows the patch is a run of kw * C numbers: first..last of them lie inside
            # the image, the others are padding.
            first, last = max(0, left - j * stride) * C, min(kw, W + left - j * stride) * C
            for u in range(kh):
                y = i * stride + u - top
                to = address(cols, ((row * Wo + j) * kh + u) * kw * C)
                if y < 0 or y >= H:
                    for k in range(kw * C):
                        to[k] = 0
                else:
                    source = address(x, ((n * H + y) * W + j * stride - left) * C)
                    for k in range(first):
                        to[k] = 0
                    copy(advance(source, first), advance(to, first), last - first)
                    for k in range(last, kw * C):
                        to[k] = 0


@kernel(parallel=True)
def _col2im(cols, dx, kh, kw, stride, top, left):
    N, H, W, C = dx.shape
    _, Ho, Wo, _ = cols.shape
    for n in prange(N):  # patches of one image overlap, so one thread owns the whole image
        dx[n] = 0
        for i in range(Ho):
            for j in range(Wo):
                first, last = max(0, left - j * stride) * C, min(kw, W + left - j * stride) * C
                for u in range(kh):
                    y = i * stride + u - top
                    if 0 <= y < H:
                        # im2col: cols[n, i, j, u, first..last] = x[n, y, ...]
                        source = address(cols, (((n * Ho + i) * Wo + j) * kh + u) * kw * C + first)
                        to = address(dx, ((n * H + y) * W + j * stride - left) * C + first)
                        add(source, to, last - first)


def im2col(
    x: np.ndarray,
    kh: int,
    kw: int,
    stride: int = 1,
    padding: str = "same",
    *,
    workspace: Workspace = FRESH,
) -> np.ndarray:
    """See `minicnn.engine.reference.im2col`."""
    expect_floats("x", x, 4)
    expect_window(kh=kh, kw=kw, stride=stride)
    N, H, W, C = x.shape
    Ho, top, _ = window_geometry(H, kh, stride, padding)
    Wo, left, _ = window_geometry(W, kw, stride, padding)
    cols = workspace.empty("cols", (N, Ho, Wo, kh * kw * C), x.dtype)
    _im2col(as_contiguous(x), cols, kh, kw, stride, top, left)
    return cols


def col2im(
    cols: np.ndarray,
    x_shape: tuple[int, ...],
    kh: int,
    kw: int,
    stride: int = 1,
    padding: str = "same",
    *,
    workspace: Workspace = FRESH,
) -> np.ndarray:
    """See `minicnn.engine.reference.col2im`."""
    expect_window(kh=kh, kw=kw, stride=stride)
    N, H, W, C = x_shape
    Ho, top, _ = window_geometry(H, kh, stride, padding)
    Wo, left, _ = window_geometry(W, kw, stride, padding)
    shape = N, Ho, Wo, kh * kw * C
    expect_floats("cols", cols)
    if cols.size != math.prod(shape):
        raise ValueError(f"cols: expected {list(shape)}, in any shape, got {list(cols.shape)}")
    dx = workspace.empty("dx", (N, H, W, C), cols.dtype)
    _col2im(as_contiguous(cols).reshape(shape), dx, kh, kw, stride, top, left)
    return dx


def conv2d_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    stride: int = 1,
    padding: str = "same",
    *,
    workspace: Workspace = FRESH,
) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.conv2d_forward`."""
    expect_convolution(x, w, b, stride)
    kh, kw, C, F = w.shape
    cols = im2col(x, kh, kw, stride, padding, workspace=workspace)
    N, Ho, Wo, K = cols.shape
    y = workspace.empty("y", (N, Ho, Wo, F), x.dtype)
    matmul(cols.reshape(-1, K), as_contiguous(w).reshape(K, F), b, out=y.reshape(-1, F), workspace=workspace)
    return y, (x.shape, cols, w, stride, padding)


def conv2d_backward(
    dy: np.ndarray, cache: Cache, input_gradient: bool = True, *, workspace: Workspace = FRESH
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `minicnn.engine.reference.conv2d_backward`."""
    dx, dw, db = conv2d_backward_by_shards(dy, cache, (len(dy),), input_gradient, workspace=workspace)
    return dx, dw[0], db[0]


def conv2d_backward_by_shards(
    dy: np.ndarray,
    cache: Cache,
    sizes: Sequence[int],
    input_gradient: bool = True,
    *,
    workspace: Workspace = FRESH,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `minicnn.engine.reference.conv2d_backward_by_shards`."""
    x_shape, cols, w, stride, padding = cache
    expect_floats("cols", cols, 4)
    expect_floats("w", w, 4)
    kh, kw, _, F = w.shape
    K = cols.shape[-1]
    expect("dy", dy, (*cols.shape[:3], F), cols.dtype)
    expect_sizes(sizes, len(dy))
    dy = as_contiguous(dy)
    dw = workspace.empty("dw of shards", (len(sizes), *w.shape), w.dtype)
    db = workspace.empty("db of shards", (len(sizes), F), w.dtype)
    for shard, (first, last) in enumerate(pairwise(starts_of(sizes))):
        rows, dy_rows = cols[first:last].reshape(-1, K), dy[first:last].reshape(-1, F)
        # y = cols @ w + b
        db[shard] = sum_rows(dy_rows, workspace)
        matmul(rows.T, dy_rows, out=dw[shard].reshape(K, F), workspace=workspace)
    if not input_gradient:
        return None, dw, db
    dcols = workspace.empty("dcols", (dy.size // F, K), w.dtype)
    matmul(dy.reshape(-1, F), as_contiguous(w).reshape(K, F).T, out=dcols, workspace=workspace)
    # cols = im2col(x)
    return col2im(dcols, x_shape, kh, kw, stride, padding, workspace=workspace), dw, db
