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
from numba import get_thread_id, prange

from minicnn.engine.kernels.expect import expect, expect_changeable, expect_floats
from minicnn.engine.kernels.jit import helper, kernel, thread_count
from minicnn.engine.kernels.tile import (
    MAX_ROWS,
    Factor,
    Rows,
    copy_tile_row,
    panel_width,
    tile,
    tile_rows,
    transpose,
    width_of,
)
from minicnn.engine.kernels.vector import address, advance, line_of, prefetch
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

M_BLOCK = 420  # rows of a, at most, that share one packing of b
N_BLOCK = 128  # columns of b packed at once
K_BLOCK = 256  # short slices stay in the nearest cache, long ones load and store c less often
SHORT = 128  # up to this K, writing c takes about as long as the arithmetic
AHEAD = 12  # rows of b between the one that is packed and the one that is fetched


@helper
def _pack(b, k0, k1, n0, n1, panels):
    """b[k0:k1, n0:n1] -> panels of [k1 - k0, width], the last one padded with zeros."""
    numbers, k_stride, n_stride = b
    depth, columns, width = k1 - k0, n1 - n0, width_of(panels)
    if columns % width:
        last = address(panels, columns // width * depth * width)
        for i in range(depth * width):
            last[i] = 0
    if n_stride == 1:
        for k in range(depth):
            row = address(numbers, (k0 + k) * k_stride + n0)
            for first in range(0, columns, width):
                to, source = address(panels, first * depth + k * width), advance(row, first)
                prefetch(advance(source, AHEAD * k_stride))
                if first + width <= columns:
                    copy_tile_row(source, to)
                else:
                    for j in range(columns - first):
                        to[j] = source[j]
    else:  # a transposed b: its columns are contiguous
        for first in range(0, columns, width):
            here = min(width, columns - first)
            source = Rows(address(numbers, k0 + (n0 + first) * n_stride), n_stride)
            transpose(source, Rows(address(panels, first * depth), width), here, depth)


@kernel(parallel=True)
def _matmul(a, b, bias, c, m_block, scratch):
    (numbers, a_row, a_k), (b_numbers, b_k, b_n) = a, b
    M, N = c.shape
    K = numbers.size // M
    width, line = width_of(c), line_of(c)
    m_blocks = (M + m_block - 1) // m_block
    n_blocks = (N + N_BLOCK - 1) // N_BLOCK
    for block in prange(m_blocks * n_blocks):
        m0, n0 = (block // n_blocks) * m_block, (block % n_blocks) * N_BLOCK
        m1, n1 = min(M, m0 + m_block), min(N, n0 + N_BLOCK)
        panels = scratch[get_thread_id()]
        edge = N_BLOCK * K_BLOCK  # behind the panels: a tile's worth, for the ragged right edge
        for k0 in range(0, K, K_BLOCK):
            k1 = min(K, k0 + K_BLOCK)
            _pack(b, k0, k1, n0, n1, panels)
            b_lines = -(-(n1 - n0) // line) if b_n == 1 and k1 < K else 0
            a_lines = -(-(m1 - m0) // line) if a_row == 1 and k1 < K else 0
            for n in range(n0, n1, width):
                panel = address(panels, (n - n0) * (k1 - k0))
                m = m0
                while m < m1:
                    rows = tile_rows(m1 - m)
                    to = Rows(address(c, m * N + n), N)
                    if n + width > N:
                        to = Rows(address(panels, edge), width)
                        for r in range(rows):
                            for j in range(N - n):
                                panels[edge + r * width + j] = c[m + r, n + j]
                    start = to if k0 > 0 else Rows(address(bias, n), 0)
                    # Meanwhile fetch a column of cache lines: of the next slice of b or of a transposed
                    # a, which no processor foresees; or of c, where little arithmetic goes with it.
                    ahead = Rows(panel, 0)
                    if b_lines > 0:
                        b_lines -= 1
                        ahead = Rows(address(b_numbers, k1 * b_k + n0 + b_lines * line), b_k)
                    elif a_lines > 0:
                        a_lines -= 1
                        ahead = Rows(address(numbers, k1 * a_k + m0 + a_lines * line), a_k)
                    elif SHORT >= K:
                        ahead = Rows(address(c, (m + rows) * N + n + (m // rows) % 2 * line), N)
                    patch = Factor(address(numbers, m * a_row + k0 * a_k), a_row, 0, a_k)
                    tile(rows, 1, k1 - k0, patch, panel, start, to, ahead)
                    if n + width > N:
                        for r in range(rows):
                            for j in range(N - n):
                                c[m + r, n + j] = panels[edge + r * width + j]
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

    a and b may be transposed views. Raises TypeError or ValueError for shapes or dtypes that do not fit.
    Plain twin: `a @ b + bias`.
    """
    expect_floats("out", out, 2)
    expect_changeable(out=out)
    expect_floats("a", a, 2)
    (M, N), dtype, width = out.shape, out.dtype, panel_width(out.dtype)
    expect("a", a, (M, a.shape[1]), dtype)
    expect("b", b, (a.shape[1], N), dtype)
    if bias is not None:
        expect("bias", bias, (N,), dtype)
    # At least two blocks, and of one size, so that threads have as much to do.
    m_blocks = max(-(-M // M_BLOCK), min(2 // -(-N // N_BLOCK), -(-M // MAX_ROWS)))
    padded_bias = workspace.empty("padded bias", (N + width,), dtype)
    padded_bias[N:] = 0
    padded_bias[:N] = 0 if bias is None else bias
    scratch = workspace.empty("panels", (thread_count(), N_BLOCK * K_BLOCK + MAX_ROWS * width), dtype)
    _matmul(_with_strides(a), _with_strides(b), padded_bias, out, -(-M // m_blocks), scratch)
    return out


def _with_strides(matrix: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The entries of a matrix as a flat array, and how far apart its rows and its columns are in it."""
    if matrix.T.flags.c_contiguous and not matrix.flags.c_contiguous:
        return as_contiguous(matrix.T).reshape(-1), 1, matrix.shape[0]
    return as_contiguous(matrix).reshape(-1), matrix.shape[1], 1
