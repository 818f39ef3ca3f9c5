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

import os
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minicnn.kernels.jit import helper

Array = np.ndarray
VECTORS = 2  # vectors of B in a tile
INDEX = ir.IntType(64)


def _vector_bits() -> int:
    """Width of a vector register: what the processor has, or a narrower one that the user forces."""
    forced = os.environ.get("MINICNN_VECTOR_BITS")
    if forced is not None:
        if forced not in ("128", "256", "512"):
            raise ValueError(f"MINICNN_VECTOR_BITS: expected 128, 256 or 512, got {forced!r}")
        return int(forced)
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 512
    return 256 if features.get("avx2") and features.get("fma") else 128


VECTOR_BITS = _vector_bits()
MAX_ROWS = 14 if VECTOR_BITS == 512 else 6
GATHER_VECTORS = (10, 5, 2, 1)  # group sizes of gather_sum; ten sums keep two FMA units busy


def lanes(dtype: np.dtype | type) -> int:
    """How many numbers a vector register holds."""
    return VECTOR_BITS // 8 // np.dtype(dtype).itemsize


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
) -> None:
    """c[r, :] = start[r, :] + sum over o, k of a[r, o, k] * b[o * inner + k, :], for `rows` rows.

    All arguments but the sizes are flat arrays that begin at the tile's first entry:
    a[r, o, k] is a[r * row_stride + o * outer_stride + k * k_stride], b is a packed panel of
    [outer * inner, width], and row r of start and c begins at r * start_stride and r * c_stride.
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


class _Emitter:
    """The few vector instructions that the tiles need, for one element type."""

    def __init__(self, builder: ir.IRBuilder, element: Any) -> None:
        self.builder = builder
        double = element == types.float64
        self.scalar = ir.DoubleType() if double else ir.FloatType()
        self.size = 8 if double else 4
        self.lanes = VECTOR_BITS // 8 // self.size
        self.vector = ir.VectorType(self.scalar, self.lanes)
        name = f"llvm.fmuladd.v{self.lanes}f{self.size * 8}"
        declared = builder.module.globals.get(name)
        self.muladd = declared or ir.Function(
            builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name
        )

    def at(self, pointer: Any, offset: Any) -> Any:
        if isinstance(offset, int):
            offset = ir.Constant(INDEX, offset)
        return self.builder.gep(pointer, [offset])

    def load(self, pointer: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()))
        value.align = self.size
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer())).align = self.size

    def broadcast(self, pointer: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(
            undefined, self.builder.load(pointer), ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, undefined, mask)

    def loop(self, count: Any, carried: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """`for i in range(count)`: body(i, values) -> next values, held in registers; count >= 0."""
        b = self.builder
        entry, head = b.block, b.append_basic_block("head")
        inside, done = b.append_basic_block("body"), b.append_basic_block("done")
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(INDEX)
        values = [b.phi(value.type) for value in carried]
        b.cbranch(b.icmp_signed("<", i, count), inside, done)
        b.position_at_end(inside)
        following = body(i, values)
        following_i = b.add(i, ir.Constant(INDEX, 1))
        last = b.block
        b.branch(head)
        i.add_incoming(ir.Constant(INDEX, 0), entry)
        i.add_incoming(following_i, last)
        for phi, first, value in zip(values, carried, following, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(value, last)
        b.position_at_end(done)
        return values


def _make_tile(rows: int) -> Any:
    @intrinsic
    def tile(
        typing, a, row_stride, k_stride, outer, outer_stride, inner, b, start, start_stride, c, c_stride
    ):
        """See `plain_tile`."""
        n = types.intp
        signature = types.void(a, n, n, n, n, n, b, start, n, c, n)

        def codegen(context, builder, signature, args):
            a, row_stride, k_stride, outer, outer_stride, inner, b, start, start_stride, c, c_stride = args
            emit = _Emitter(builder, signature.args[0].dtype)
            width = VECTORS * emit.lanes
            row_at = [builder.mul(row_stride, ir.Constant(INDEX, r)) for r in range(rows)]

            def each(f):
                return [f(r, j) for r in range(rows) for j in range(VECTORS)]

            def address(pointer, stride, r, j):
                return emit.at(emit.at(pointer, builder.mul(stride, ir.Constant(INDEX, r))), j * emit.lanes)

            def one_k(_, values):
                a_k, b_k, *sums = values
                b_vectors = [emit.load(emit.at(b_k, j * emit.lanes)) for j in range(VECTORS)]
                for r in range(rows):
                    a_vector = emit.broadcast(emit.at(a_k, row_at[r]))
                    for j in range(VECTORS):
                        s = r * VECTORS + j
                        sums[s] = builder.call(emit.muladd, [a_vector, b_vectors[j], sums[s]])
                return [emit.at(a_k, k_stride), emit.at(b_k, width), *sums]

            def one_outer(o, values):
                a_o = emit.at(a, builder.mul(o, outer_stride))
                return emit.loop(inner, [a_o, *values], one_k)[1:]

            sums = each(lambda r, j: emit.load(address(start, start_stride, r, j)))
            sums = emit.loop(outer, [b, *sums], one_outer)[1:]
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
            emit = _Emitter(builder, signature.args[0].dtype)
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
def pool_windows(typing, window, right, under, across, y, winner):
    """The ReLU of the largest of four numbers, a tile's width of them at once, and which one it was.

    y[l] = max(window[l], right[l], under[l], across[l], 0); winner[l] = 0, 1, 2 or 3, the first of
    equals. A NaN wins. Plain twin: `fused._pool_edge`.
    """
    signature = types.void(window, right, under, across, y, winner)

    def codegen(context, builder, signature, args):
        *candidates, y, winner = args
        emit = _Emitter(builder, signature.args[0].dtype)
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
            to = builder.bitcast(emit.at(winner, j * emit.lanes), byte.as_pointer())
            builder.store(place, to).align = 1
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy_tile_row(typing, source, to):
    """Copy a tile's width of numbers: to[l] = source[l]."""

    def codegen(context, builder, signature, args):
        emit = _Emitter(builder, signature.args[0].dtype)
        for j in range(VECTORS):
            at = j * emit.lanes
            emit.store(emit.load(emit.at(args[0], at)), emit.at(args[1], at))
        return context.get_dummy_value()

    return types.void(source, to), codegen


@intrinsic
def prefetch(typing, pointer):
    """Start to bring the cache line at `pointer` near; any address will do.

    Processors foresee plain sequences by themselves, but not the jump from row to row of a matrix.
    """

    def codegen(context, builder, signature, args):
        byte_pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, i32, i32, i32])
        function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
            builder.module, kind, "llvm.prefetch.p0"
        )
        read, near, data = (ir.Constant(i32, value) for value in (0, 3, 1))
        builder.call(function, [builder.bitcast(args[0], byte_pointer), read, near, data])
        return context.get_dummy_value()

    return types.void(pointer), codegen


@intrinsic
def address(typing, array, index):
    """A pointer to entry `index` of a C-contiguous array, counted flat.

    A pointer is indexed like an array, without Numba's test for negative indices, which keeps inner
    loops from being vectorised.
    """

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), codegen


@intrinsic
def advance(typing, pointer, count):
    """The pointer `count` entries further on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen


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
    "a, row_stride, k_stride, outer, outer_stride, inner, b, start, start_stride, c, c_stride",
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
