"""The register tile: the innermost loop of every product in this package, and why it is fast.

**The problem.** A matrix product C = A @ B does 2 M N K operations on only M K + K N + M N numbers.
A processor core can start two fused multiply-adds (FMA) per cycle, each on a whole vector register
(8 floats with AVX2, 16 with AVX-512), but it can also load only about two vectors per cycle from
its nearest cache. The plain loop `c += a[k] * b[k]` needs two loads for each FMA, so it runs at half
speed at best, and at a far lower one when every FMA must wait 4 cycles for the one before.

**The idea.** Keep a small block of C in registers, say 6 rows x 2 vectors. One step in k then loads
2 vectors of B and 6 single numbers of A (each copied to all lanes, a "broadcast"), and does all
6 x 2 = 12 products of the two: 8 loads for 12 FMAs. The arithmetic units are the bottleneck at last,
which is the best that can happen. And the 12 sums do not depend on each other, so an FMA never waits.

              b: 2 vectors
            [========][========]
    a[0] x  [ acc 0,0][ acc 0,1]
    a[1] x  [ acc 1,0][ acc 1,1]        for each k:  acc[r, j] += a[r, k] * b[k, j]
     ...
    a[5] x  [ acc 5,0][ acc 5,1]

**Why these sizes.** AVX2 and SSE have 16 vector registers: 12 sums, 2 vectors of B, 1 broadcast make
15. AVX-512 has 32: 14 x 2 sums, and 3 to spare. One row more, and the compiler must park sums in
memory ("spill"), which makes the tile several times slower: benchmarks/tile.py reads the assembly
and counts. Fewer rows, for the edges of a matrix, are fine down to 4: that still leaves 8 sums, as
many as 2 units x 4 cycles can have under way.

**What limits it.** B must come from the nearest cache, so the callers pack it into panels, and reuse
a panel for many rows of A. The second tile here, `gather_sum`, loads one vector for every FMA; it
cannot reach the peak, but it is for sums that skip three quarters of their terms.

Numba cannot say "keep these twelve vectors in registers", so the loops are emitted as LLVM vector
code, through Numba's `intrinsic`. The plain-loop twins, `plain_tile` and `plain_gather_sum`, state
what the emitted code computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minicnn.engine.kernels.jit import helper
from minicnn.engine.kernels.vector import INDEX, VECTOR_BITS, Emitter, advance, lanes, transpose_square

Array = np.ndarray
VECTORS = 2  # vectors of B in a tile
MAX_ROWS = 14 if VECTOR_BITS == 512 else 6
GATHER_VECTORS = (10, 5, 2, 1)  # group sizes of gather_sum; ten sums keep two FMA units busy


def panel_width(dtype: np.dtype | type) -> int:
    """How many columns of B, and of C, a tile covers."""
    return VECTORS * lanes(dtype)


# --- what the emitted code computes, in plain loops ----------------------------------------------


def plain_tile(
    rows: int,
    a: Array,
    row_stride: int,
    k_stride: int,
    outer: int,
    outer_stride: int,
    inner: int,
    b: Array,
    start: Array,
    start_stride: int,
    c: Array,
    c_stride: int,
    ahead: Array,
    ahead_stride: int,
) -> None:
    """c[r, :] = start[r, :] + sum over o, k of a[r, o, k] * b[o * inner + k, :], for `rows` rows.

    All arguments but the sizes are flat arrays that begin at the tile's first entry:
    a[r, o, k] is a[r * row_stride + o * outer_stride + k * k_stride], b is a packed panel of
    [outer * inner, width], and row r of start and c begins at r * start_stride and r * c_stride.

    Meanwhile the cache lines of ahead[t * ahead_stride] are brought near, one for each step in k: the
    arithmetic leaves the memory idle. A stride of 0 asks for nothing new. It changes no result.
    """
    width = panel_width(b.dtype)
    for r in range(rows):
        total = start[r * start_stride : r * start_stride + width].copy()
        for o in range(outer):
            for k in range(inner):
                t = (o * inner + k) * width
                total += a[r * row_stride + o * outer_stride + k * k_stride] * b[t : t + width]
        c[r * c_stride : r * c_stride + width] = total


def plain_gather_sum(
    vectors: int,
    value: Array,
    offset: Array,
    count: int,
    base: Array,
    base_at: Array,
    acc: Array,
    acc_at: Array,
) -> None:
    """acc[acc_at[j] :] += sum over t < count of value[t] * base[offset[t] + base_at[j] :].

    For each j < vectors, one vector register wide. Offsets are int32, places int64.
    """
    width = lanes(base.dtype)
    for j in range(vectors):
        for t in range(count):
            start = offset[t] + base_at[j]
            acc[acc_at[j] : acc_at[j] + width] += value[t] * base[start : start + width]


# --- the emitted code ----------------------------------------------------------------------------


def _make_tile(rows: int) -> Any:
    @intrinsic
    def tile(
        typing,
        a,
        row_stride,
        k_stride,
        outer,
        outer_stride,
        inner,
        b,
        start,
        start_stride,
        c,
        c_stride,
        ahead,
        ahead_stride,
    ):
        """See `plain_tile`."""
        n = types.intp
        signature = types.void(a, n, n, n, n, n, b, start, n, c, n, ahead, n)

        def codegen(context, builder, signature, args):
            (
                a,
                row_stride,
                k_stride,
                outer,
                outer_stride,
                inner,
                b,
                start,
                start_stride,
                c,
                c_stride,
                *ahead,
            ) = args
            ahead, ahead_stride = ahead
            emit = Emitter(builder, signature.args[0].dtype)
            width = VECTORS * emit.lanes
            row_at = [builder.mul(row_stride, ir.Constant(INDEX, r)) for r in range(rows)]

            def each(f):
                return [f(r, j) for r in range(rows) for j in range(VECTORS)]

            def address(pointer, stride, r, j):
                return emit.at(emit.at(pointer, builder.mul(stride, ir.Constant(INDEX, r))), j * emit.lanes)

            def one_k(_, values):
                a_k, b_k, ahead_k, *sums = values
                emit.prefetch(ahead_k)
                b_vectors = [emit.load(emit.at(b_k, j * emit.lanes)) for j in range(VECTORS)]
                for r in range(rows):
                    a_vector = emit.broadcast(emit.at(a_k, row_at[r]))
                    for j in range(VECTORS):
                        s = r * VECTORS + j
                        sums[s] = builder.call(emit.muladd, [a_vector, b_vectors[j], sums[s]])
                return [emit.at(a_k, k_stride), emit.at(b_k, width), emit.at(ahead_k, ahead_stride), *sums]

            def one_outer(o, values):
                a_o = emit.at(a, builder.mul(o, outer_stride))
                return emit.loop(inner, [a_o, *values], one_k)[1:]

            sums = each(lambda r, j: emit.load(address(start, start_stride, r, j)))
            sums = emit.loop(outer, [b, ahead, *sums], one_outer)[2:]
            each(lambda r, j: emit.store(sums[r * VECTORS + j], address(c, c_stride, r, j)))
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _make_gather_sum(vectors: int) -> Any:
    @intrinsic
    def gather_sum(typing, value, offset, count, base, base_at, acc, acc_at):
        """See `plain_gather_sum`."""
        signature = types.void(value, offset, types.intp, base, base_at, acc, acc_at)

        def codegen(context, builder, signature, args):
            value, offset, count, base, base_at, acc, acc_at = args
            emit = Emitter(builder, signature.args[0].dtype)
            bases = [emit.at(base, builder.load(emit.at(base_at, j))) for j in range(vectors)]
            accs = [emit.at(acc, builder.load(emit.at(acc_at, j))) for j in range(vectors)]

            def one_term(t, sums):
                factor = emit.broadcast(emit.at(value, t))
                at = builder.sext(builder.load(emit.at(offset, t)), INDEX)
                return [
                    builder.call(emit.muladd, [factor, emit.load(emit.at(pointer, at)), total])
                    for pointer, total in zip(bases, sums, strict=True)
                ]

            sums = emit.loop(count, [emit.load(pointer) for pointer in accs], one_term)
            for pointer, total in zip(accs, sums, strict=True):
                emit.store(total, pointer)
            return context.get_dummy_value()

        return signature, codegen

    return gather_sum


@intrinsic
def copy_tile_row(typing, source, to):
    """Copy a tile's width of numbers: to[l] = source[l]."""

    def codegen(context, builder, signature, args):
        emit = Emitter(builder, signature.args[0].dtype)
        for j in range(VECTORS):
            at = j * emit.lanes
            emit.store(emit.load(emit.at(args[0], at)), emit.at(args[1], at))
        return context.get_dummy_value()

    return types.void(source, to), codegen


# --- the emitted code, for any number of rows ----------------------------------------------------


def _choose(name: str, arguments: str, makers: dict[int, Any]) -> Any:
    """A compiled function that calls the tile of the size that its first argument names.

    How many registers a tile uses is part of its code, so each size is a tile of its own. The
    function is written as text because Numba cannot index a tuple of intrinsics.
    """
    lines = [f"def {name}(size, {arguments}):"]
    for size in makers:
        lines += [f"    if size == {size}:", f"        _{name}_{size}({arguments})"]
    scope = {f"_{name}_{size}": made for size, made in makers.items()}
    exec("\n".join(lines), scope)  # text from this file alone
    return helper(scope[name])


tile = _choose(
    "tile",
    "a, row_stride, k_stride, outer, outer_stride, inner, b, start, start_stride, c, c_stride, "
    "ahead, ahead_stride",
    {rows: _make_tile(rows) for rows in range(1, MAX_ROWS + 1)},
)
gather_sum = _choose(
    "gather_sum",
    "value, offset, count, base, base_at, acc, acc_at",
    {vectors: _make_gather_sum(vectors) for vectors in GATHER_VECTORS},
)


@helper
def tile_rows(remaining, most):
    """How many rows the next tile takes, so that the tiles of a block are all about the same size."""
    tiles = (remaining + most - 1) // most
    return (remaining + tiles - 1) // tiles


@helper
def transpose(source, source_stride, to, to_stride, rows, columns, lane_count):
    """to[j, i] = source[i, j] for `rows` rows and `columns` columns, squares of a vector's size first."""
    square_rows, square_columns = rows // lane_count * lane_count, columns // lane_count * lane_count
    for i in range(0, square_rows, lane_count):
        for j in range(0, square_columns, lane_count):
            square = advance(source, i * source_stride + j)
            transpose_square(square, source_stride, advance(to, j * to_stride + i), to_stride)
    for i in range(rows):
        for j in range(square_columns if i < square_rows else 0, columns):
            to[j * to_stride + i] = source[i * source_stride + j]
