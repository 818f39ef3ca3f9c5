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
15. AVX-512 has 32: 14 x 2 sums, and 3 to spare. ARM has 32 as well, and a tile of 6 x 4 (`processor.py`
says why). One row more, and the compiler must park sums in memory ("spill"), which makes the tile several
times slower: benchmarks/assembly.py reads the assembly and counts. Fewer rows, for the edges of a matrix,
are fine down to 4: that still leaves 8 sums, as many as 2 units x 4 cycles can have under way.

**What limits it.** B must come from the nearest cache, so the callers pack it into panels, and reuse
a panel for many rows of A. The second tile here, `gather_sum`, loads one vector for every FMA; it
cannot reach the peak, but it is for sums that skip three quarters of their terms.

Numba cannot say "keep these twelve vectors in registers", so the loops are emitted as LLVM vector
code, through Numba's `intrinsic`. The plain-loop twins, `plain_tile` and `plain_gather_sum`, state
what the emitted code computes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn.engine.kernels.jit import helper
from minicnn.engine.kernels.processor import PROCESSOR, Processor
from minicnn.engine.kernels.vector import (
    INDEX,
    Emitter,
    advance,
    lanes,
    lanes_of,
    transpose_square,
)

Array = np.ndarray
VECTORS, MAX_ROWS = PROCESSOR.vectors, PROCESSOR.rows  # vectors of B in a tile, and rows of A
GATHER_VECTORS = (10, 5, 2, 1)  # group sizes of gather_sum; ten sums keep two FMA units busy


class Rows(NamedTuple):
    """Row r of a matrix begins `r * stride` entries after `at`, a pointer (in plain loops: an array)."""

    at: Any
    stride: int


class Factor(NamedTuple):
    """The entries that a tile takes from A: a[r, o, k] is at[r * row + o * outer + k * inner].

    `inner` is None where they lie side by side: what the compiler knows makes the loop a third shorter.
    """

    at: Any
    row: int
    outer: int
    inner: int | None


def panel_width(dtype: np.dtype | type) -> int:
    """How many columns of B, and of C, a tile covers."""
    return VECTORS * lanes(dtype)


@helper
def width_of(numbers):
    """`panel_width` in compiled code, for an array or a pointer."""
    return VECTORS * lanes_of(numbers)


# --- what the emitted code computes, in plain loops ----------------------------------------------


def plain_tile(
    rows: int, outer: int, inner: int, a: Factor, b: Array, start: Rows, c: Rows, ahead: Rows | None
) -> None:
    """c[r, :] = start[r, :] + sum over o, k of a[r, o, k] * b[o * inner + k, :], for `rows` rows.

    b is a packed panel of [outer * inner, width].

    Meanwhile the cache lines where the rows of `ahead` begin are brought near, one for each step in k:
    the arithmetic leaves the memory idle. It changes no result.
    """
    width, step = panel_width(b.dtype), 1 if a.inner is None else a.inner
    for r in range(rows):
        total = start.at[r * start.stride : r * start.stride + width].copy()
        for o in range(outer):
            for k in range(inner):
                t = (o * inner + k) * width
                total += a.at[r * a.row + o * a.outer + k * step] * b[t : t + width]
        c.at[r * c.stride : r * c.stride + width] = total


def plain_gather_sum(
    vectors: int, terms: tuple[Array, Array, int], base: Array, base_at: Array, acc: Array, acc_at: Array
) -> None:
    """acc[acc_at[j] :] += sum over t < count of value[t] * base[offset[t] + base_at[j] :].

    For each j < vectors, one vector register wide. terms = (value, offset, count), offsets are int32,
    places int64. In place of places, a number is the distance from one vector to the next.
    """
    value, offset, count = terms
    width = lanes(base.dtype)
    for j in range(vectors):
        for t in range(count):
            start = offset[t] + base_at[j]
            acc[acc_at[j] : acc_at[j] + width] += value[t] * base[start : start + width]


# --- the emitted code ----------------------------------------------------------------------------


def _make_tile(rows: int, processor: Processor = PROCESSOR) -> Any:
    vectors = processor.vectors

    @intrinsic
    def tile(typing, outer, inner, a, b, start, c, ahead):
        """See `plain_tile`."""
        signature = types.void(types.intp, types.intp, a, b, start, c, ahead)

        def codegen(context, builder, signature, args):
            outer, inner, a, b, start, c, ahead = args
            a, row_stride, outer_stride, inner_stride = cgutils.unpack_tuple(builder, a)
            start, c = (cgutils.unpack_tuple(builder, rows) for rows in (start, c))
            fetches = signature.args[-1] is not types.none
            ahead = cgutils.unpack_tuple(builder, ahead) if fetches else []
            if signature.args[2].types[3] is types.none:
                inner_stride = 1
            emit = Emitter(builder, signature.args[3].dtype, processor)
            width = vectors * emit.lanes
            row_at = [builder.mul(row_stride, ir.Constant(INDEX, r)) for r in range(rows)]

            def each(f):
                return [f(r, j) for r in range(rows) for j in range(vectors)]

            def address(pointer, stride, r, j):
                return emit.at(emit.at(pointer, builder.mul(stride, ir.Constant(INDEX, r))), j * emit.lanes)

            def one_k(_, values):
                (a_k, b_k), ahead_k, sums = values[:2], values[2 : -rows * vectors], values[-rows * vectors :]
                if fetches:
                    emit.prefetch(*ahead_k)
                    ahead_k = [emit.at(*ahead_k, ahead[1])]
                b_vectors = [emit.load(emit.at(b_k, j * emit.lanes)) for j in range(vectors)]
                for r in range(rows):
                    a_vector = emit.broadcast(emit.at(a_k, row_at[r]))
                    for j in range(vectors):
                        s = r * vectors + j
                        sums[s] = builder.call(emit.muladd, [a_vector, b_vectors[j], sums[s]])
                return [emit.at(a_k, inner_stride), emit.at(b_k, width), *ahead_k, *sums]

            def one_outer(o, values):
                a_o = emit.at(a, builder.mul(o, outer_stride))
                return emit.loop(inner, [a_o, *values], one_k)[1:]

            sums = each(lambda r, j: emit.load(address(*start, r, j)))
            sums = emit.loop(outer, [b, *ahead[:1], *sums], one_outer)[-len(sums) :]
            each(lambda r, j: emit.store(sums[r * vectors + j], address(*c, r, j)))
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _make_gather_sum(vectors: int) -> Any:
    @intrinsic
    def gather_sum(typing, terms, base, base_at, acc, acc_at):
        """See `plain_gather_sum`."""
        signature = types.void(terms, base, base_at, acc, acc_at)

        def codegen(context, builder, signature, args):
            terms, base, base_at, acc, acc_at = args
            value, offset, count = cgutils.unpack_tuple(builder, terms)
            _, _, base_kind, _, acc_kind = signature.args
            emit = Emitter(builder, signature.args[1].dtype)

            def places(kind, start, at):
                for j in range(vectors):
                    far = isinstance(kind, types.Integer)
                    place = builder.mul(at, ir.Constant(INDEX, j)) if far else builder.load(emit.at(at, j))
                    yield emit.at(start, place)

            bases, accs = list(places(base_kind, base, base_at)), list(places(acc_kind, acc, acc_at))

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
def copy_tile_row(typing: Any, source: Any, to: Any) -> Any:
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


tile: Any = _choose(
    "tile", "outer, inner, a, b, start, c, ahead", {rows: _make_tile(rows) for rows in range(1, MAX_ROWS + 1)}
)
gather_sum: Any = _choose(
    "gather_sum",
    "terms, base, base_at, acc, acc_at",
    {vectors: _make_gather_sum(vectors) for vectors in GATHER_VECTORS},
)


@helper
def tile_rows(remaining):
    """How many rows the next tile takes, so that the tiles of a block are all about the same size."""
    tiles = (remaining + MAX_ROWS - 1) // MAX_ROWS
    return (remaining + tiles - 1) // tiles


@helper
def transpose(source, to, rows, columns):
    """to[j, i] = source[i, j] for `rows` rows and `columns` columns, squares of a vector's size first."""
    side = lanes_of(source.at)
    square_rows, square_columns = rows // side * side, columns // side * side
    for i in range(0, square_rows, side):
        for j in range(0, square_columns, side):
            square = advance(source.at, i * source.stride + j)
            transpose_square(square, source.stride, advance(to.at, j * to.stride + i), to.stride)
    for i in range(rows):
        for j in range(square_columns if i < square_rows else 0, columns):
            to.at[j * to.stride + i] = source.at[i * source.stride + j]


@helper
def append(value, offset, count, number, place, wanted):
    """Add a term to the list of `gather_sum` that has `count`, if it is wanted. Returns the new count.

    Written without a branch: what is not wanted is overwritten by the next.
    """
    value[count], offset[count] = number, place
    return count + wanted
