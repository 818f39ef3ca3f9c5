"""The matrix product behind dense layers and explicit im2col, built on the register tile.

    c [M, N] = a [M, K] @ b [K, N] + bias [N]

The result is cut into blocks, of at most `M_BLOCK` x `N_BLOCK`; a thread takes whole blocks.
Within a block, K is cut into slices of `K_BLOCK`. For each slice, b's part is copied ("packed") into
panels as wide as a tile, which lie contiguous and stay in the nearest cache while tile after tile
runs down the rows of a. Meanwhile what comes next is fetched from memory, so that the arithmetic need
not wait for it. Every entry of c is summed in the same order whatever the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, get_thread_id, prange

from minicnn.engine.kernels.jit import helper, kernel
from minicnn.engine.kernels.tile import MAX_ROWS, copy_tile_row, panel_width, tile, tile_rows, transpose
from minicnn.engine.kernels.vector import address, advance, lanes, prefetch
from minicnn.engine.workspace import CACHE_LINE, FRESH, Workspace, as_contiguous, flat

M_BLOCK = 420  # rows of a, at most, that share one packing of b
N_BLOCK = 128  # columns of b packed at once
K_BLOCK = 256  # short slices stay in the nearest cache, long ones load and store c less often
SHORT = 128  # up to this K, writing c takes about as long as the arithmetic
AHEAD = 12  # rows of b between the one that is packed and the one that is fetched


@helper
def _pack(b, k_stride, n_stride, k0, k1, n0, n1, width, panels, ahead, lane_count):
    """b[k0:k1, n0:n1] -> panels of [k1 - k0, width], the last one padded with zeros."""
    depth, columns = k1 - k0, n1 - n0
    if columns % width:
        last = address(panels, columns // width * depth * width)
        for i in range(depth * width):
            last[i] = 0
    if n_stride == 1:
        for k in range(depth):
            row = address(b, (k0 + k) * k_stride + n0)
            for first in range(0, columns, width):
                to, source = address(panels, first * depth + k * width), advance(row, first)
                prefetch(advance(source, ahead * k_stride))
                if first + width <= columns:
                    copy_tile_row(source, to)
                else:
                    for j in range(columns - first):
                        to[j] = source[j]
    else:  # a transposed b: its columns are contiguous
        for first in range(0, columns, width):
            here = min(width, columns - first)
            source = address(b, k0 + (n0 + first) * n_stride)
            transpose(source, n_stride, address(panels, first * depth), width, here, depth, lane_count)


@kernel(parallel=True)
def _matmul(
    M,
    N,
    K,
    a,
    a_row,
    a_k,
    b,
    b_k,
    b_n,
    bias,
    c,
    most,
    width,
    m_block,
    n_block,
    k_block,
    ahead,
    line,
    short,
    lane_count,
    scratch,
):
    m_blocks = (M + m_block - 1) // m_block
    n_blocks = (N + n_block - 1) // n_block
    for block in prange(m_blocks * n_blocks):
        m0, n0 = (block // n_blocks) * m_block, (block % n_blocks) * n_block
        m1, n1 = min(M, m0 + m_block), min(N, n0 + n_block)
        panels = scratch[get_thread_id()]
        edge = n_block * k_block  # behind the panels: a tile's worth, for the ragged right edge
        for k0 in range(0, K, k_block):
            k1 = min(K, k0 + k_block)
            _pack(b, b_k, b_n, k0, k1, n0, n1, width, panels, ahead, lane_count)
            b_lines = -(-(n1 - n0) // line) if b_n == 1 and k1 < K else 0
            a_lines = -(-(m1 - m0) // line) if a_row == 1 and k1 < K else 0
            for n in range(n0, n1, width):
                panel = address(panels, (n - n0) * (k1 - k0))
                m = m0
                while m < m1:
                    rows = tile_rows(m1 - m, most)
                    a_at = address(a, m * a_row + k0 * a_k)
                    c_at, c_stride = address(c, m * N + n), N
                    if n + width > N:
                        c_at, c_stride = address(panels, edge), width
                        for r in range(rows):
                            for j in range(N - n):
                                panels[edge + r * width + j] = c[(m + r) * N + n + j]
                    start, start_stride = c_at, c_stride
                    if k0 == 0:
                        start, start_stride = address(bias, n), 0
                    # Meanwhile fetch a column of cache lines: of the next slice of b or of a transposed
                    # a, which no processor foresees; or of c, where little arithmetic goes with it.
                    next_one, next_stride = panel, 0
                    if b_lines > 0:
                        b_lines -= 1
                        next_one, next_stride = address(b, k1 * b_k + n0 + b_lines * line), b_k
                    elif a_lines > 0:
                        a_lines -= 1
                        next_one, next_stride = address(a, k1 * a_k + m0 + a_lines * line), a_k
                    elif short >= K:
                        column = n + (m // rows) % 2 * line
                        next_one, next_stride = address(c, (m + rows) * N + column), N
                    tile(
                        rows,
                        a_at,
                        a_row,
                        a_k,
                        1,
                        0,
                        k1 - k0,
                        panel,
                        start,
                        start_stride,
                        c_at,
                        c_stride,
                        next_one,
                        next_stride,
                    )
                    if n + width > N:
                        for r in range(rows):
                            for j in range(N - n):
                                c[(m + r) * N + n + j] = panels[edge + r * width + j]
                    m += rows


def matmul(
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    out: np.ndarray,
    workspace: Workspace = FRESH,
) -> np.ndarray:
    """out [M, N] = a [M, K] @ b [K, N] + bias [N]. Returns out, which must be C-contiguous.

    a and b may be transposed views. Plain twin: `a @ b + bias`.
    """
    (M, K), N, dtype = a.shape, b.shape[1], a.dtype
    # At least two blocks, and of one size, so that threads have as much to do.
    m_blocks = max(-(-M // M_BLOCK), min(2 // -(-N // N_BLOCK), -(-M // MAX_ROWS)))
    m_block = -(-M // m_blocks)
    width = panel_width(dtype)
    padded_bias = workspace.empty("padded bias", (N + width,), dtype)
    padded_bias[N:] = 0
    padded_bias[:N] = 0 if bias is None else bias
    scratch = workspace.empty("panels", (get_num_threads(), N_BLOCK * K_BLOCK + MAX_ROWS * width), dtype)
    a, a_row, a_k = _flat_and_strides(a)
    b, b_k, b_n = _flat_and_strides(b)
    sizes = (
        MAX_ROWS,
        width,
        m_block,
        N_BLOCK,
        K_BLOCK,
        AHEAD,
        CACHE_LINE // dtype.itemsize,
        SHORT,
        lanes(dtype),
    )
    _matmul(M, N, K, a, a_row, a_k, b, b_k, b_n, padded_bias, flat(out), *sizes, scratch)
    return out


def _flat_and_strides(array: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The entries of a matrix as a flat array, and its two strides in entries."""
    if array.T.flags.c_contiguous and not array.flags.c_contiguous:
        return as_contiguous(array.T).reshape(-1), 1, array.shape[0]
    return as_contiguous(array).reshape(-1), array.shape[1], 1
