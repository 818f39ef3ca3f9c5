"""The weight gradient of the fused block for grey images: one channel, so patches are short.

A patch of a grey image is a few numbers from each of kh rows, and a vector register that takes one row
of it would stay mostly empty. Here the vectors run over the filters instead:

    dw[k, f] = sum over pixels of patch[pixel, k] * g[pixel, f]         g = dL/dconv

is a product for the register tile, once the gradients of two rows of pixels are spread out, with the
zeros where pooling and ReLU left them. Each block of images has sums of its own, which are added up
in a fixed order.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, get_thread_id, prange

from minicnn.engine.kernels.jit import kernel
from minicnn.engine.kernels.tile import MAX_ROWS, panel_width, tile, tile_rows
from minicnn.engine.kernels.vector import address
from minicnn.engine.workspace import Workspace

IMAGES = 5  # images in one block of work


@kernel(parallel=True)
def _sums_of_blocks(padded, dy, y, winner, dw, db, kh, stride, Ho, Wo, images, most, scratch):
    """dw [blocks, panels, K, width] and db [blocks, panels * width]"""
    N, Hp, Wp, C = padded.shape
    _, Po, Qo, F = y.shape
    blocks, panels, K, width = dw.shape
    run, zero = K // kh, dy.dtype.type(0)
    down, right = stride * Wp * C, stride * C
    for block in prange(blocks):
        dw[block] = zero
        db[block] = zero
        gs = address(scratch[get_thread_id()], 0)  # the gradients spread out: [rows * Wo, width]
        bias = address(db, block * panels * width)
        for n in range(block * images, min(N, (block + 1) * images)):
            for p in range(Po):
                rows = min(2, Ho - 2 * p)
                for panel in range(panels):
                    f0 = panel * width
                    for i in range(rows * Wo * width):
                        gs[i] = zero
                    for q in range(Qo):
                        at = ((n * Po + p) * Qo + q) * F + f0
                        g, reached, place = address(dy, at), address(y, at), address(winner, at)
                        for f in range(min(width, F - f0)):
                            pixel = (place[f] >> 1) * Wo + 2 * q + (place[f] & 1)
                            # y = max(conv, 0): nothing arrives where y is 0
                            arriving = g[f] if reached[f] > zero else zero
                            gs[pixel * width + f] = arriving
                            bias[f0 + f] += arriving
                    for u in range(kh):
                        k = 0
                        while k < run:
                            taps = tile_rows(run - k, most)
                            patch = address(padded, (n * Hp + 2 * p * stride + u) * Wp * C + k)
                            total = address(dw, ((block * panels + panel) * K + u * run + k) * width)
                            # dw[k] += patch[pixel, k] * g[pixel], over rows and columns of pixels
                            tile(taps, patch, 1, right, rows, down, Wo, gs, total, width, total, width, gs, 0)
                            k += taps


@kernel(parallel=False)
def _add_up(dw_of_block, db_of_block, dw, db):
    """dw [K, F] and db [F] from the sums of the blocks, the first block first."""
    K, F = dw.shape
    blocks, _, _, width = dw_of_block.shape
    dw[:] = 0
    db[:] = 0
    for block in range(blocks):
        for f in range(F):
            db[f] += db_of_block[block, f]
        for k in range(K):
            for f in range(F):
                dw[k, f] += dw_of_block[block, f // width, k, f % width]


def one_channel_weight_gradient(
    padded: np.ndarray,
    dy: np.ndarray,
    y: np.ndarray,
    winner: np.ndarray,
    kernel_shape: tuple[int, ...],
    stride: int,
    Ho: int,
    Wo: int,
    workspace: Workspace,
) -> tuple[np.ndarray, np.ndarray]:
    """dw [kh, kw, C, F] and db [F], for padded images of few channels. Ho, Wo: the size before the pool."""
    (kh, kw, C, F), dtype, width = kernel_shape, dy.dtype, panel_width(dy.dtype)
    K, blocks, panels = kh * kw * C, -(-len(dy) // IMAGES), -(-F // width)
    dw_of_block = workspace.empty("dw of blocks", (blocks, panels, K, width), dtype)
    db_of_block = workspace.empty("db of blocks", (blocks, panels * width), dtype)
    scratch = workspace.empty("spread", (get_num_threads(), 2 * Wo * width), dtype)
    sizes = (kh, stride, Ho, Wo, IMAGES, MAX_ROWS)
    _sums_of_blocks(padded, dy, y, winner, dw_of_block, db_of_block, *sizes, scratch)
    dw, db = workspace.empty("dw", kernel_shape, dtype), workspace.empty("db", (F,), dtype)
    _add_up(dw_of_block, db_of_block, dw.reshape(K, F), db)
    return dw, db
