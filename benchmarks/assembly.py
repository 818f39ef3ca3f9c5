"""The register tile in the machine code of processors that need not be there.

    python benchmarks/assembly.py

Each tile is compiled for the processor by LLVM, its assembly is read, and in its innermost loop the
multiply-adds and the accesses to the stack are counted. A tile of r rows and v vectors must have r v
multiply-adds per step in k and touch no stack: then its sums stay in registers. With one row more they no
longer fit. Nothing is run, and no time is measured.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from minicnn.engine.kernels.processor import Processor, find_processor
from minicnn.engine.kernels.tile import Factor, Rows, _make_tile

# --- reading the assembly -------------------------------------------------------------------------

MULTIPLY_ADD = re.compile(r"^\s*(vfn?m(add|sub)\w*p[sd]|fmla)\b")
MULTIPLY = re.compile(r"^\s*(v?mulp[sd]|fmul)\b")  # where there is no FMA: an addition follows
# %rbp is a register like any other: LLVM keeps no frame pointer there.
STACK = re.compile(r"\(%rsp|\[sp[,\]]|\[x29, #-")
VECTOR_REGISTER = re.compile(r"%?[xyz]mm\d+|\b[vqds]\d+\b")


@dataclass(frozen=True)
class InnerLoop:
    """What the innermost loop of a tile consists of."""

    multiply_adds: int
    fused: bool
    stack_accesses: int
    instructions: int


def read_inner_loop(assembly: str) -> InnerLoop:
    """The loop with the most multiplications per instruction: label .. jump back to that label.

    Only a stack access that moves a vector counts: a spilled pointer does no harm.
    """
    lines = assembly.splitlines()
    labels = {line.split(":")[0].strip(): i for i, line in enumerate(lines) if re.match(r"^\.?L\w+:", line)}
    loops = []
    for end, line in enumerate(lines):
        target = labels.get(line.split()[-1]) if re.match(r"^\s+(j|b\.|cb|tb)\w*\s", line) else None
        if target is not None and target < end:
            body = [text for text in lines[target + 1 : end + 1] if re.match(r"^\s+[a-z]", text)]
            fmas = sum(bool(MULTIPLY_ADD.match(text)) for text in body)
            others = sum(bool(MULTIPLY.match(text)) for text in body)
            on_stack = sum(bool(STACK.search(text) and VECTOR_REGISTER.search(text)) for text in body)
            loops.append(InnerLoop(fmas or others, fmas > 0, on_stack, len(body)))
    return max(loops, key=lambda loop: loop.multiply_adds / (loop.instructions + 10))


# --- compiling for another processor --------------------------------------------------------------


class Target(NamedTuple):
    """A processor, in LLVM's words."""

    triple: str
    cpu: str
    features: tuple[str, ...] = ()

    @property
    def processor(self) -> Processor:
        return find_processor(self.triple, dict.fromkeys(self.features, True))


LINUX, ARM_LINUX, MAC = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-darwin"
TARGETS = {
    "x86-64 without AVX2": Target(LINUX, "x86-64"),
    "x86-64 with AVX2": Target(LINUX, "haswell", ("avx2", "fma")),
    "x86-64 with AVX-512": Target(LINUX, "skylake-avx512", ("avx2", "fma", "avx512f")),
    "ARM, any (generic)": Target(ARM_LINUX, "generic"),
    "Apple M1": Target(MAC, "apple-m1"),
    "Raspberry Pi 4 (Cortex-A72)": Target(ARM_LINUX, "cortex-a72"),
    "Raspberry Pi 5 (Cortex-A76)": Target(ARM_LINUX, "cortex-a76"),
    "Raspberry Pi 3 (Cortex-A53)": Target(ARM_LINUX, "cortex-a53"),
    "Graviton 2 (Neoverse N1)": Target(ARM_LINUX, "neoverse-n1"),
    "Graviton 3 (Neoverse V1)": Target(ARM_LINUX, "neoverse-v1"),
    "Windows on ARM (generic)": Target("aarch64-pc-windows-msvc", "generic"),
}
VARIANTS = list(itertools.product((types.float32, types.float64), (True, False), (True, False)))


def tile_module(
    target: Target, processor: Processor, rows: int, element: Any, contiguous: bool, fetches: bool
) -> ir.Module:
    """A function `tile` that computes a tile, see `minicnn.engine.kernels.tile.plain_tile`.

    `contiguous`: the numbers of a row of A lie side by side; `fetches`: a matrix is fetched ahead. The
    members of tuples are arguments of their own.
    """
    number, pointer = types.intp, types.CPointer(element)
    factor = types.NamedTuple((pointer, number, number, types.none if contiguous else number), Factor)
    matrix = types.NamedTuple((pointer, number), Rows)
    ahead = matrix if fetches else types.none
    arguments = (number, number, factor, pointer, matrix, matrix, ahead)
    signature, emit = _make_tile(rows, processor)._defn(None, *arguments)
    context = cpu_target.target_context
    module = ir.Module("tile")
    module.triple = target.triple
    kinds = [context.get_value_type(argument) for argument in arguments]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    emit(context, builder, signature, function.args)
    builder.ret_void()
    return module


def compile_for(target: Target, module: ir.Module) -> tuple[llvm.TargetMachine, llvm.ModuleRef]:
    """The optimized module, and the machine that turns it into assembly or an object file."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    features = ",".join(f"+{name}" for name in target.features)
    machine = llvm.Target.from_triple(target.triple).create_target_machine(target.cpu, features, opt=3)
    module.data_layout = str(machine.target_data)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    if hasattr(llvm, "create_pass_builder"):  # not in old versions of llvmlite
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
        builder.getModulePassManager().run(parsed, builder)
    return machine, parsed


def assemblies(target: Target, rows: int, processor: Processor | None = None) -> list[str]:
    """A tile of so many rows, in each variant that the kernels use.

    Its width, and how it multiplies, is what the `processor` wants, by default that of the target.
    """
    texts = []
    for variant in VARIANTS:
        module = tile_module(target, processor or target.processor, rows, *variant)
        machine, optimized = compile_for(target, module)
        texts.append(machine.emit_assembly(optimized))
    return texts


def inner_loops(target: Target, rows: int, processor: Processor | None = None) -> list[InnerLoop]:
    """The innermost loops of these."""
    return [read_inner_loop(text) for text in assemblies(target, rows, processor)]


def main() -> None:
    version = ".".join(map(str, llvm.llvm_version_info))
    print(f"LLVM {version}; counts are the largest of {len(VARIANTS)} variants")
    print("| processor | bits | rows x vectors | fused | stack accesses | with one row more |")
    print("| --- | ---: | ---: | --- | ---: | ---: |")
    for name, target in TARGETS.items():
        processor = target.processor
        loops, higher = inner_loops(target, processor.rows), inner_loops(target, processor.rows + 1)
        fused = "yes" if all(loop.fused for loop in loops) else "no"
        spilled = [max(loop.stack_accesses for loop in some) for some in (loops, higher)]
        shape = f"{processor.rows} x {processor.vectors}"
        print(f"| {name} | {processor.vector_bits} | {shape} | {fused} | {spilled[0]} | {spilled[1]} |")


if __name__ == "__main__":
    main()
