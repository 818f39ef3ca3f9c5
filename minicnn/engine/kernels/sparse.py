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

from typing import Any

import numpy as np
from numba import get_thread_id, prange

from minicnn.engine.kernels.expect import expect, expect_changeable, expect_floats
from minicnn.engine.kernels.jit import helper, kernel, thread_count
from minicnn.engine.kernels.tile import GATHER_VECTORS, Rows, append, gather_sum, transpose
from minicnn.engine.kernels.updates import adam_step
from minicnn.engine.kernels.vector import address, advance, lanes, lanes_of, line_of, prefetch
from minicnn.engine.workspace import CACHE_LINE, Workspace, as_contiguous, flat

Array = np.ndarray
Lists = tuple[Array, Array, Array]  # values, offsets, and where they begin or how many they are

UNITS = 64  # columns of w that are transposed at once
MOVED = 1024  # columns of w that Adam moves at once
WIDE, NARROW = GATHER_VECTORS[:2]  # vectors in a block of D
SMALL = 4096  # entries of dy that one thread has listed before the others are awake
MOSTLY_ZEROS = 0.5  # share of nonzeros in dy below which skipping the others pays


# --- lists of nonzeros ---------------------------------------------------------------------------


@kernel(parallel=True, serial_up_to=SMALL)
def _list_by_image(dy, values, offsets, start):
    """Returns how many there are. start[n, p] counts the nonzeros of image n before part p."""
    N, F = dy.shape
    zero, step, total = dy.dtype.type(0), WIDE * lanes_of(dy), 0
    for n in prange(N):
        row = address(dy, n * F)
        value, offset = address(values, n * F), address(offsets, n * F)
        found = 0
        for j0 in range(0, F, UNITS):
            start[n, j0 // UNITS] = found
            for j in range(j0, min(F, j0 + UNITS)):
                found = append(value, offset, found, row[j], (j - j0) * step, row[j] != zero)
        start[n, (F + UNITS - 1) // UNITS] = found
        total += found
    return total


@kernel(parallel=True, serial_up_to=SMALL)
def _list_by_unit(dy, values, offsets, count, step):
    """Returns how many there are. count[j] counts the nonzeros of unit j."""
    N, F = dy.shape
    zero, total = dy.dtype.type(0), 0
    for p in prange((F + UNITS - 1) // UNITS):
        j0, j1 = p * UNITS, min(F, (p + 1) * UNITS)
        counts = address(count, 0)
        for j in range(j0, j1):
            counts[j] = 0
        for n in range(N):
            row = address(dy, n * F)
            for j in range(j0, j1):
                value, offset = address(values, j * N), address(offsets, j * N)
                counts[j] = append(value, offset, counts[j], row[j], n * step, row[j] != zero)
        for j in range(j0, j1):
            total += counts[j]
    return total


def _nonzeros_by_image(dy: Array, workspace: Workspace) -> Lists | None:
    """The nonzeros of each image of dy [N, F], or None if they are too many for skipping zeros to pay.

    An offset is the place within a part of `UNITS` units.
    """
    N, F = dy.shape
    lists = (
        workspace.empty("values of images", (N, F), dy.dtype),
        workspace.empty("offsets of images", (N, F), np.int32),
        workspace.empty("starts of images", (N, -(-F // UNITS) + 1), np.int64),
    )
    return None if _list_by_image(dy, *lists) > MOSTLY_ZEROS * dy.size else lists


def _nonzeros_by_unit(dy: Array, vectors: int, workspace: Workspace) -> Lists | None:
    """The nonzeros of each unit of dy [N, F], or None if they are too many for skipping zeros to pay.

    An offset is the place of the image in a block `vectors` wide.
    """
    N, F = dy.shape
    lists = (
        workspace.empty("values of units", (F, N), dy.dtype),
        workspace.empty("offsets of units", (F, N), np.int32),
        workspace.empty("counts of units", (F,), np.int64),
    )
    found = _list_by_unit(dy, *lists, vectors * lanes(dy.dtype))
    return None if found > MOSTLY_ZEROS * dy.size else lists


def _expect_product(dy: Array, x: Array, w: Array) -> None:
    """Raise unless x [N, D], w [D, F] and dy [N, F] belong together."""
    expect_floats("dy", dy, 2)
    expect_floats("x", x, 2)
    expect("x", x, (len(dy), x.shape[1]), dy.dtype)
    expect("w", w, (x.shape[1], dy.shape[1]), dy.dtype)


# --- dx ------------------------------------------------------------------------------------------


@helper
def _fetch(rows, first, last):
    """Start to bring `UNITS` numbers of the rows from `first` to `last` near."""
    line = line_of(rows.at)
    for i in range(first, last):
        for j in range(0, UNITS, line):
            prefetch(advance(rows.at, i * rows.stride + j))


@kernel(parallel=True)
def _input_gradient(w, nonzeros, dx, scratch):
    value, offset, start = nonzeros
    D, F = w.shape
    N, _ = dx.shape
    side = lanes_of(w)
    width, zero = WIDE * side, w.dtype.type(0)
    for part in prange((D + width - 1) // width):
        d0 = part * width
        columns = min(width, D - d0)
        block = scratch[get_thread_id()]  # UNITS rows of w's transpose, then N rows of dx
        for i in range((UNITS + N) * width):
            block[i] = zero
        total = UNITS * width
        for j0 in range(0, F, UNITS):
            here = min(UNITS, F - j0)
            for d in range(0, columns, side):
                corner, to = address(w, (d0 + d) * F + j0), address(block, d)
                transpose(Rows(corner, F), Rows(to, width), min(side, columns - d), here)
            following = address(w, d0 * F + j0 + UNITS if j0 + UNITS < F else (d0 + width) * F)
            for n in range(N):
                first = start[n, j0 // UNITS]
                count = start[n, j0 // UNITS + 1] - first
                terms = address(value, n * F + first), address(offset, n * F + first), count
                _fetch(Rows(following, F), n * width // N, (n + 1) * width // N)
                # dx[n] += dy[n, j] * w[:, j]
                gather_sum(WIDE, terms, address(block, 0), side, address(block, total + n * width), side)
        for n in range(N):
            row, to = address(block, total + n * width), address(dx, n * D + d0)
            for d in range(columns):
                to[d] = row[d]


def sparse_input_gradient(dy: Array, w: Array, dx: Array, workspace: Workspace) -> bool:
    """Fill dx [N, D] = dy [N, F] @ w.T [F, D], or return False if dy has too many nonzeros."""
    _expect_product(dy, dx, w)
    expect_changeable(dx=dx)
    by_image = _nonzeros_by_image(as_contiguous(dy), workspace)
    if by_image is None:
        return False
    size = (UNITS + len(dx)) * WIDE * lanes(w.dtype)
    scratch = workspace.empty("blocks", (thread_count(), size), w.dtype)
    _input_gradient(as_contiguous(w), by_image, dx, scratch)
    return True


# --- dw ------------------------------------------------------------------------------------------


@helper
def _copy_columns(x, d0, columns, to, width):
    N, D = x.shape
    for n in range(N):
        row, into = address(x, n * D + d0), advance(to, n * width)
        for d in range(columns):
            into[d] = row[d]


@helper
def _sum_units(nonzeros, j0, j1, rows, sums, vectors):
    """sums[j - j0] = sum over n of dy[n, j] * x[n], in a block of D, for the units from j0 to j1."""
    value, offset, count = nonzeros
    N, side = value.shape[1], lanes_of(value)
    width = vectors * side
    for i in range((j1 - j0) * width):
        sums[i] = 0
    for j in range(j0, j1):
        terms = address(value, j * N), address(offset, j * N), count[j]
        gather_sum(vectors, terms, rows, side, advance(sums, (j - j0) * width), side)


@kernel(parallel=True)
def _weight_gradient(x, nonzeros, dw, scratch):
    N, D = x.shape
    _, F = dw.shape
    width = WIDE * lanes_of(x)
    for part in prange((D + width - 1) // width):
        d0 = part * width
        columns = min(width, D - d0)
        block = scratch[get_thread_id()]  # N rows of x, then UNITS rows of dw's transpose
        rows, sums = address(block, 0), address(block, N * width)
        _copy_columns(x, d0, columns, rows, width)
        for j0 in range(0, F, UNITS):
            j1 = min(F, j0 + UNITS)
            to = Rows(address(dw, d0 * F + j0), F)
            _fetch(to, 0, columns)
            _sum_units(nonzeros, j0, j1, rows, sums, WIDE)
            transpose(Rows(sums, width), to, j1 - j0, columns)


def sparse_weight_gradient(dy: Array, x: Array, dw: Array, workspace: Workspace) -> bool:
    """Fill dw [D, F] = x.T [D, N] @ dy [N, F], or return False if dy has too many nonzeros."""
    _expect_product(dy, x, dw)
    expect_changeable(dw=dw)
    by_unit = _nonzeros_by_unit(as_contiguous(dy), WIDE, workspace)
    if by_unit is None:
        return False
    size = (len(x) + UNITS) * WIDE * lanes(x.dtype)
    scratch = workspace.empty("blocks", (thread_count(), size), x.dtype)
    _weight_gradient(as_contiguous(x), by_unit, dw, scratch)
    return True


@kernel(parallel=True)
def _adam_along_product(w, x, nonzeros, m, v, numbers, scratch):
    N, D = x.shape
    F = w.size // D
    units, side = min(F, MOVED), lanes_of(x)
    width = NARROW * side
    stride = units + line_of(x)  # rows a power of two apart would share places in the cache
    for part in prange((D + width - 1) // width):
        d0 = part * width
        columns = min(width, D - d0)
        block = scratch[get_thread_id()]  # N rows of x, units rows of dw's transpose, a few rows of dw
        rows, sums = address(block, 0), address(block, N * width)
        grads = (N + units) * width
        _copy_columns(x, d0, columns, rows, width)
        for j0 in range(0, F, units):
            j1 = min(F, j0 + units)
            _sum_units(nonzeros, j0, j1, rows, sums, NARROW)
            for d in range(0, columns, side):
                tall = min(side, columns - d)
                to = Rows(address(block, grads), stride)
                transpose(Rows(advance(sums, d), width), to, j1 - j0, tall)
                for row in range(tall):
                    at = (d0 + d + row) * F + j0
                    grad = address(block, grads + row * stride)
                    value, first, second = address(w, at), address(m, at), address(v, at)
                    for j in range(j1 - j0):  # of one row of dw
                        moved = adam_step(value[j], grad[j], first[j], second[j], numbers)
                        value[j], first[j], second[j] = moved


def adam_along_product(
    w: Array, x: Array, dy: Array, m: Array, v: Array, numbers: tuple[Any, ...], workspace: Workspace
) -> bool:
    """Move w [D, F] along dw = x.T @ dy by Adam's `numbers`, or return False if dy has too many nonzeros."""
    for array in (w, m, v):
        _expect_product(dy, x, array)
    expect_changeable(w=w, m=m, v=v)
    by_unit = _nonzeros_by_unit(as_contiguous(dy), NARROW, workspace)
    if by_unit is None:
        return False
    N, units, side = len(x), min(dy.shape[1], MOVED), lanes(x.dtype)
    size = (N + units) * NARROW * side + side * (units + CACHE_LINE // x.itemsize)
    scratch = workspace.empty("blocks", (thread_count(), size), x.dtype)
    _adam_along_product(flat(w), as_contiguous(x), by_unit, flat(m), flat(v), numbers, scratch)
    return True
