"""Dense-layer gradients that skip zeros.

After ReLU and dropout about three quarters of dy are zero. With y = x @ w + b,

    dx[n]    = sum over j of dy[n, j] * w[:, j]        dw[:, j] = sum over n of dy[n, j] * x[n]

so each nonzero dy[n, j] costs one scaled row, and a zero costs nothing. The sums run over lists of
(value, place), made once: by image for dx, by unit for dw. Rows are cut into blocks of D as wide as
`gather_sum` keeps in registers. The columns of w and dw are rows of the sums, hence the transposes,
which go through small blocks that stay in the nearest cache.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, get_thread_id, prange

from minicnn.kernels.buffers import empty
from minicnn.kernels.jit import kernel
from minicnn.kernels.tile import GATHER_VECTORS, address, gather_sum, lanes

UNITS = 64  # columns of w that are transposed at once


@kernel(parallel=False)
def _list_nonzeros(dy, value, offset, start, step, part):
    """The nonzeros of each row of dy, part by part of its columns.

    offset is column % part * step; start[n, p] counts the nonzeros before part p.
    """
    N, F = dy.shape
    zero = dy.dtype.type(0)
    for n in range(N):
        row, values, offsets = address(dy, n * F), address(value, n * F), address(offset, n * F)
        count = 0
        for j in range(F):
            if j % part == 0:
                start[n, j // part] = count
            values[count] = row[j]
            offsets[count] = (j % part) * step
            count += row[j] != zero
        start[n, (F + part - 1) // part] = count


@kernel(parallel=True)
def _input_gradient(w, value, offset, start, dx, vectors, slot, units, scratch):
    D, F = w.shape
    N, _ = dx.shape
    width = slot[1] * vectors
    zero = w.dtype.type(0)
    for part in prange((D + width - 1) // width):
        d0 = part * width
        columns = min(width, D - d0)
        block = scratch[get_thread_id()]  # units rows of w's transpose, then N rows of dx
        for i in range((units + N) * width):
            block[i] = zero
        total = units * width
        for j0 in range(0, F, units):
            for d in range(columns):
                row, to = address(w, (d0 + d) * F + j0), address(block, d)
                for j in range(min(units, F - j0)):
                    to[j * width] = row[j]
            for n in range(N):
                first = start[n, j0 // units]
                count = start[n, j0 // units + 1] - first
                terms, places = address(value, n * F + first), address(offset, n * F + first)
                acc = address(block, total + n * width)
                # dx[n] += dy[n, j] * w[:, j]
                gather_sum(
                    vectors, terms, places, count, address(block, 0), address(slot, 0), acc, address(slot, 0)
                )
        for n in range(N):
            row, to = address(block, total + n * width), address(dx, n * D + d0)
            for d in range(columns):
                to[d] = row[d]


@kernel(parallel=True)
def _weight_gradient(x, value, offset, start, dw, vectors, slot, units, scratch):
    N, D = x.shape
    _, F = dw.shape
    width = slot[1] * vectors
    zero = x.dtype.type(0)
    for part in prange((D + width - 1) // width):
        d0 = part * width
        columns = min(width, D - d0)
        block = scratch[get_thread_id()]  # units rows of dw's transpose, then N rows of x
        for n in range(N):
            row, to = address(x, n * D + d0), address(block, (units + n) * width)
            for d in range(columns):
                to[d] = row[d]
        rows = address(block, units * width)
        for j0 in range(0, F, units):
            count = min(units, F - j0)
            for i in range(count * width):
                block[i] = zero
            for j in range(count):
                terms, places = address(value, (j0 + j) * N), address(offset, (j0 + j) * N)
                acc = address(block, j * width)
                # dw[:, j] += dy[n, j] * x[n]
                gather_sum(
                    vectors, terms, places, start[j0 + j, 1], rows, address(slot, 0), acc, address(slot, 0)
                )
            for d in range(columns):
                column, to = address(block, d), address(dw, (d0 + d) * F + j0)
                for j in range(count):
                    to[j] = column[j * width]


def _lists(kind: str, dy: np.ndarray, step: int, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    N, F = dy.shape
    value = empty(f"values of {kind}", (N, F), dy.dtype)
    offset = empty(f"offsets of {kind}", (N, F), np.int32)
    start = empty(f"starts of {kind}", (N, -(-F // part) + 1), np.int64)
    _list_nonzeros(dy, value, offset, start, step, part)
    return value, offset, start


def sparse_dense_backward(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, input_gradient: bool
) -> tuple[np.ndarray | None, np.ndarray]:
    """dx [N, D] (or None) and dw [D, F] of y = x @ w + b, for a dy [N, F] that is mostly zeros."""
    (N, D), (_, F), dtype = x.shape, w.shape, x.dtype
    vectors = GATHER_VECTORS[0]
    slot = np.arange(vectors) * lanes(dtype)
    width = vectors * lanes(dtype)
    scratch = empty("blocks", (get_num_threads(), (UNITS + N) * width), dtype)

    columns = empty("dy transposed", (F, N), dtype)
    columns[...] = dy.T
    dw = empty("dw", (D, F), dtype)
    _weight_gradient(x, *_lists("units", columns, width, N), dw, vectors, slot, UNITS, scratch)
    if not input_gradient:
        return None, dw
    dx = empty("dx", (N, D), dtype)
    _input_gradient(w, *_lists("images", dy, width, UNITS), dx, vectors, slot, UNITS, scratch)
    return dx, dw
