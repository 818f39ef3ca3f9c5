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

from minicnn.kernels.buffers import CACHE_LINE, empty
from minicnn.kernels.jit import helper, kernel
from minicnn.kernels.tile import GATHER_VECTORS, gather_sum, transpose
from minicnn.kernels.vector import address, advance, lanes, prefetch

UNITS = 64  # columns of w that are transposed at once
MOSTLY_ZEROS = 0.5  # share of nonzeros in dy below which skipping the others pays


@kernel(parallel=True)
def _list_nonzeros(dy, of_image, start, of_unit, count, step, part):
    """The nonzeros of dy, by image and by unit, each a list of values and a list of offsets.

    An image's offset is unit % part * step, and start[n, p] counts its nonzeros before part p of the
    units. A unit's offset is image * step, and count[j] counts its nonzeros.
    """
    N, F = dy.shape
    values, offsets = of_image
    unit_values, unit_offsets = of_unit
    zero = dy.dtype.type(0)
    # In both lists a zero is overwritten by what comes next.
    for n in prange(N):
        row = address(dy, n * F)
        value, offset = address(values, n * F), address(offsets, n * F)
        found = 0
        for j0 in range(0, F, part):
            start[n, j0 // part] = found
            for j in range(j0, min(F, j0 + part)):
                value[found], offset[found] = row[j], (j - j0) * step
                found += row[j] != zero
        start[n, (F + part - 1) // part] = found
    for p in prange((F + part - 1) // part):
        j0, j1 = p * part, min(F, (p + 1) * part)
        counts = address(count, 0)
        for j in range(j0, j1):
            counts[j] = 0
        for n in range(N):
            row = address(dy, n * F)
            value, offset = address(unit_values, 0), address(unit_offsets, 0)
            for j in range(j0, j1):
                at = j * N + counts[j]
                value[at], offset[at] = row[j], n * step
                counts[j] += row[j] != zero


@helper
def _fetch(corner, row_stride, rows, per_row, line, share, shares):
    """Start to bring one of `shares` equal shares of a block of cache lines near, `per_row` lines a row."""
    count = rows * per_row
    for i in range(count * share // shares, count * (share + 1) // shares):
        prefetch(advance(corner, i // per_row * row_stride + i % per_row * line))


@kernel(parallel=True)
def _input_gradient(w, value, offset, start, dx, vectors, slot, units, line, lane_count, scratch):
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
            here = min(units, F - j0)
            for d in range(0, columns, lane_count):
                tall = min(lane_count, columns - d)
                corner = address(w, (d0 + d) * F + j0)
                transpose(corner, F, address(block, d), width, tall, here, lane_count)
            following = d0 * F + j0 + units if j0 + units < F else (d0 + width) * F
            for n in range(N):
                first = start[n, j0 // units]
                count = start[n, j0 // units + 1] - first
                terms, places = address(value, n * F + first), address(offset, n * F + first)
                acc = address(block, total + n * width)
                _fetch(address(w, following), F, width, units // line, line, n, N)
                # dx[n] += dy[n, j] * w[:, j]
                gather_sum(
                    vectors, terms, places, count, address(block, 0), address(slot, 0), acc, address(slot, 0)
                )
        for n in range(N):
            row, to = address(block, total + n * width), address(dx, n * D + d0)
            for d in range(columns):
                to[d] = row[d]


@kernel(parallel=True)
def _weight_gradient(x, value, offset, count, dw, vectors, slot, units, line, lane_count, scratch):
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
            here = min(units, F - j0)
            for d in range(columns):
                for j in range(0, units, line):
                    prefetch(address(dw, (d0 + d) * F + j0 + j))
            for i in range(here * width):
                block[i] = zero
            for j in range(here):
                terms, places = address(value, (j0 + j) * N), address(offset, (j0 + j) * N)
                acc = address(block, j * width)
                # dw[:, j] += dy[n, j] * x[n]
                gather_sum(
                    vectors, terms, places, count[j0 + j], rows, address(slot, 0), acc, address(slot, 0)
                )
            transpose(address(block, 0), width, address(dw, d0 * F + j0), F, here, columns, lane_count)


def sparse_dense_backward(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, input_gradient: bool
) -> tuple[np.ndarray | None, np.ndarray] | None:
    """dx [N, D] (or None) and dw [D, F] of y = x @ w + b, for dy [N, F].

    None if too few entries of dy are zero for this to be worth while.
    """
    (N, D), (_, F), dtype = x.shape, w.shape, x.dtype
    vectors = GATHER_VECTORS[0]
    slot = np.arange(vectors) * lanes(dtype)
    width, line = vectors * lanes(dtype), CACHE_LINE // dtype.itemsize

    of_image = empty("values of images", (N, F), dtype), empty("offsets of images", (N, F), np.int32)
    of_unit = empty("values of units", (F, N), dtype), empty("offsets of units", (F, N), np.int32)
    start = empty("starts of images", (N, -(-F // UNITS) + 1), np.int64)
    count = empty("counts of units", (F,), np.int64)
    count[:] = 0  # where kernels are only noted, this decides which ones
    _list_nonzeros(dy, of_image, start, of_unit, count, width, UNITS)
    if count.sum() > MOSTLY_ZEROS * dy.size:
        return None

    scratch = empty("blocks", (get_num_threads(), (UNITS + N) * width), dtype)
    dw = empty("dw", (D, F), dtype)
    _weight_gradient(x, *of_unit, count, dw, vectors, slot, UNITS, line, lanes(dtype), scratch)
    if not input_gradient:
        return None, dw
    dx = empty("dx", (N, D), dtype)
    _input_gradient(w, *of_image, start, dx, vectors, slot, UNITS, line, lanes(dtype), scratch)
    return dx, dw
