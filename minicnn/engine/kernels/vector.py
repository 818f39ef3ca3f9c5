"""Vector instructions, which Numba has no words for, in small emitted pieces.

A vector register holds several numbers, and one instruction works on all of them. Numba's compiler
uses such instructions for plain loops when it sees that it may, but it cannot be told to keep a
certain block of numbers in registers. So the innermost loops of this package are emitted as LLVM code,
through Numba's `intrinsic`: `Emitter` has the few instructions that they need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minicnn.engine.kernels.processor import PROCESSOR, Processor
from minicnn.engine.workspace import CACHE_LINE

INDEX: Any = ir.IntType(64)


VECTOR_BITS = PROCESSOR.vector_bits


def lanes(dtype: np.dtype | type) -> int:
    """How many numbers a vector register holds."""
    return VECTOR_BITS // 8 // np.dtype(dtype).itemsize


def _make_count(bits: int) -> Any:
    @intrinsic
    def count(typing, numbers):
        """How many numbers of an array's or a pointer's type fill so many bits: a constant."""
        fitting = bits // numbers.dtype.bitwidth
        return types.intp(numbers), lambda context, *_: context.get_constant(types.intp, fitting)

    return count


lanes_of: Any = _make_count(VECTOR_BITS)  # `lanes`, in compiled code
line_of: Any = _make_count(8 * CACHE_LINE)  # the numbers in a cache line


class Emitter:
    """The vector instructions that the kernels need, for one element type."""

    builder: Any
    processor: Processor
    scalar: Any
    lanes: int
    vector: Any
    muladd: Any

    def __init__(self, builder: ir.IRBuilder, element: Any, processor: Processor = PROCESSOR) -> None:
        self.builder, self.processor = builder, processor
        double = element == types.float64
        self.scalar = ir.DoubleType() if double else ir.FloatType()
        self.size = 8 if double else 4
        self.lanes = processor.vector_bits // 8 // self.size
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

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.lanes)

    def prefetch(self, pointer: Any) -> None:
        """Start to bring the cache line at `pointer` near; any address will do."""
        byte_pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, i32, i32, i32])
        name = "llvm.prefetch.p0"
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        read, near, data = (ir.Constant(i32, value) for value in (0, 3, 1))
        self.builder.call(function, [self.builder.bitcast(pointer, byte_pointer), read, near, data])

    def load(self, pointer: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()))
        value.align = self.size
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer())).align = self.size

    def broadcast(self, pointer: Any) -> Any:
        """A vector of the number at `pointer` in every lane."""
        undefined, number = ir.Constant(self.vector, ir.Undefined), self.builder.load(pointer)
        if self.processor.multiplies_by_lane:
            # LLVM prefers to load and copy at once (ld1r), which occupies an arithmetic unit, though the
            # multiply-add can take its factor from a lane. Assembly without an instruction, which might
            # change the number, keeps the two apart.
            kind = ir.FunctionType(self.scalar, [self.scalar])
            number = self.builder.asm(kind, "", "=w,0", [number], side_effect=False)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
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


@intrinsic
def transpose_square(typing: Any, source: Any, source_stride: Any, to: Any, to_stride: Any) -> Any:
    """Transpose a square of numbers, as many as a vector has lanes on each side.

    to[i * to_stride + j] = source[j * source_stride + i]. Rows are loaded into a register each; then
    squares that lie across the diagonal change places, of side 1, 2, 4, ... half the whole.
    """
    n = types.intp

    def codegen(context, builder, signature, args):
        source, source_stride, to, to_stride = args
        emit = Emitter(builder, signature.args[0].dtype)
        number = range(emit.lanes)

        def row(pointer, stride, i):
            return emit.at(pointer, builder.mul(stride, ir.Constant(INDEX, i)))

        def pick(a, b, lanes_of_both):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), emit.lanes), lanes_of_both)
            return builder.shuffle_vector(a, b, mask)

        rows = [emit.load(row(source, source_stride, i)) for i in number]
        side = 1
        while side < emit.lanes:
            for i in number:
                if not i & side:
                    a, b = rows[i], rows[i + side]  # lanes of b are counted on from those of a
                    rows[i] = pick(a, b, [emit.lanes + j - side if j & side else j for j in number])
                    rows[i + side] = pick(a, b, [emit.lanes + j if j & side else j + side for j in number])
            side *= 2
        for i in number:
            emit.store(rows[i], row(to, to_stride, i))
        return context.get_dummy_value()

    return types.void(source, n, to, n), codegen


@intrinsic
def prefetch(typing: Any, pointer: Any) -> Any:
    """Start to bring the cache line at `pointer` near; any address will do.

    Processors foresee plain sequences by themselves, but not the jump from row to row of a matrix.
    """

    def codegen(context, builder, signature, args):
        Emitter(builder, signature.args[0].dtype).prefetch(args[0])
        return context.get_dummy_value()

    return types.void(pointer), codegen


@intrinsic
def address(typing: Any, array: Any, index: Any) -> Any:
    """A pointer to entry `index` of a C-contiguous array, counted flat.

    A pointer is indexed like an array, without Numba's test for negative indices, which keeps inner
    loops from being vectorised.
    """

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), codegen


@intrinsic
def advance(typing: Any, pointer: Any, count: Any) -> Any:
    """The pointer `count` entries further on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen


# --- runs of numbers, in pieces of a vector -------------------------------------------------------


def _make_run(combine: Callable[[Emitter, Any, Any], Any]) -> Any:
    """to[i] = combine(source[i], to[i]) for i < count; the ends must not overlap."""

    @intrinsic
    def run(typing, source, to, count):
        def codegen(context, builder, signature, args):
            source, to, count = args
            emit = Emitter(builder, signature.args[0].dtype)
            vectors = builder.sdiv(count, ir.Constant(INDEX, emit.lanes))

            def one_vector(i, _):
                at = builder.mul(i, ir.Constant(INDEX, emit.lanes))
                from_, into = emit.at(source, at), emit.at(to, at)
                emit.store(combine(emit, emit.load(from_), emit.load(into)), into)
                return []

            def one_number(i, _):
                at = builder.add(done, i)
                from_, into = emit.at(source, at), emit.at(to, at)
                builder.store(combine(emit, builder.load(from_), builder.load(into)), into)
                return []

            emit.loop(vectors, [], one_vector)
            done = builder.mul(vectors, ir.Constant(INDEX, emit.lanes))
            emit.loop(builder.sub(count, done), [], one_number)
            return context.get_dummy_value()

        return types.void(source, to, types.intp), codegen

    return run


copy: Any = _make_run(lambda emit, source, to: source)
add: Any = _make_run(lambda emit, source, to: emit.builder.fadd(to, source))
