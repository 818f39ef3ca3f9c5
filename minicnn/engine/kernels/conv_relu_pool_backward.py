"""The gradients of convolution, ReLU and 2x2 max-pool, from the few places where they are not zero.

The gradient that comes out of a 2x2 max-pool is zero in three places of four, and ReLU makes more
zeros. So backward makes lists of what is left and sums over those alone.

With g = dL/dconv at one pixel and one filter, and the patch of padded x under that pixel,

    conv = sum of patch * w[..., f]      gives      dw[..., f] += g * patch,   dpatch += g * w[..., f]

A patch is cut into "slots" as long as a vector register, a whole number of them for each of its kh
rows. The last slot of a row may reach beyond the row's kw * C numbers; what is summed there is
dropped (dw) or zero (dx). `gather_sum` keeps the sums of a few slots at a time in registers.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import get_num_threads, get_thread_id, prange

from minicnn.engine.kernels.jit import helper, kernel
from minicnn.engine.kernels.one_channel import one_channel_weight_gradient
from minicnn.engine.kernels.tile import GATHER_VECTORS, gather_sum
from minicnn.engine.kernels.vector import address, lanes
from minicnn.engine.reference import Cache, window_geometry
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

Array = np.ndarray
FILTERS = 8  # filters in one block of work of the weight gradient


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


@kernel(parallel=True)
def _pack_transposed(w, kh, lane_count, slot, packed):
    """w [kh * run, F] -> packed [slots, F, lanes]: each filter's weights, slot by slot, zeros behind."""
    K, F = w.shape
    run = K // kh
    per_row = packed.shape[0] // kh
    for s in prange(packed.shape[0]):
        u, t0 = slot[s] // (per_row * lane_count), slot[s] % (per_row * lane_count)
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


def _slot_order(kh: int, per_row: int, per_pixel: int) -> np.ndarray:
    """Slots in the order of work: a slice of the channels at all kh * kw places, then the next slice.

    So a group of slots needs only a slice of the image, which stays in the nearest cache.
    """
    slots = np.arange(kh * per_row)
    return slots[np.argsort(slots % per_row % per_pixel, kind="stable")]


class _Slots:
    """Where the slots of a patch lie: in the sums of dw (`slot`), and in a padded image (`in_image`)."""

    def __init__(self, kernel_shape: tuple[int, ...], Wp: int, lane_count: int) -> None:
        kh, kw, C, _ = kernel_shape
        per_row = -(-kw * C // lane_count)
        self.slot = _slot_order(kh, per_row, max(1, C // lane_count)) * lane_count
        row, column = np.divmod(self.slot, per_row * lane_count)
        self.in_image = row * Wp * C + column


_slots = functools.cache(_Slots)  # the same in every step


def _sparse_weight_gradient(
    padded: Array,
    dy: Array,
    y: Array,
    winner: Array,
    kernel_shape: tuple[int, ...],
    stride: int,
    slots: _Slots,
    workspace: Workspace,
) -> tuple[Array, Array]:
    (N, Po, Qo, F), (kh, kw, C, _), dtype = y.shape, kernel_shape, dy.dtype
    Wp = padded.shape[2]
    dw, db = workspace.empty("dw", kernel_shape, dtype), workspace.empty("db", (F,), dtype)
    value = workspace.empty("values of filters", (N, F, Po * Qo), dtype)
    offset = workspace.empty("offsets of filters", (N, F, Po * Qo), np.int32)
    count = workspace.empty("counts of filters", (N, F), np.int64)
    _list_by_filter(dy, y, winner, value, offset, count, stride * Wp * C, stride * C)
    sums = workspace.empty("sums", (get_num_threads(), FILTERS, slots.slot.size * lanes(dtype)), dtype)
    lists, places = (value, offset, count), (slots.in_image, slots.slot)
    groups = np.array(GATHER_VECTORS)
    _weight_gradient(padded, *lists, dw.reshape(kh * kw * C, F), db, kh, *places, groups, FILTERS, sums)
    return dw, db


def _sparse_input_gradient(
    x_shape: tuple[int, ...],
    padded_shape: tuple[int, ...],
    dy: Array,
    y: Array,
    winner: Array,
    w: Array,
    stride: int,
    padding: str,
    slots: _Slots,
    workspace: Workspace,
) -> Array:
    (_, H, W, C), (kh, kw, _, F), dtype = x_shape, w.shape, dy.dtype
    _, Hp, Wp, _ = padded_shape
    _, Po, Qo, _ = y.shape
    threads, lane_count = get_num_threads(), lanes(dtype)
    _, top, _ = window_geometry(H, kh, stride, padding)
    _, left, _ = window_geometry(W, kw, stride, padding)
    packed = workspace.empty("packed", (slots.slot.size, F, lane_count), dtype)
    _pack_transposed(as_contiguous(w).reshape(-1, F), kh, lane_count, slots.slot, packed)
    dx = workspace.empty("dx", x_shape, dtype)
    scratch = (
        workspace.empty("values of pixels", (threads, 4 * Po * Qo, F), dtype),
        workspace.empty("offsets of pixels", (threads, 4 * Po * Qo, F), np.int32),
        workspace.empty("counts of pixels", (threads, 4 * Po * Qo), np.int64),
        workspace.empty(
            "images", (threads, Hp * Wp * C + lane_count), dtype
        ),  # a slot may reach over the end
    )
    # The weights of a group of slots must stay in the nearest cache: smaller groups than for dw.
    groups = np.array(GATHER_VECTORS[1:])
    in_packed = np.arange(groups[0]) * F * lane_count
    sizes = (top, left, Wp, stride)
    _input_gradient(packed, dy, y, winner, dx, *sizes, slots.in_image, in_packed, groups, scratch)
    return dx


def conv_relu_pool_backward(
    dy: Array, cache: Cache, input_gradient: bool = True, *, workspace: Workspace = FRESH
) -> tuple[Array | None, Array, Array]:
    """See `minicnn.engine.reference.conv_relu_pool_backward`."""
    x_shape, padded, w, y, winner, stride, padding = cache
    dy = as_contiguous(dy)
    slots = _slots(w.shape, padded.shape[2], lanes(dy.dtype))
    if x_shape[3] == 1:
        Ho, _, _ = window_geometry(x_shape[1], w.shape[0], stride, padding)
        Wo, _, _ = window_geometry(x_shape[2], w.shape[1], stride, padding)
        dw, db = one_channel_weight_gradient(padded, dy, y, winner, w.shape, stride, Ho, Wo, workspace)
    else:
        dw, db = _sparse_weight_gradient(padded, dy, y, winner, w.shape, stride, slots, workspace)
    if not input_gradient:
        return None, dw, db
    dx = _sparse_input_gradient(x_shape, padded.shape, dy, y, winner, w, stride, padding, slots, workspace)
    return dx, dw, db
