"""Warping training images, the fast twin of the reference's: each image in one go, on any thread.

For one row of pixels, first the moves of the coarse grid are brought to that row (Gx numbers), then
to each of its pixels, then the pixels are looked up. The middle step runs on vectors, because its
innermost loop goes along the row.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect, expect_floats
from minicnn.engine.kernels.jit import constant, kernel
from minicnn.engine.reference import spline_basis
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous


@kernel(parallel=True)
def _warp(images, moves, rows, columns, work, y):
    N, H, W = images.shape
    Gy, Gx = rows.shape[1], columns.shape[0]
    real = y.dtype.type
    zero, one, scale = real(0), real(1), real(255)
    for n in prange(N):
        image, move, to = images[n], moves[n], y[n]
        down, right = work[n, 0], work[n, 1]  # [W] each
        for i in range(H):
            for j in range(W):
                down[j], right[j] = real(i), real(j)
            for gx in range(Gx):
                along_y, along_x = zero, zero
                for gy in range(Gy):
                    along_y += rows[i, gy] * move[gy, gx, 0]
                    along_x += rows[i, gy] * move[gy, gx, 1]
                share = columns[gx]
                for j in range(W):
                    down[j] += along_y * share[j]
                    right[j] += along_x * share[j]
            for j in range(W):
                top, left = np.floor(down[j]), np.floor(right[j])
                value = zero
                if -1 <= top < H and -1 <= left < W:  # also keeps a NaN out
                    v, h = down[j] - top, right[j] - left
                    r, c = int(top), int(left)
                    has_top, has_bottom = r >= 0, r + 1 < H
                    has_left, has_right = c >= 0, c + 1 < W
                    a = real(image[r, c]) if has_top and has_left else zero
                    b = real(image[r, c + 1]) if has_top and has_right else zero
                    d = real(image[r + 1, c]) if has_bottom and has_left else zero
                    e = real(image[r + 1, c + 1]) if has_bottom and has_right else zero
                    value = (one - v) * ((one - h) * a + h * b) + v * ((one - h) * d + h * e)
                to[i, j, 0] = value / scale


@constant
def _bases(H: int, W: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    return spline_basis(H).astype(dtype), np.ascontiguousarray(spline_basis(W).T, dtype)


def warp(images: np.ndarray, displacements: np.ndarray, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.warp`."""
    if not isinstance(images, np.ndarray) or images.ndim != 3:
        raise ValueError(f"images: expected [N, H, W], got {list(np.shape(images))}")
    expect("images", images, images.shape, np.uint8)
    expect_floats("displacements", displacements)
    N, H, W = images.shape
    rows, columns = _bases(H, W, displacements.dtype)  # [H, Gy], [Gx, W]
    if displacements.shape != (N, rows.shape[1], columns.shape[0], 2):
        wanted = [N, rows.shape[1], columns.shape[0], 2]
        raise ValueError(
            f"displacements: expected {wanted} for images {[N, H, W]}, got {list(displacements.shape)}"
        )
    work = workspace.empty("work", (N, 2, W), displacements.dtype)
    y = workspace.empty("y", (N, H, W, 1), displacements.dtype)
    _warp(as_contiguous(images), as_contiguous(displacements), rows, columns, work, y)
    return y
