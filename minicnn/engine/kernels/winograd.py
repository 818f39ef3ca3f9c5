"""5x5 convolution, ReLU and 2x2 max-pool with 36 multiplications where the definition takes 100.

**The idea**, in one dimension. A filter with 5 taps that slides over 6 numbers gives 2 outputs, by 10
multiplications. Read the filter and the outputs as coefficients of polynomials, and the same is the
(transposed) product of two polynomials, which is known once its values at 6 points are known: evaluate
both, multiply point by point, interpolate. That takes 6 multiplications; evaluating and interpolating
are fixed linear maps, three small matrices,

    y = A^T [(G g) * (B^T d)]         d [6], g [5], y [2]

In two dimensions each matrix is applied to rows and to columns: a 6x6 tile of the image becomes 36
numbers, a 5x5 filter becomes 36 numbers, and 36 products make the 2x2 outputs, which are just the
window of the max-pool. Over channels the products are summed, so the work in the middle is 36 matrix
products, one for each pair of points:

    M[k, tile, f] = sum over c of V[k, tile, c] * U[k, c, f]        V = B^T d B,  U = G g G^T
    y[tile, :, :, f] = A^T M[:, tile, f] A

**What it costs in accuracy.** Large points make large numbers that cancel. With the usual points
0, 1, -1, 2, -2 the errors in float32 are about 5 times those of the plain sum; with the points used
here not quite 3 times, and with fused multiply-adds 1.5 times (`benchmarks/winograd.py`). The sixth
point is infinity: it picks the leading coefficients.

**Ties.** Where the sums of two patches are equal because the patches are (blank paper), rounding must
not decide which of them wins the pool. `_equal_patches` finds them, and the sums are made equal.
(Different patches whose sums happen to be equal may go either way.)

Source: Winograd: Arithmetic Complexity of Computations (1980), chapter IV; Lavin, Gray: Fast Algorithms
for Convolutional Neural Networks (2016), section 4.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import get_thread_id, prange, types
from numba.extending import intrinsic

from minicnn.engine.kernels.jit import helper, kernel, thread_count
from minicnn.engine.kernels.pooling import pool_block
from minicnn.engine.kernels.tile import Factor, Rows, tile, tile_rows, width_of
from minicnn.engine.kernels.vector import INDEX, Emitter, address, copy, lanes, lanes_of
from minicnn.engine.workspace import Workspace

OUTPUTS, TAPS = 2, 5
SIZE = OUTPUTS + TAPS - 1  # of a tile, and the number of points
POINTS = (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2))  # and infinity
TILES = 64  # about how many tiles make a block of work
MIN_CHANNELS = 16  # with fewer, the transforms cost more than they save

Matrix = tuple[tuple[float, ...], ...]


def _product(factors: list[tuple[Fraction, Fraction]]) -> list[Fraction]:
    """The coefficients of a product of linear polynomials (constant, slope), the constant one first."""
    result = [Fraction(1)]
    for constant, slope in factors:
        shifted = [Fraction(0), *(slope * r for r in result)]
        result = [constant * r + s for r, s in zip([*result, Fraction(0)], shifted, strict=True)]
    return result


def transforms(points: tuple[Fraction, ...] = POINTS, outputs: int = OUTPUTS) -> tuple[Matrix, ...]:
    """The matrices A^T [outputs, n], G [n, taps] and B^T [n, n] for n - 1 finite points and infinity.

    With f_j = product over l != j of (p_j - p_l), the row of the finite point p_j is

        A^T[i, j] = p_j^i       G[j, i] = p_j^i / f_j       B^T[j] = product over l != j of (x - p_l)

    Source: Lavin, Gray (2016), appendix; the construction is Cook's and Toom's.
    """
    taps = len(points) + 2 - outputs
    infinity = [Fraction(0)] * (outputs - 1) + [Fraction(1)]
    A = [[*(p**i for p in points), infinity[i]] for i in range(outputs)]
    G, B = [], []
    for j, p in enumerate(points):
        others = [q for i, q in enumerate(points) if i != j]
        f = math.prod(p - q for q in others)
        G.append([p**i / f for i in range(taps)])
        B.append([*_product([(-q, Fraction(1)) for q in others]), Fraction(0)])
    G.append([Fraction(int(i == taps - 1)) for i in range(taps)])
    B.append(_product([(-q, Fraction(1)) for q in points]))
    return tuple(tuple(tuple(float(x) for x in row) for row in matrix) for matrix in (A, G, B))


def plain_sandwich(matrix: Matrix, x: np.ndarray) -> np.ndarray:
    """y = T x T^T over the first two axes of x, what the emitted transforms compute."""
    T = np.array(matrix, x.dtype)
    return np.einsum("ip,pq...,jq->ij...", T, x, T)


def _make_sandwich(matrix: Matrix, add: bool = False) -> Any:
    """An intrinsic for y = T x T^T, a vector of such problems at once, all in registers.

    Entry (p, q) of x is the vector at p * x_row + q * x_column; likewise y. With `add`, the vector at
    `bias` is added to every entry of y.
    """

    def combine(emit: Emitter, row: tuple[float, ...], values: list[Any], total: Any = None) -> Any:
        """total + sum over k of row[k] * values[k]"""
        for factor, value in sorted(zip(row, values, strict=True), key=lambda term: term[0] != 1):
            if factor == 0:
                continue
            if total is None:
                total = value if factor == 1 else emit.builder.fmul(emit.constant(factor), value)
            elif factor == 1:
                total = emit.builder.fadd(total, value)
            else:
                total = emit.builder.call(emit.muladd, [emit.constant(factor), value, total])
        return total

    def emit_sandwich(builder, signature, args):
        x, x_row, x_column, y, y_row, y_column, *bias = args
        emit = Emitter(builder, signature.args[0].dtype)

        def place(pointer, row_stride, column_stride, p, q):
            row = builder.mul(row_stride, ir.Constant(INDEX, p))
            return emit.at(emit.at(pointer, row), builder.mul(column_stride, ir.Constant(INDEX, q)))

        size = len(matrix[0])
        columns = []  # T x, column by column
        for q in range(size):
            column = [emit.load(place(x, x_row, x_column, p, q)) for p in range(size)]
            columns.append([combine(emit, row, column) for row in matrix])
        start = emit.load(bias[0]) if add else None
        for i in range(len(matrix)):
            values = [column[i] for column in columns]
            for j, row in enumerate(matrix):
                emit.store(combine(emit, row, values, start), place(y, y_row, y_column, i, j))

    n = types.intp
    if add:

        @intrinsic
        def sandwich(typing, x, x_row, x_column, y, y_row, y_column, bias):
            """See `plain_sandwich`."""

            def codegen(context, builder, signature, args):
                emit_sandwich(builder, signature, args)
                return context.get_dummy_value()

            return types.void(x, n, n, y, n, n, bias), codegen
    else:

        @intrinsic
        def sandwich(typing, x, x_row, x_column, y, y_row, y_column):
            """See `plain_sandwich`."""

            def codegen(context, builder, signature, args):
                emit_sandwich(builder, signature, args)
                return context.get_dummy_value()

            return types.void(x, n, n, y, n, n), codegen

    return sandwich


A_T, G, B_T = transforms()
_transform_image = _make_sandwich(B_T)
_transform_filter = _make_sandwich(G)
_transform_back = _make_sandwich(A_T, add=True)


@kernel(parallel=False)
def _transform_weights(panels, weights):
    """panels [P, TAPS * TAPS * C, width] -> weights [P, SIZE * SIZE, C, width]"""
    P, K, width = panels.shape
    C = weights.shape[2]
    for p in range(P):
        for c in range(C):
            for lane in range(0, width, lanes_of(panels)):
                g = address(panels, (p * K + c) * width + lane)
                to = address(weights, (p * SIZE * SIZE * C + c) * width + lane)
                _transform_filter(g, TAPS * C * width, C * width, to, SIZE * C * width, C * width)


@helper
def _equal(a, b, count):
    """Whether two runs of numbers are equal."""
    if a[0] != b[0]:
        return False
    unequal = 0
    for i in range(count):  # to the end, so that the compiler may compare whole vectors
        unequal += a[i] != b[i]
    return unequal == 0


@helper
def _equal_patches(padded, image, rows, Qo, same, ties):
    """Which of a window's four patches are equal. ties[t]: 1 top two, 2 bottom two, 4 left two, 8 right two.

    same [height * Wp] is scratch: first 1 where a pixel equals the one to its right, plus 2 where it
    equals the one under it; then what all pixels of a patch have in common.
    """
    _, _, Wp, C = padded.shape
    height = 2 * rows + TAPS - 1
    for i in range(height):
        for j in range(Wp):
            at = image + (i * Wp + j) * C
            pixel = address(padded, at)
            right = j + 1 < Wp and _equal(pixel, address(padded, at + C), C)
            under = i + 1 < height and _equal(pixel, address(padded, at + Wp * C), C)
            same[i * Wp + j] = right + 2 * under
    for step in (1, Wp):  # along the rows, then down the columns
        for k in range(height * Wp - (TAPS - 1) * step):
            for tap in range(1, TAPS):
                same[k] &= same[k + tap * step]
    for t in range(rows * Qo):
        corner = 2 * (t // Qo) * Wp + 2 * (t % Qo)
        top, left = same[corner] & 1, same[corner] & 2
        bottom = same[corner + Wp] & 1
        beside = same[corner + 1] & 2
        ties[t] = top + 2 * bottom + 2 * left + 4 * beside


@helper
def _settle(conv, at, row, tie, beyond_row, beyond_column):
    """Make the sums of equal patches equal, and let what lies beyond the map never win.

    conv [at + ...] holds the 2x2 sums of one window, a tile's width of numbers each; the lower two are `row`
    numbers further on.
    """
    width, low = width_of(conv), -np.inf
    a, b = address(conv, at), address(conv, at + width)
    c, d = address(conv, at + row), address(conv, at + row + width)
    if tie & 1:
        copy(a, b, width)
    if tie & 4:
        copy(a, c, width)
    if tie & 2:
        copy(c, d, width)
    elif tie & 8:
        copy(b, d, width)
    for i in range(width if beyond_column else 0):
        b[i] = d[i] = low
    for i in range(width if beyond_row else 0):
        c[i] = d[i] = low


@kernel(parallel=True)
def _forward(padded, weights, bias, y, argmax, conv_shape, pool_rows, scratch):
    N, Hp, Wp, C = padded.shape
    _, Po, Qo, F = y.shape
    _, points, _, width = weights.shape
    V_all, M_all, conv_all, same_all, ties_all, zeros = scratch
    (Ho, Wo), side = conv_shape, lanes_of(padded)
    _, _, stride, padded_C = V_all.shape
    blocks = (Po + pool_rows - 1) // pool_rows
    for job in prange(N * blocks):
        n, p0 = job // blocks, (job % blocks) * pool_rows
        rows = min(pool_rows, Po - p0)
        thread = get_thread_id()
        V, M, conv, ties = V_all[thread], M_all[thread], conv_all[thread], ties_all[thread]
        image, count = (n * Hp + 2 * p0) * Wp * C, rows * Qo
        V_point, M_point = stride * padded_C, stride * width  # from one point to the next

        for t in range(count):
            corner = image + (2 * (t // Qo) * Wp + 2 * (t % Qo)) * C
            for c in range(0, C, side):
                d, to = address(padded, corner + c), address(V, t * padded_C + c)
                _transform_image(d, Wp * C, C, to, SIZE * V_point, V_point)
        _equal_patches(padded, image, rows, Qo, same_all[thread], ties)

        for f0 in range(0, F, width):
            for k in range(points):
                panel = address(weights, ((f0 // width) * points + k) * C * width)
                t = 0
                while t < count:
                    here = tile_rows(count - t)
                    v = Factor(address(V, k * V_point + t * padded_C), padded_C, 0, None)
                    m = Rows(address(M, k * M_point + t * width), width)
                    tile(here, 1, C, v, panel, Rows(address(zeros, 0), 0), m, None)
                    t += here
            for t in range(count):
                i, j = t // Qo, t % Qo
                at = (2 * i * 2 * Qo + 2 * j) * width  # conv is [2 * rows, 2 * Qo, width]
                for lane in range(0, width, side):
                    m, to = address(M, t * width + lane), address(conv, at + lane)
                    b = address(bias, f0 + lane)
                    _transform_back(m, SIZE * M_point, M_point, to, 2 * Qo * width, width, b)
                beyond = 2 * (p0 + i) + 1 >= Ho, 2 * j + 1 >= Wo
                if ties[t] or beyond[0] or beyond[1]:
                    _settle(conv, at, 2 * Qo * width, ties[t], *beyond)
            pool_block(conv, rows, Qo, y, argmax, (n * Po + p0) * Qo * F + f0, F - f0)


def suits_winograd(w_shape: tuple[int, ...], stride: int) -> bool:
    """Whether a convolution with weights of this shape [kh, kw, C, F] is computed here."""
    kh, kw, C, _ = w_shape
    return kh == kw == TAPS and stride == 1 and C >= MIN_CHANNELS


def _winograd_conv_relu_pool(
    padded: np.ndarray,
    panels: np.ndarray,
    bias: np.ndarray,
    y: np.ndarray,
    argmax: np.ndarray,
    conv_shape: tuple[int, int],
    workspace: Workspace,
) -> None:
    """Fill y and argmax [N, Po, Qo, F] from padded [N, 2 Po + 4, 2 Qo + 4, C] (with slack behind it).

    panels [P, 25 * C, width] and bias [P * width] are packed weights; conv_shape = (Ho, Wo), before
    the pool.
    """
    _, _, Wp, C = padded.shape
    _, Po, Qo, _ = y.shape
    P, _, width = panels.shape
    dtype, lane_count, threads = padded.dtype, lanes(padded.dtype), thread_count()
    weights = workspace.empty("winograd weights", (P, SIZE * SIZE, C, width), dtype)
    _transform_weights(panels, weights)

    pool_rows = min(Po, max(1, TILES // Qo))
    tiles = pool_rows * Qo
    padded_C = -(-C // lane_count) * lane_count
    height = 2 * pool_rows + SIZE - 2
    scratch = (
        # One tile more than there is, so that the points do not lie a power of two apart.
        workspace.empty("winograd image", (threads, SIZE * SIZE, tiles + 1, padded_C), dtype),
        workspace.empty("winograd products", (threads, SIZE * SIZE, tiles + 1, width), dtype),
        workspace.empty("conv", (threads, 4 * tiles * width), dtype),
        workspace.empty("same", (threads, height * Wp), np.uint8),
        workspace.empty("ties", (threads, tiles), np.uint8),
        workspace.empty("zeros", (width,), dtype),
    )
    scratch[-1][:] = 0
    _forward(padded, weights, bias, y, argmax, conv_shape, pool_rows, scratch)
