"""Dense-layer gradients that skip zeros.

After ReLU and dropout about three quarters of dy are zero. With y = x @ w + b,

    dx[n]    = sum over j of dy[n, j] * w[:, j]        dw[:, j] = sum over n of dy[n, j] * x[n]

so each nonzero dy[n, j] costs one scaled row, and a zero costs nothing. The sums run over lists of
(value, place), made once: by image for dx, by unit for dw. Rows are cut into blocks of D as wide as
`gather_sum` keeps in registers. The columns of w and dw are rows of the sums, hence the transposes,
which go through small blocks that stay in the nearest cache.

A weight that Adam moves next needs no dw in memory: `adam_along_product` sums a block of it and moves
that block of the weight at once.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, get_thread_id, prange

from minicnn.engine.kernels.jit import helper, kernel
from minicnn.engine.kernels.tile import GATHER_VECTORS, gather_sum, transpose
from minicnn.engine.kernels.updates import adam_run
from minicnn.engine.kernels.vector import address, advance, lanes, prefetch
from minicnn.engine.workspace import CACHE_LINE, Workspace

Array = np.ndarray
Lists = tuple[Array, Array, Array]  # values, offsets, and where they begin or how many they are

UNITS = 64  # columns of w that are transposed at once
MOVED = 1024  # columns of w that Adam moves at once
WIDE, NARROW = GATHER_VECTORS[:2]  # vectors in a block of D
SMALL = 4096  # entries of dy that one thread has listed before the others are awake
MOSTLY_ZEROS = 0.5  # share of nonzeros in dy below which skipping the others pays


# --- lists of nonzeros ---------------------------------------------------------------------------


@kernel(parallel=True)
def _list_by_image(dy, values, offsets, start, step, part):
    N, F = dy.shape
    zero = dy.dtype.type(0)
    for n in prange(N):
        row = address(dy, n * F)
        value, offset = address(values, n * F), address(offsets, n * F)
        found = 0
        for j0 in range(0, F, part):
            start[n, j0 // part] = found
            for j in range(j0, min(F, j0 + part)):
                value[found], offset[found] = row[j], (j - j0) * step  # a zero is overwritten by the next
                found += row[j] != zero
        start[n, (F + part - 1) // part] = found


@kernel(parallel=True)
def _list_by_unit(dy, values, offsets, count, step, part):
    N, F = dy.shape
    zero = dy.dtype.type(0)
    for p in prange((F + part - 1) // part):
        j0, j1 = p * part, min(F, (p + 1) * part)
        value, offset, counts = address(values, 0), address(offsets, 0), address(count, 0)
        for j in range(j0, j1):
            counts[j] = 0
        for n in range(N):
            row = address(dy, n * F)
            for j in range(j0, j1):
                at = j * N + counts[j]
                value[at], offset[at] = row[j], n * step  # a zero is overwritten by the next
                counts[j] += row[j] != zero


def nonzeros_by_image(dy: Array, workspace: Workspace) -> Lists | None:
    """The nonzeros of each image of dy [N, F], or None if they are too many for skipping zeros to pay.

    An offset is the place within a part of `UNITS` units, and start[n, p] counts the nonzeros of image
    n before part p.
    """
    N, F = dy.shape
    values = workspace.empty("values of images", (N, F), dy.dtype)
    offsets = workspace.empty("offsets of images", (N, F), np.int32)
    start = workspace.empty("starts of images", (N, -(-F // UNITS) + 1), np.int64)
    start[:, -1] = 0  # where kernels are only noted, this decides which ones
    run = _list_by_image.serial if dy.size <= SMALL else _list_by_image
    run(dy, values, offsets, start, WIDE * lanes(dy.dtype), UNITS)
    return None if start[:, -1].sum() > MOSTLY_ZEROS * dy.size else (values, offsets, start)


def nonzeros_by_unit(dy: Array, vectors: int, workspace: Workspace) -> Lists | None:
    """The nonzeros of each unit of dy [N, F], or None if they are too many for skipping zeros to pay.

    An offset is the place of the image in a block `vectors` wide; count[j] counts unit j's nonzeros.
    """
    N, F = dy.shape
    values = workspace.empty("values of units", (F, N), dy.dtype)
    offsets = workspace.empty("offsets of units", (F, N), np.int32)
    count = workspace.empty("counts of units", (F,), np.int64)
    count[:] = 0  # where kernels are only noted, this decides which ones
    run = _list_by_unit.serial if dy.size <= SMALL else _list_by_unit
    run(dy, values, offsets, count, vectors * lanes(dy.dtype), UNITS)
    return None if count.sum() > MOSTLY_ZEROS * dy.size else (values, offsets, count)


# --- dx ------------------------------------------------------------------------------------------


@helper
def _fetch(corner, row_stride, first, last, length, line):
    """Start to bring `length` numbers of the rows from `first` to `last` near."""
    for i in range(first, last):
        for j in range(0, length, line):
            prefetch(advance(corner, i * row_stride + j))


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
                _fetch(address(w, following), F, n * width // N, (n + 1) * width // N, units, line)
                # dx[n] += dy[n, j] * w[:, j]
                gather_sum(
                    vectors, terms, places, count, address(block, 0), address(slot, 0), acc, address(slot, 0)
                )
        for n in range(N):
            row, to = address(block, total + n * width), address(dx, n * D + d0)
            for d in range(columns):
                to[d] = row[d]


def sparse_input_gradient(by_image: Lists, w: Array, dx: Array, workspace: Workspace) -> None:
    """Fill dx [N, D] of y = x @ w + b, for the nonzeros of dy [N, F]."""
    N, dtype = len(dx), w.dtype
    slot, width = _slots(WIDE, dtype)
    scratch = workspace.empty("blocks", (get_num_threads(), (UNITS + N) * width), dtype)
    line = CACHE_LINE // dtype.itemsize
    _input_gradient(w, *by_image, dx, WIDE, slot, UNITS, line, lanes(dtype), scratch)


# --- dw ------------------------------------------------------------------------------------------


@helper
def _copy_columns(x, d0, columns, to, width):
    N, D = x.shape
    for n in range(N):
        row, into = address(x, n * D + d0), advance(to, n * width)
        for d in range(columns):
            into[d] = row[d]


@helper
def _sum_units(value, offset, count, rows, sums, vectors, slot, j0, j1, N, width):
    """sums[j - j0] = sum over n of dy[n, j] * x[n], in a block of D, for the units from j0 to j1."""
    for i in range((j1 - j0) * width):
        sums[i] = 0
    for j in range(j0, j1):
        terms, places = address(value, j * N), address(offset, j * N)
        acc = advance(sums, (j - j0) * width)
        gather_sum(vectors, terms, places, count[j], rows, address(slot, 0), acc, address(slot, 0))


@kernel(parallel=True)
def _weight_gradient(x, value, offset, count, dw, vectors, slot, units, line, lane_count, scratch):
    N, D = x.shape
    _, F = dw.shape
    width = slot[1] * vectors
    for part in prange((D + width - 1) // width):
        d0 = part * width
        columns = min(width, D - d0)
        block = scratch[get_thread_id()]  # N rows of x, then units rows of dw's transpose
        rows, sums = address(block, 0), address(block, N * width)
        _copy_columns(x, d0, columns, rows, width)
        for j0 in range(0, F, units):
            j1 = min(F, j0 + units)
            to = address(dw, d0 * F + j0)
            _fetch(to, F, 0, columns, units, line)
            _sum_units(value, offset, count, rows, sums, vectors, slot, j0, j1, N, width)
            transpose(sums, width, to, F, j1 - j0, columns, lane_count)


def sparse_weight_gradient(by_unit: Lists, x: Array, dw: Array, workspace: Workspace) -> None:
    """Fill dw [D, F] of y = x @ w + b, for the nonzeros of dy [N, F]."""
    N, dtype = len(x), x.dtype
    slot, width = _slots(WIDE, dtype)
    scratch = workspace.empty("blocks", (get_num_threads(), (N + UNITS) * width), dtype)
    line = CACHE_LINE // dtype.itemsize
    _weight_gradient(x, *by_unit, dw, WIDE, slot, UNITS, line, lanes(dtype), scratch)


@kernel(parallel=True)
def _adam_along_product(
    w, x, value, offset, count, m, v, numbers, vectors, slot, units, line, lane_count, scratch
):
    N, D = x.shape
    F = w.size // D
    width = slot[1] * vectors
    stride = units + line  # rows a power of two apart would get in each other's way in the cache
    for part in prange((D + width - 1) // width):
        d0 = part * width
        columns = min(width, D - d0)
        block = scratch[get_thread_id()]  # N rows of x, units rows of dw's transpose, a few rows of dw
        rows, sums = address(block, 0), address(block, N * width)
        grads = (N + units) * width
        _copy_columns(x, d0, columns, rows, width)
        for j0 in range(0, F, units):
            j1 = min(F, j0 + units)
            _sum_units(value, offset, count, rows, sums, vectors, slot, j0, j1, N, width)
            for d in range(0, columns, lane_count):
                tall = min(lane_count, columns - d)
                to = address(block, grads)
                transpose(advance(sums, d), width, to, stride, j1 - j0, tall, lane_count)
                for row in range(tall):
                    here = slice((d0 + d + row) * F + j0, (d0 + d + row) * F + j1)
                    grad = block[grads + row * stride : grads + row * stride + j1 - j0]
                    adam_run(w[here], grad, m[here], v[here], numbers)


def adam_along_product(
    by_unit: Lists, w: Array, x: Array, m: Array, v: Array, numbers: tuple, workspace: Workspace
) -> None:
    """Move w [D * F] along dw = x.T @ dy, for the nonzeros of dy [N, F], listed for `NARROW` blocks."""
    N, F, dtype = len(x), len(by_unit[0]), x.dtype
    slot, width = _slots(NARROW, dtype)
    units, line = min(F, MOVED), CACHE_LINE // dtype.itemsize
    size = (N + units) * width + lanes(dtype) * (units + line)
    scratch = workspace.empty("blocks", (get_num_threads(), size), dtype)
    _adam_along_product(w, x, *by_unit, m, v, numbers, NARROW, slot, units, line, lanes(dtype), scratch)


def _slots(vectors: int, dtype: np.dtype) -> tuple[Array, int]:
    """Where the vectors of a row of a block begin, and the length of the row."""
    return np.arange(vectors) * lanes(dtype), vectors * lanes(dtype)
