"""Convolution, ReLU and 2x2 max-pool in one pass, without the patch matrix and without the full-size map.

Three ideas, each explained where it is used:

1. Implicit im2col. In a zero-padded channels-last image, row u of the patch under a window is one
   contiguous run of kw * C numbers. So the register tile can read patches where they lie.
2. Pool at once. A few rows of the convolution go into a scratch array that stays in the nearest
   cache, and leave it as a quarter of the numbers and one byte each for the winner's place.
3. Skip the zeros. The gradient that comes out of a 2x2 max-pool is zero in three places of four,
   and ReLU makes more. Backward makes lists of what is left and sums over those alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import get_num_threads, get_thread_id, prange

from minicnn.kernels.buffers import empty, ready
from minicnn.kernels.jit import helper, kernel
from minicnn.kernels.tile import (
    GATHER_VECTORS,
    MAX_ROWS,
    address,
    advance,
    copy_tile_row,
    gather_sum,
    lanes,
    panel_width,
    pool_windows,
    tile,
    tile_rows,
)
from minicnn.reference import Cache, window_geometry

POOL_ROWS = 4  # rows of the pooled map in one block of work
SLICE = 4096  # numbers of packed weights that share the nearest cache with everything else
FILTERS = 8  # filters in one block of work of the weight gradient

# --- forward -------------------------------------------------------------------------------------


@kernel(parallel=True)
def _pad(x, padded, top, left):
    N, H, W, C = x.shape
    Hp = padded.shape[1]
    for row in prange(N * Hp):
        n, i = row // Hp, row % Hp
        if i < top or i >= top + H:
            padded[n, i] = 0
        else:
            padded[n, i, :left] = 0
            padded[n, i, left + W :] = 0
            for j in range(W):
                for c in range(C):
                    padded[n, i, left + j, c] = x[n, i - top, j, c]


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


@helper
def _pool_edge(window, right, under, across, y, winner, count, zero):
    """`pool_windows` for `count` numbers, where a whole tile's width would not fit."""
    for f in range(count):
        best, place = window[f], 0
        # Strictly larger: of equal values the first wins. A NaN, unequal to itself, wins too.
        if right[f] > best or right[f] != right[f]:
            best, place = right[f], 1
        if under[f] > best or under[f] != under[f]:
            best, place = under[f], 2
        if across[f] > best or across[f] != across[f]:
            best, place = across[f], 3
        y[f] = zero if best <= zero else best
        winner[f] = place


@helper
def _pool_block(conv, rows, columns, width, F, f0, y, winner, at):
    """ReLU and max of the 2x2 windows of conv [2 * rows, 2 * columns, width], to y and winner from `at`."""
    below = 2 * columns * width
    for i in range(rows):
        for j in range(columns):
            window = address(conv, (2 * i * 2 * columns + 2 * j) * width)
            right, under, across = (
                advance(window, width),
                advance(window, below),
                advance(window, below + width),
            )
            to = at + (i * columns + j) * F
            if f0 + width <= F:
                pool_windows(window, right, under, across, address(y, to), address(winner, to))
            else:
                _pool_edge(
                    window,
                    right,
                    under,
                    across,
                    address(y, to),
                    address(winner, to),
                    F - f0,
                    conv.dtype.type(0),
                )


@kernel(parallel=True)
def _forward(padded, panels, bias, y, winner, kh, kw, stride, Ho, Wo, most, pool_rows, slice_rows, scratch):
    N, Hp, Wp, C = padded.shape
    _, Po, Qo, F = y.shape
    _, K, width = panels.shape
    run, low = kw * C, padded.dtype.type(-np.inf)
    flat_y, flat_winner = y.reshape(-1), winner.reshape(-1)
    blocks = (Po + pool_rows - 1) // pool_rows
    for job in prange(N * blocks):
        n, p0 = job // blocks, (job % blocks) * pool_rows
        p1 = min(Po, p0 + pool_rows)
        conv = scratch[get_thread_id()]  # [2 * (p1 - p0), 2 * Qo, width]
        if Ho % 2 or Wo % 2:
            conv[:] = low  # what sticks out over the last row or column never wins
        for f0 in range(0, F, width):
            # The weights come in slices of whole patch rows, each used for all pixels of the block.
            for u0 in range(0, kh, slice_rows):
                weights = address(panels, ((f0 // width) * K + u0 * run) * width)
                for i in range(2 * p0, min(Ho, 2 * p1)):
                    j = 0
                    while j < Wo:
                        rows = tile_rows(Wo - j, most)
                        # Row u of the patch of pixel (i, j): a run of kw * C numbers, a row below the last.
                        patch = address(padded, ((n * Hp + i * stride + u0) * Wp + j * stride) * C)
                        out = address(conv, ((i - 2 * p0) * 2 * Qo + j) * width)
                        start, start_stride = (address(bias, f0), 0) if u0 == 0 else (out, width)
                        depth = min(slice_rows, kh - u0)
                        tile(
                            rows,
                            patch,
                            stride * C,
                            1,
                            depth,
                            Wp * C,
                            run,
                            weights,
                            start,
                            start_stride,
                            out,
                            width,
                        )
                        j += rows
            _pool_block(conv, p1 - p0, Qo, width, F, f0, flat_y, flat_winner, ((n * Po + p0) * Qo) * F + f0)


def conv_relu_pool_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int = 1, padding: str = "same"
) -> tuple[np.ndarray, Cache]:
    """See `minicnn.reference.conv_relu_pool_forward`."""
    N, H, W, C = x.shape
    kh, kw, _, F = w.shape
    Ho, top, bottom = window_geometry(H, kh, stride, padding)
    Wo, left, right = window_geometry(W, kw, stride, padding)
    Po, Qo = -(-Ho // 2), -(-Wo // 2)
    width, dtype = panel_width(x.dtype), x.dtype

    padded = _with_slack("padded", (N, top + H + bottom, left + W + right, C), dtype)
    _pad(ready(x), padded, top, left)
    panels = empty("panels", (-(-F // width), kh * kw * C, width), dtype)
    _pack_panels(ready(w).reshape(-1, F), panels)
    bias = empty("padded bias", (len(panels) * width,), dtype)
    bias[:F], bias[F:] = b, 0

    y = empty("y", (N, Po, Qo, F), dtype)
    winner = empty("winner", (N, Po, Qo, F), np.uint8)
    scratch = empty("conv", (get_num_threads(), 4 * POOL_ROWS * Qo * width), dtype)
    slice_rows = max(1, SLICE // (kw * C * width))
    sizes = (kh, kw, stride, Ho, Wo, MAX_ROWS, POOL_ROWS, slice_rows)
    _forward(padded, panels, bias, y, winner, *sizes, scratch)
    return y, (x.shape, padded, w, y, winner, stride, padding)


def _with_slack(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array behind which a vector load may run over the end."""
    size = math.prod(shape)
    return empty(name, (size + lanes(dtype),), dtype)[:size].reshape(shape)


# --- backward ------------------------------------------------------------------------------------
#
# With g = dL/dconv at one pixel and one filter, and the patch of padded x under that pixel,
#
#     conv = sum of patch * w[..., f]      gives      dw[..., f] += g * patch,   dpatch += g * w[..., f]
#
# A patch is cut into "slots" as long as a vector register, a whole number of them for each of its kh
# rows. The last slot of a row may reach beyond the row's kw * C numbers; what is summed there is
# dropped (dw) or zero (dx). `gather_sum` keeps the sums of a few slots at a time in registers.


@helper
def _slot_group(remaining, sizes):
    """The largest group of slots that gather_sum knows and that fits."""
    for size in sizes:
        if size <= remaining:
            return size
    return 1


@kernel(parallel=True)
def _list_by_filter(dy, y, winner, value, offset, count, row_step, column_step):
    """For each image and filter, the gradients that arrive and where in the image their patches begin."""
    N, Po, Qo, F = y.shape
    zero = dy.dtype.type(0)
    for n in prange(N):
        for f in range(F):
            count[n, f] = 0
        for q in range(Po * Qo):
            at = (n * Po * Qo + q) * F
            g, reached, place = address(dy, at), address(y, at), address(winner, at)
            values, offsets = address(value, n * F * Po * Qo), address(offset, n * F * Po * Qo)
            counts = address(count, n * F)
            corner = 2 * (q // Qo) * row_step + 2 * (q % Qo) * column_step
            for f in range(F):
                to = f * Po * Qo + counts[f]
                values[to] = g[f]
                offsets[to] = corner + (place[f] >> 1) * row_step + (place[f] & 1) * column_step
                # y = max(conv, 0): nothing arrives where y is 0. Otherwise the next entry overwrites this.
                counts[f] += (g[f] != zero) & (reached[f] > zero)


@kernel(parallel=True)
def _weight_gradient(padded, value, offset, count, dw, db, kh, slot_in_image, slot, groups, block, sums):
    N, F, length = value.shape
    zero = value.dtype.type(0)
    slots, run = slot.size, dw.shape[0] // kh
    row_length = sums.shape[2] // kh
    image_size = padded[0].size
    for job in prange((F + block - 1) // block):
        f0, f1 = job * block, min(F, (job + 1) * block)
        acc = sums[get_thread_id()]
        acc[:] = zero
        db[f0:f1] = zero
        for n in range(N):
            image = address(padded, n * image_size)
            s = 0
            while s < slots:
                size = _slot_group(slots - s, groups)
                for f in range(f0, f1):
                    # dw[..., f] += g * patch, for all patches on the filter's list
                    at = (n * F + f) * length
                    patch, total = address(slot_in_image, s), address(acc, (f - f0) * acc.shape[1])
                    terms, places = address(value, at), address(offset, at)
                    gather_sum(size, terms, places, count[n, f], image, patch, total, address(slot, s))
                s += size
            for f in range(f0, f1):
                for t in range(count[n, f]):
                    db[f] += value[n, f, t]
        for f in range(f0, f1):
            for u in range(kh):
                for t in range(run):
                    dw[u * run + t, f] = acc[f - f0, u * row_length + t]


@kernel(parallel=False)
def _pack_transposed(w, kh, lane_count, packed):
    """w [kh * run, F] -> packed [slots, F, lanes]: each filter's weights, slot by slot, zeros behind."""
    K, F = w.shape
    run = K // kh
    per_row = packed.shape[0] // kh
    for s in range(packed.shape[0]):
        u, t0 = s // per_row, (s % per_row) * lane_count
        for f in range(F):
            for t in range(lane_count):
                packed[s, f, t] = w[u * run + t0 + t, f] if t0 + t < run else 0


@kernel(parallel=True)
def _input_gradient(
    packed, dy, y, winner, dx, top, left, Wp, stride, slot_in_image, slot_in_packed, groups, scratch
):
    N, H, W, C = dx.shape
    _, Po, Qo, F = y.shape
    all_values, all_offsets, all_counts, all_images = scratch
    zero = dy.dtype.type(0)
    slots, _, lane_count = packed.shape
    for n in prange(N):
        thread = get_thread_id()
        value, offset, count = all_values[thread], all_offsets[thread], all_counts[thread]
        dpadded = all_images[thread]
        # For each pixel of the convolution, the gradients that arrive and the filters they come from.
        count[:] = 0
        for q in range(Po * Qo):
            at = (n * Po * Qo + q) * F
            g, reached, place = address(dy, at), address(y, at), address(winner, at)
            lists, places = address(value, 4 * q * F), address(offset, 4 * q * F)
            counts = address(count, 4 * q)
            for f in range(F):
                to = place[f] * F + counts[place[f]]
                lists[to] = g[f]
                places[to] = f * lane_count
                # y = max(conv, 0): nothing arrives where y is 0
                counts[place[f]] += (g[f] != zero) & (reached[f] > zero)
        dpadded[:] = zero
        s = 0
        while s < slots:
            size = _slot_group(slots - s, groups)
            for pixel in range(4 * Po * Qo):
                if count[pixel] > 0:
                    q, k = pixel >> 2, pixel & 3
                    i, j = 2 * (q // Qo) + (k >> 1), 2 * (q % Qo) + (k & 1)
                    # dpatch += g * w[..., f], for all filters on the pixel's list
                    terms, places = address(value, pixel * F), address(offset, pixel * F)
                    weights = address(packed, s * F * lane_count)
                    patch = address(dpadded, (i * Wp + j) * stride * C)
                    to = address(slot_in_image, s)
                    gather_sum(
                        size, terms, places, count[pixel], weights, address(slot_in_packed, 0), patch, to
                    )
            s += size
        for i in range(H):
            for j in range(W):
                for c in range(C):
                    dx[n, i, j, c] = dpadded[((top + i) * Wp + left + j) * C + c]


def conv_relu_pool_backward(
    dy: np.ndarray, cache: Cache, input_gradient: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `minicnn.reference.conv_relu_pool_backward`."""
    x_shape, padded, w, y, winner, stride, padding = cache
    (N, H, W, C), (kh, kw, _, F), dtype = x_shape, w.shape, w.dtype
    _, Hp, Wp, _ = padded.shape
    _, Po, Qo, _ = y.shape
    dy, threads, lane_count = ready(dy), get_num_threads(), lanes(dtype)

    per_row = -(-kw * C // lane_count)
    slot = np.arange(kh * per_row) * lane_count
    slot_in_image = (slot // (per_row * lane_count)) * Wp * C + slot % (per_row * lane_count)
    groups = np.array(GATHER_VECTORS)

    dw, db = empty("dw", w.shape, dtype), empty("db", (F,), dtype)
    value = empty("values of filters", (N, F, Po * Qo), dtype)
    offset = empty("offsets of filters", (N, F, Po * Qo), np.int32)
    count = empty("counts of filters", (N, F), np.int64)
    _list_by_filter(dy, y, winner, value, offset, count, stride * Wp * C, stride * C)
    sums = empty("sums", (threads, FILTERS, slot.size * lane_count), dtype)
    dw_rows = dw.reshape(kh * kw * C, F)
    _weight_gradient(
        padded, value, offset, count, dw_rows, db, kh, slot_in_image, slot, groups, FILTERS, sums
    )
    if not input_gradient:
        return None, dw, db

    _, top, _ = window_geometry(H, kh, stride, padding)
    _, left, _ = window_geometry(W, kw, stride, padding)
    packed = empty("packed", (slot.size, F, lane_count), dtype)
    _pack_transposed(ready(w).reshape(-1, F), kh, lane_count, packed)
    dx = empty("dx", x_shape, dtype)
    scratch = (
        empty("values of pixels", (threads, 4 * Po * Qo, F), dtype),
        empty("offsets of pixels", (threads, 4 * Po * Qo, F), np.int32),
        empty("counts of pixels", (threads, 4 * Po * Qo), np.int64),
        empty("images", (threads, Hp * Wp * C + lane_count), dtype),  # a slot may reach over the end
    )
    slot_in_packed = np.arange(GATHER_VECTORS[0]) * F * lane_count
    sizes = (top, left, Wp, stride)
    _input_gradient(packed, dy, y, winner, dx, *sizes, slot_in_image, slot_in_packed, groups, scratch)
    return dx, dw, db
