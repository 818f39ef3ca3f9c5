"""Max-pooling, the fast twin of the reference's, and the 2x2 pool that the fused block ends with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from minicnn.engine.kernels.expect import expect, expect_floats, expect_window
from minicnn.engine.kernels.jit import helper, kernel
from minicnn.engine.kernels.tile import VECTORS, width_of
from minicnn.engine.kernels.vector import Emitter, address, advance
from minicnn.engine.reference import Cache, window_geometry
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous


@kernel(parallel=True)
def _max_pool(x, y, argmax, size, stride, top, left):
    N, H, W, C = x.shape
    _, Ho, Wo, _ = y.shape
    for row in prange(N * Ho):
        n, i = row // Ho, row % Ho
        for j in range(Wo):
            empty_so_far = True
            for u in range(size):
                r = i * stride + u - top
                for v in range(size):
                    s = j * stride + v - left
                    if r < 0 or r >= H or s < 0 or s >= W:
                        continue
                    k = np.uint8(u * size + v)
                    if empty_so_far:
                        empty_so_far = False
                        for c in range(C):
                            y[n, i, j, c] = x[n, r, s, c]
                            argmax[n, i, j, c] = k
                    else:
                        for c in range(C):
                            value, best = x[n, r, s, c], y[n, i, j, c]
                            # Strictly larger: of equal values the first wins. A NaN wins once.
                            if value > best or (value != value and best == best):
                                y[n, i, j, c] = value
                                argmax[n, i, j, c] = k


@kernel(parallel=True)
def _max_pool_backward(dy, argmax, dx, size, stride, top, left):
    N, H, W, C = dx.shape
    _, Ho, Wo, _ = dy.shape
    for n in prange(N):  # windows may overlap, so one thread owns the whole image
        dx[n] = 0
        for i in range(Ho):
            for j in range(Wo):
                for u in range(size):
                    r = i * stride + u - top
                    for v in range(size):
                        s = j * stride + v - left
                        if 0 <= r < H and 0 <= s < W:
                            k = np.uint8(u * size + v)
                            for c in range(C):
                                # y = x[argmax]
                                if argmax[n, i, j, c] == k:
                                    dx[n, r, s, c] += dy[n, i, j, c]


def max_pool2d_forward(
    x: np.ndarray,
    size: int = 2,
    stride: int = 2,
    padding: str = "same",
    *,
    workspace: Workspace = FRESH,
) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.max_pool2d_forward`."""
    expect_floats("x", x, 4)
    expect_window(size=size, stride=stride)
    if size > 15:  # argmax is kept in a byte
        raise ValueError(f"size: expected 1 to 15, got {size}")
    N, H, W, C = x.shape
    Ho, top, _ = window_geometry(H, size, stride, padding)
    Wo, left, _ = window_geometry(W, size, stride, padding)
    y = workspace.empty("y", (N, Ho, Wo, C), x.dtype)
    argmax = workspace.empty("argmax", (N, Ho, Wo, C), np.uint8)
    _max_pool(as_contiguous(x), y, argmax, size, stride, top, left)
    return y, (x.shape, argmax, size, stride, padding)


def max_pool2d_backward(dy: np.ndarray, cache: Cache, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.max_pool2d_backward`."""
    x_shape, argmax, size, stride, padding = cache
    Ho, top, _ = window_geometry(x_shape[1], size, stride, padding)
    Wo, left, _ = window_geometry(x_shape[2], size, stride, padding)
    expect("argmax", argmax, (x_shape[0], Ho, Wo, x_shape[3]), np.uint8)
    expect_floats("dy", dy, 4)
    expect("dy", dy, argmax.shape, dy.dtype)
    dx = workspace.empty("dx", x_shape, dy.dtype)
    _max_pool_backward(as_contiguous(dy), argmax, dx, size, stride, top, left)
    return dx


# --- for the fused block: the pool of a few rows that have just been computed ---------------------


class ConvReLUPoolCache(NamedTuple):
    """What backward needs of `conv_relu_pool_forward`."""

    x_shape: tuple[int, ...]
    padded: np.ndarray  # [N, Hp, Wp, C]: x with its border of zeros, and a vector's worth of memory behind it
    w: np.ndarray  # [kh, kw, C, F]
    y: np.ndarray  # [N, Po, Qo, F]
    argmax: np.ndarray  # [N, Po, Qo, F]: which pixel of a window was the largest, 2 * row + column
    stride: int
    padding: str


@intrinsic
def pool_windows(typing: Any, window: Any, right: Any, under: Any, across: Any, y: Any, argmax: Any) -> Any:
    """The ReLU of the largest of four numbers, a tile's width of them at once, and which one it was.

    y[l] = max(window[l], right[l], under[l], across[l], 0); argmax[l] = 0, 1, 2 or 3, the first of
    equals. A NaN wins. Plain twin: `_pool_edge`.
    """
    signature = types.void(window, right, under, across, y, argmax)

    def codegen(context, builder, signature, args):
        *candidates, y, argmax = args
        emit = Emitter(builder, signature.args[0].dtype)
        byte = ir.VectorType(ir.IntType(8), emit.lanes)

        def all_lanes(kind, value):
            return ir.Constant(kind, [value] * emit.lanes)

        for j in range(VECTORS):
            first, *others = [emit.load(emit.at(pointer, j * emit.lanes)) for pointer in candidates]
            best, place = first, all_lanes(byte, 0)
            for k, value in enumerate(others, start=1):
                larger = builder.fcmp_ordered(">", value, best)
                wins = builder.or_(larger, builder.fcmp_unordered("uno", value, value))
                best = builder.select(wins, value, best)
                place = builder.select(wins, all_lanes(byte, k), place)
            zero = all_lanes(emit.vector, 0.0)
            relu = builder.select(builder.fcmp_ordered("<=", best, zero), zero, best)
            emit.store(relu, emit.at(y, j * emit.lanes))
            to = builder.bitcast(emit.at(argmax, j * emit.lanes), byte.as_pointer())
            builder.store(place, to).align = 1
        return context.get_dummy_value()

    return signature, codegen


@helper
def _pool_edge(window, right, under, across, y, argmax, count):
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
        y[f] = best
        if best <= 0:
            y[f] = 0
        argmax[f] = place


@helper
def pool_block(conv, rows, columns, y, argmax, at, filters):
    """ReLU and max of the 2x2 windows of conv [2 * rows, 2 * columns, width], to y and argmax from `at`.

    `filters` are left there, which may be fewer than the width, or more.
    """
    width, F = width_of(conv), y.shape[3]
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
            if width <= filters:
                pool_windows(window, right, under, across, address(y, to), address(argmax, to))
            else:
                _pool_edge(window, right, under, across, address(y, to), address(argmax, to), filters)
