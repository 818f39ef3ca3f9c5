"""The weight gradient of the fused block for images of one channel, whose patches are short.

A patch of such an image is a few numbers from each of kh rows, and a vector register that takes one row
of it would stay mostly empty. Here the vectors run over the filters instead:

    dw[k, f] = sum over pixels of patch[pixel, k] * g[pixel, f]         g = dL/dconv

is a product for the register tile, once the gradients of two rows of pixels are spread out, with the
zeros where pooling and ReLU left them. Each block of images of a shard has sums of its own, which are added
up in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import get_thread_id, prange

from minicnn.engine.kernels.jit import constant, kernel, thread_count
from minicnn.engine.kernels.pooling import ConvReLUPoolCache
from minicnn.engine.kernels.shards import starts_of
from minicnn.engine.kernels.tile import Factor, Rows, panel_width, tile, tile_rows
from minicnn.engine.kernels.vector import address
from minicnn.engine.reference import window_geometry
from minicnn.engine.workspace import Workspace

IMAGES = 5  # images in one block of work


@kernel(parallel=True)
def _sums_of_blocks(padded, dy, y, argmax, starts, dw, db, stride, conv_shape, scratch):
    """dw [blocks, panels, kh, kw, width] and db [blocks, panels * width]; blocks begin at `starts`."""
    _, Hp, Wp, _ = padded.shape
    _, Po, Qo, F = y.shape
    blocks, panels, kh, kw, width = dw.shape
    (Ho, Wo), zero = conv_shape, dy.dtype.type(0)
    for block in prange(blocks):
        dw[block] = zero
        db[block] = zero
        gs = address(scratch[get_thread_id()], 0)  # the gradients spread out: [rows * Wo, width]
        bias = address(db, block * panels * width)
        for n in range(starts[block], starts[block + 1]):
            for p in range(Po):
                rows = min(2, Ho - 2 * p)
                for panel in range(panels):
                    f0 = panel * width
                    for i in range(rows * Wo * width):
                        gs[i] = zero
                    for q in range(Qo):
                        at = ((n * Po + p) * Qo + q) * F + f0
                        g, reached, place = address(dy, at), address(y, at), address(argmax, at)
                        for f in range(min(width, F - f0)):
                            pixel = (place[f] >> 1) * Wo + 2 * q + (place[f] & 1)
                            # y = max(conv, 0): nothing arrives where y is 0
                            arriving = g[f] if reached[f] > zero else zero
                            gs[pixel * width + f] = arriving
                            bias[f0 + f] += arriving
                    for u in range(kh):
                        k = 0
                        while k < kw:
                            taps = tile_rows(kw - k)
                            corner = address(padded, (n * Hp + 2 * p * stride + u) * Wp + k)
                            patches = Factor(corner, 1, stride * Wp, stride)
                            at = ((block * panels + panel) * kh + u) * kw + k
                            total = Rows(address(dw, at * width), width)
                            # dw[k] += patch[pixel, k] * g[pixel], over rows and columns of pixels
                            tile(taps, rows, Wo, patches, gs, total, total, None)
                            k += taps


@kernel(parallel=False)
def _add_up(dw_of_block, db_of_block, shard_of_block, dw, db):
    """dw [shards, kh, kw, 1, F] and db [shards, F] from the sums of their blocks, the first block first."""
    _, kh, kw, _, F = dw.shape
    blocks, _, _, _, width = dw_of_block.shape
    dw[:] = 0
    db[:] = 0
    for block in range(blocks):
        shard = shard_of_block[block]
        for f in range(F):
            db[shard, f] += db_of_block[block, f]
        for u in range(kh):
            for v in range(kw):
                for f in range(F):
                    dw[shard, u, v, 0, f] += dw_of_block[block, f // width, u, v, f % width]


def _one_channel_weight_gradient(
    dy: np.ndarray, cache: ConvReLUPoolCache, sizes: Sequence[int], workspace: Workspace
) -> tuple[np.ndarray, np.ndarray]:
    """dw [shards, kh, kw, 1, F] and db [shards, F] of the fused block."""
    (_, H, W, _), padded, w, y, argmax, stride, padding = cache
    (kh, kw, _, F), dtype, width = w.shape, dy.dtype, panel_width(dy.dtype)
    Ho, _, _ = window_geometry(H, kh, stride, padding)
    Wo, _, _ = window_geometry(W, kw, stride, padding)
    starts, shard_of_block = _blocks(tuple(sizes))
    blocks, panels = len(shard_of_block), -(-F // width)
    dw_of_block = workspace.empty("dw of blocks", (blocks, panels, kh, kw, width), dtype)
    db_of_block = workspace.empty("db of blocks", (blocks, panels * width), dtype)
    scratch = workspace.empty("spread", (thread_count(), 2 * Wo * width), dtype)
    _sums_of_blocks(padded, dy, y, argmax, starts, dw_of_block, db_of_block, stride, (Ho, Wo), scratch)
    dw = workspace.empty("dw", (len(sizes), *w.shape), dtype)
    db = workspace.empty("db", (len(sizes), F), dtype)
    _add_up(dw_of_block, db_of_block, shard_of_block, dw, db)
    return dw, db


@constant  # the same in every step
def _blocks(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where the blocks of all shards begin, and where the last one ends; and the shard of each block."""
    shards = starts_of(sizes)
    firsts = [np.arange(first, last, IMAGES) for first, last in pairwise(shards)]
    starts = np.concatenate([*firsts, shards[-1:]])
    return starts, np.repeat(np.arange(len(sizes)), [len(first) for first in firsts])
