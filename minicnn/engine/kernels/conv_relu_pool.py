"""Convolution, ReLU and 2x2 max-pool in one pass, without the patch matrix and without the full-size map.

Four ideas, each explained where it is used:

1. Implicit im2col. In a zero-padded channels-last image, row u of the patch under a window is one
   contiguous run of kw * C numbers. So the register tile can read patches where they lie.
2. Pool at once. A few rows of the convolution go into a scratch array that stays in the nearest
   cache, and leave it as a quarter of the numbers and one byte each for the place of the largest.
3. Skip the zeros. The gradient that comes out of a 2x2 max-pool is zero in three places of four,
   and ReLU makes more. Backward sums over what is left alone (`conv_relu_pool_backward.py`).
4. Multiply less. A 5x5 filter that makes the four outputs of a pool window needs 36 products for each
   channel instead of 100 (`winograd.py`). It is used where there are enough channels.
"""

from __future__ import annotations

import math

import numpy as np
from numba import get_thread_id, prange

from minicnn.engine.kernels.conv_relu_pool_backward import (
    conv_relu_pool_backward,
    conv_relu_pool_backward_by_shards,
)
from minicnn.engine.kernels.expect import expect_convolution
from minicnn.engine.kernels.jit import kernel, thread_count
from minicnn.engine.kernels.pooling import ConvReLUPoolCache, pool_block
from minicnn.engine.kernels.tile import Factor, Rows, copy_tile_row, panel_width, tile, tile_rows
from minicnn.engine.kernels.vector import address, advance, lanes
from minicnn.engine.kernels.winograd import _winograd_conv_relu_pool, suits_winograd
from minicnn.engine.reference import window_geometry
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

__all__ = ["conv_relu_pool_backward", "conv_relu_pool_backward_by_shards", "conv_relu_pool_forward"]

POOL_ROWS = 4  # rows of the pooled map in one block of work
SLICE = 4096  # numbers of packed weights that share the nearest cache with everything else


@kernel(parallel=True)
def _pad(x, padded, top, left):
    N, H, W, C = x.shape
    _, Hp, Wp, _ = padded.shape
    for row in prange(N * Hp):
        n, i = row // Hp, row % Hp
        to = address(padded, (n * Hp + i) * Wp * C)
        inside = top <= i < top + H
        first, last = (left * C, (left + W) * C) if inside else (0, 0)
        for k in range(first):
            to[k] = 0
        for k in range(last, Wp * C):
            to[k] = 0
        if inside:
            source, middle = address(x, (n * H + i - top) * W * C), advance(to, first)
            for k in range(W * C):
                middle[k] = source[k]


@kernel(parallel=False)
def _pack_panels(w, panels):
    """w [K, F] -> panels [ceil(F / width), K, width], padded with zeros."""
    K, F = w.shape
    count, _, width = panels.shape
    for p in range(count):
        for k in range(K):
            to, row = address(panels, (p * K + k) * width), address(w, k * F + p * width)
            if (p + 1) * width <= F:
                copy_tile_row(row, to)
            else:
                for j in range(width):
                    to[j] = row[j] if p * width + j < F else 0


@kernel(parallel=True)
def _forward(padded, panels, bias, y, argmax, window, conv_shape, scratch):
    N, Hp, Wp, C = padded.shape
    _, Po, Qo, F = y.shape
    _, K, width = panels.shape
    (kh, kw, stride), (Ho, Wo) = window, conv_shape
    run = kw * C  # numbers in a row of a patch
    slice_rows = max(1, SLICE // (run * width))
    blocks = (Po + POOL_ROWS - 1) // POOL_ROWS
    for job in prange(N * blocks):
        n, p0 = job // blocks, (job % blocks) * POOL_ROWS
        p1 = min(Po, p0 + POOL_ROWS)
        conv = scratch[get_thread_id()]  # [2 * (p1 - p0), 2 * Qo, width]
        if Ho % 2 or Wo % 2:
            conv[:] = -np.inf  # what sticks out over the last row or column never wins
        for f0 in range(0, F, width):
            # The weights come in slices of whole patch rows, each used for all pixels of the block.
            for u0 in range(0, kh, slice_rows):
                weights = address(panels, ((f0 // width) * K + u0 * run) * width)
                for i in range(2 * p0, min(Ho, 2 * p1)):
                    j = 0
                    while j < Wo:
                        rows = tile_rows(Wo - j)
                        # Row u of the patch of pixel (i, j): a run of kw * C numbers, a row below the last.
                        corner = address(padded, ((n * Hp + i * stride + u0) * Wp + j * stride) * C)
                        patches = Factor(corner, stride * C, Wp * C, None)
                        out = Rows(address(conv, ((i - 2 * p0) * 2 * Qo + j) * width), width)
                        start = Rows(address(bias, f0), 0) if u0 == 0 else out
                        tile(rows, min(slice_rows, kh - u0), run, patches, weights, start, out, None)
                        j += rows
            pool_block(conv, p1 - p0, Qo, y, argmax, (n * Po + p0) * Qo * F + f0, F - f0)


def conv_relu_pool_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    stride: int = 1,
    padding: str = "same",
    *,
    workspace: Workspace = FRESH,
) -> tuple[np.ndarray, ConvReLUPoolCache]:
    """See `minicnn.engine.reference.conv_relu_pool_forward`."""
    expect_convolution(x, w, b, stride)
    N, H, W, C = x.shape
    kh, kw, _, F = w.shape
    Ho, top, bottom = window_geometry(H, kh, stride, padding)
    Wo, left, right = window_geometry(W, kw, stride, padding)
    Po, Qo = -(-Ho // 2), -(-Wo // 2)
    width, dtype = panel_width(x.dtype), x.dtype

    winograd = suits_winograd(w.shape, stride)
    if winograd:  # works on whole windows of the pool
        bottom, right = bottom + Ho % 2, right + Wo % 2
    padded = _with_slack(workspace, "padded", (N, top + H + bottom, left + W + right, C), dtype)
    _pad(as_contiguous(x), padded, top, left)
    panels = workspace.empty("panels", (-(-F // width), kh * kw * C, width), dtype)
    _pack_panels(as_contiguous(w).reshape(-1, F), panels)
    bias = workspace.empty("padded bias", (len(panels) * width,), dtype)
    bias[:F], bias[F:] = b, 0

    y = workspace.empty("y", (N, Po, Qo, F), dtype)
    argmax = workspace.empty("argmax", (N, Po, Qo, F), np.uint8)
    if winograd:
        _winograd_conv_relu_pool(padded, panels, bias, y, argmax, (Ho, Wo), workspace)
    else:
        scratch = workspace.empty("conv", (thread_count(), 4 * POOL_ROWS * Qo * width), dtype)
        _forward(padded, panels, bias, y, argmax, (kh, kw, stride), (Ho, Wo), scratch)
    return y, ConvReLUPoolCache(x.shape, padded, w, y, argmax, stride, padding)


def _with_slack(workspace: Workspace, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array behind which a vector load may run over the end."""
    size = math.prod(shape)
    return workspace.empty(name, (size + lanes(dtype),), dtype)[:size].reshape(shape)
