"""The gradients of convolution, ReLU and 2x2 max-pool, from the few places where they are not zero.

The gradient that comes out of a 2x2 max-pool is zero in three places of four, and ReLU makes more
zeros. So backward makes lists of what is left and sums over those alone.

With g = dL/dconv at one pixel and one filter, and the patch of padded x under that pixel,

    conv = sum of patch * w[..., f]      gives      dw[..., f] += g * patch,   dpatch += g * w[..., f]

A patch is cut into pieces as long as a vector register, a whole number of them for each of its kh
rows. The last piece of a row may reach beyond the row's kw * C numbers; what is summed there is
dropped (dw) or zero (dx). `gather_sum` keeps the sums of a few pieces at a time in registers:

    dw    base = the image, its patches' corners are on the list; acc = the sums of one filter
    dx    base = the packed weights, the filters are on the list; acc = the image that gathers dx
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import get_thread_id, prange

from minicnn.engine.kernels.expect import expect, expect_contiguous, expect_floats, expect_sizes
from minicnn.engine.kernels.jit import constant, helper, kernel, thread_count
from minicnn.engine.kernels.one_channel import _one_channel_weight_gradient
from minicnn.engine.kernels.pooling import ConvReLUPoolCache
from minicnn.engine.kernels.shards import starts_of
from minicnn.engine.kernels.tile import GATHER_VECTORS, append, gather_sum
from minicnn.engine.kernels.vector import address, lanes, lanes_of
from minicnn.engine.kernels.winograd import suits_winograd
from minicnn.engine.reference import window_geometry
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

Array = np.ndarray
FILTERS = 8  # filters in one block of work of the weight gradient
# The weights of a group of pieces must stay in the nearest cache: smaller groups for dx than for dw.
DW_GROUPS, DX_GROUPS = GATHER_VECTORS, GATHER_VECTORS[1:]


@helper
def _group(remaining, sizes):
    """The largest group of pieces that gather_sum knows and that fits."""
    for size in sizes:
        if size <= remaining:
            return size
    return 1


# --- dw, db --------------------------------------------------------------------------------------


@kernel(parallel=True)
def _list_by_filter(dy, y, argmax, terms, row_step, column_step):
    """For each image and filter, the gradients that arrive and where in the image their patches begin."""
    values, offsets, count = terms
    N, Po, Qo, F = y.shape
    zero = dy.dtype.type(0)
    for n in prange(N):
        counts = address(count, n * F)
        for f in range(F):
            counts[f] = 0
        for q in range(Po * Qo):
            at = (n * Po * Qo + q) * F
            g, reached, place = address(dy, at), address(y, at), address(argmax, at)
            corner = 2 * (q // Qo) * row_step + 2 * (q % Qo) * column_step
            for f in range(F):
                to = (n * F + f) * Po * Qo
                value, offset = address(values, to), address(offsets, to)
                patch = corner + (place[f] >> 1) * row_step + (place[f] & 1) * column_step
                # y = max(conv, 0): nothing arrives where y is 0
                arrives = (g[f] != zero) & (reached[f] > zero)
                counts[f] = append(value, offset, counts[f], g[f], patch, arrives)


@kernel(parallel=True)
def _weight_gradient(padded, terms, starts, dw, db, pieces, scratch):
    """dw [shards, kh, kw, C, F] and db [shards, F]; shard s is the images from starts[s] to starts[s + 1]."""
    value, offset, count = terms
    in_image, in_sums = pieces
    _, F, length = value.shape
    shards, kh, kw, C, _ = dw.shape
    run, row_length, zero = kw * C, scratch.shape[2] // kh, value.dtype.type(0)
    image_size = padded[0].size
    for job in prange((F + FILTERS - 1) // FILTERS):
        f0, f1 = job * FILTERS, min(F, (job + 1) * FILTERS)
        sums = scratch[get_thread_id()]
        for shard in range(shards):
            sums[:] = zero
            bias = address(db, shard * F)
            for f in range(f0, f1):
                bias[f] = zero
            for n in range(starts[shard], starts[shard + 1]):
                image = address(padded, n * image_size)
                s = 0
                while s < in_sums.size:
                    size = _group(in_sums.size - s, DW_GROUPS)
                    for f in range(f0, f1):
                        # dw[..., f] += g * patch, for all patches on the filter's list
                        at = (n * F + f) * length
                        patches = address(value, at), address(offset, at), count[n, f]
                        total = address(sums, (f - f0) * sums.shape[1])
                        gather_sum(size, patches, image, address(in_image, s), total, address(in_sums, s))
                    s += size
                for f in range(f0, f1):
                    for t in range(count[n, f]):
                        bias[f] += value[n, f, t]
            for u in range(kh):
                for t in range(run):
                    to = address(dw, ((shard * kh + u) * run + t) * F)
                    for f in range(f0, f1):
                        to[f] = sums[f - f0, u * row_length + t]


# --- dx ------------------------------------------------------------------------------------------


@kernel(parallel=True)
def _pack_transposed(w, pieces, packed):
    """w [kh, kw, C, F] -> packed [pieces, F, lanes]: each filter's weights, piece by piece, zeros behind."""
    kh, kw, C, F = w.shape
    count, _, side = packed.shape
    run, row_length, numbers = kw * C, count // kh * side, address(w, 0)
    for s in prange(count):
        u, t0 = pieces[s] // row_length, pieces[s] % row_length
        for f in range(F):
            for t in range(side):
                packed[s, f, t] = numbers[(u * run + t0 + t) * F + f] if t0 + t < run else 0


@kernel(parallel=True)
def _input_gradient(packed, dy, y, argmax, dx, geometry, in_image, scratch):
    top, left, Wp, stride = geometry
    N, H, W, C = dx.shape
    _, Po, Qo, F = y.shape
    values, offsets, all_counts, images = scratch
    side, zero = lanes_of(dy), dy.dtype.type(0)
    for n in prange(N):
        thread = get_thread_id()
        count, dpadded = all_counts[thread], images[thread]
        # For each pixel of the convolution, the gradients that arrive and the filters they come from.
        count[:] = 0
        for q in range(Po * Qo):
            at = (n * Po * Qo + q) * F
            g, reached, place = address(dy, at), address(y, at), address(argmax, at)
            of_window = (thread * Po * Qo + q) * 4 * F
            counts = address(count, 4 * q)
            for f in range(F):
                k = place[f]
                value, offset = address(values, of_window + k * F), address(offsets, of_window + k * F)
                # y = max(conv, 0): nothing arrives where y is 0
                counts[k] = append(
                    value, offset, counts[k], g[f], f * side, (g[f] != zero) & (reached[f] > zero)
                )
        dpadded[:] = zero
        s = 0
        while s < in_image.size:
            size = _group(in_image.size - s, DX_GROUPS)
            for pixel in range(4 * Po * Qo):
                if count[pixel] > 0:
                    q, k = pixel >> 2, pixel & 3
                    i, j = 2 * (q // Qo) + (k >> 1), 2 * (q % Qo) + (k & 1)
                    # dpatch += g * w[..., f], for all filters on the pixel's list
                    at = (thread * 4 * Po * Qo + pixel) * F
                    filters = address(values, at), address(offsets, at), count[pixel]
                    weights, patch = (
                        address(packed, s * F * side),
                        address(dpadded, (i * Wp + j) * stride * C),
                    )
                    gather_sum(size, filters, weights, F * side, patch, address(in_image, s))
            s += size
        for i in range(H):
            for j in range(W):
                for c in range(C):
                    dx[n, i, j, c] = dpadded[((top + i) * Wp + left + j) * C + c]


# --- both ----------------------------------------------------------------------------------------


@constant  # the same in every step
def _pieces(kernel_shape: tuple[int, ...], Wp: int, lane_count: int) -> tuple[Array, Array]:
    """Where the pieces of a patch begin: in a padded image, and in the sums of dw [kh, row of pieces].

    They are in the order of work: a slice of the channels at all kh * kw places, then the next slice.
    So a group of pieces needs only a slice of the image, which stays in the nearest cache.
    """
    kh, kw, C, _ = kernel_shape
    per_row, per_pixel = -(-kw * C // lane_count), max(1, C // lane_count)
    pieces = np.arange(kh * per_row)
    in_sums = pieces[np.argsort(pieces % per_row % per_pixel, kind="stable")] * lane_count
    row, column = np.divmod(in_sums, per_row * lane_count)
    return row * Wp * C + column, in_sums


def _sparse_weight_gradient(
    dy: Array,
    cache: ConvReLUPoolCache,
    sizes: Sequence[int],
    pieces: tuple[Array, Array],
    workspace: Workspace,
) -> tuple[Array, Array]:
    _, padded, w, y, argmax, stride, _ = cache
    (N, Po, Qo, F), (_, _, Wp, C), dtype = y.shape, padded.shape, dy.dtype
    dw = workspace.empty("dw", (len(sizes), *w.shape), dtype)
    db = workspace.empty("db", (len(sizes), F), dtype)
    terms = (
        workspace.empty("values of filters", (N, F, Po * Qo), dtype),
        workspace.empty("offsets of filters", (N, F, Po * Qo), np.int32),
        workspace.empty("counts of filters", (N, F), np.int64),
    )
    _list_by_filter(dy, y, argmax, terms, stride * Wp * C, stride * C)
    size = pieces[0].size * lanes(dtype)
    scratch = workspace.empty("sums", (thread_count(), FILTERS, size), dtype)
    _weight_gradient(padded, terms, starts_of(sizes), dw, db, pieces, scratch)
    return dw, db


def _sparse_input_gradient(
    dy: Array, cache: ConvReLUPoolCache, pieces: tuple[Array, Array], workspace: Workspace
) -> Array:
    x_shape, padded, w, y, argmax, stride, padding = cache
    (_, H, W, C), (kh, kw, _, F), dtype = x_shape, w.shape, dy.dtype
    (_, Hp, Wp, _), (_, Po, Qo, _) = padded.shape, y.shape
    threads, lane_count = thread_count(), lanes(dtype)
    _, top, _ = window_geometry(H, kh, stride, padding)
    _, left, _ = window_geometry(W, kw, stride, padding)
    in_image, in_sums = pieces
    packed = workspace.empty("packed", (in_image.size, F, lane_count), dtype)
    _pack_transposed(as_contiguous(w), in_sums, packed)
    dx = workspace.empty("dx", x_shape, dtype)
    scratch = (
        workspace.empty("values of pixels", (threads, 4 * Po * Qo, F), dtype),
        workspace.empty("offsets of pixels", (threads, 4 * Po * Qo, F), np.int32),
        workspace.empty("counts of pixels", (threads, 4 * Po * Qo), np.int64),
        workspace.empty(
            "images", (threads, Hp * Wp * C + lane_count), dtype
        ),  # a piece may reach over the end
    )
    _input_gradient(packed, dy, y, argmax, dx, (top, left, Wp, stride), in_image, scratch)
    return dx


def _expect_cache(cache: ConvReLUPoolCache) -> None:
    """Raise unless it is what a forward has left."""
    if not isinstance(cache, ConvReLUPoolCache):
        raise TypeError(f"cache: expected that of conv_relu_pool_forward, got {type(cache).__name__}")
    (N, H, W, C), padded, w, y, argmax, stride, padding = cache
    expect_floats("w", w, 4)
    kh, kw, _, F = w.shape
    expect("w", w, (kh, kw, C, F), w.dtype)
    Ho, top, bottom = window_geometry(H, kh, stride, padding)
    Wo, left, right = window_geometry(W, kw, stride, padding)
    expect("y", y, (N, -(-Ho // 2), -(-Wo // 2), F), w.dtype)
    expect("argmax", argmax, y.shape, np.uint8)
    more = suits_winograd(w.shape, stride)  # whole windows of the pool
    Hp, Wp = top + H + bottom + more * (Ho % 2), left + W + right + more * (Wo % 2)
    expect("padded", padded, (N, Hp, Wp, C), w.dtype)
    expect_contiguous(padded=padded, y=y, argmax=argmax)


def conv_relu_pool_backward(
    dy: Array, cache: ConvReLUPoolCache, input_gradient: bool = True, *, workspace: Workspace = FRESH
) -> tuple[Array | None, Array, Array]:
    """See `minicnn.engine.reference.conv_relu_pool_backward`."""
    sizes = (len(dy),)
    dx, dw, db = conv_relu_pool_backward_by_shards(dy, cache, sizes, input_gradient, workspace=workspace)
    return dx, dw[0], db[0]


def conv_relu_pool_backward_by_shards(
    dy: Array,
    cache: ConvReLUPoolCache,
    sizes: Sequence[int],
    input_gradient: bool = True,
    *,
    workspace: Workspace = FRESH,
) -> tuple[Array | None, Array, Array]:
    """See `minicnn.engine.reference.conv_relu_pool_backward_by_shards`."""
    _expect_cache(cache)
    expect("dy", dy, cache.y.shape, cache.y.dtype)
    expect_sizes(sizes, len(dy))
    dy = as_contiguous(dy)
    pieces = _pieces(cache.w.shape, cache.padded.shape[2], lanes(dy.dtype))
    if cache.x_shape[3] == 1:
        dw, db = _one_channel_weight_gradient(dy, cache, sizes, workspace)
    else:
        dw, db = _sparse_weight_gradient(dy, cache, sizes, pieces, workspace)
    if not input_gradient:
        return None, dw, db
    return _sparse_input_gradient(dy, cache, pieces, workspace), dw, db
