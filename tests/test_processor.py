"""The tile's shape fits the processor's vector registers, shown in the machine code that LLVM makes."""

import sys
from pathlib import Path

import pytest
from runs import new_process

from minicnn.engine.kernels.processor import AVX2, AVX512, NEON, SSE, Processor, find_processor

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("not in a checkout: no benchmarks", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
try:
    import assembly
finally:
    sys.path.remove(str(BENCHMARKS))

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
FOUND = [
    (X86, {"avx512f", "avx2", "fma"}, AVX512),
    (X86, {"avx2", "fma"}, AVX2),
    (X86, {"avx2"}, SSE),
    (X86, set(), SSE),
    (ARM, {"neon"}, NEON),
    (ARM, set(), NEON),  # LLVM may not recognize the processor, but all of them have these registers
    ("arm64-apple-darwin24.0.0", {"neon"}, NEON),
    ("aarch64-pc-windows-msvc", set(), NEON),
    ("riscv64-unknown-linux-gnu", set(), SSE),
]


@pytest.mark.parametrize(("triple", "features", "expected"), FOUND)
def test_registers_are_those_of_the_target(triple, features, expected):
    assert find_processor(triple, dict.fromkeys(features, True)) == expected


SHAPES = [(AVX512, (14, 2)), (AVX2, (6, 2)), (SSE, (6, 2)), (NEON, (6, 4))]


@pytest.mark.parametrize(("processor", "shape"), SHAPES)
def test_the_shape_of_the_tile(processor, shape):
    assert (processor.rows, processor.vectors) == shape


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_a_width_can_be_asked_for(bits):
    assert find_processor(X86, {"avx512f": True}, str(bits)) == {128: SSE, 256: AVX2, 512: AVX512}[bits]
    on_arm = find_processor(ARM, {}, str(bits))  # several registers make a vector, and the tile is the same
    assert on_arm.vector_bits == bits
    assert (on_arm.rows, on_arm.vectors * bits) == (NEON.rows, NEON.vectors * NEON.vector_bits)


def test_another_width_is_refused():
    with pytest.raises(ValueError, match="MINICNN_VECTOR_BITS: expected 128, 256 or 512, got '64'"):
        find_processor(X86, {}, "64")


def test_what_numba_is_told_to_compile_for_counts():
    code = "from minicnn.engine.kernels.processor import PROCESSOR; print(PROCESSOR.vector_bits)"
    assert new_process(code, NUMBA_CPU_NAME="generic").stdout == "128\n"


@pytest.mark.parametrize("name", assembly.TARGETS)
def test_no_sum_of_the_tile_leaves_its_register(name):
    target = assembly.TARGETS[name]
    processor = target.processor
    for rows in (1, processor.rows - 1, processor.rows):
        for loop in assembly.inner_loops(target, rows):
            steps = loop.multiply_adds / (rows * processor.vectors)  # the compiler may unroll
            assert steps >= 1
            assert steps == int(steps)
            assert loop.stack_accesses == 0
            assert loop.fused == (processor != SSE)


@pytest.mark.parametrize("name", assembly.TARGETS)
def test_one_row_more_would_not_fit(name):
    target = assembly.TARGETS[name]
    assert any(loop.stack_accesses for loop in assembly.inner_loops(target, target.processor.rows + 1))


def test_on_arm_no_multiply_add_waits_for_a_copy_to_all_lanes():
    target = assembly.TARGETS["Graviton 2 (Neoverse N1)"]
    for text in assembly.assemblies(target, NEON.rows):
        assert "fmla" in text
        assert "ld1r" not in text
        assert "dup" not in text


def test_a_tile_as_tall_as_the_one_of_avx512_does_not_fit_on_arm():
    """Which is why it is of another shape there, with as many registers."""
    tall = Processor(128, 32, vectors=2, multiplies_by_lane=True)
    assert tall.rows == AVX512.rows
    # By LLVM 14 to 22; for which other processors it finds no way depends on its version.
    loops = assembly.inner_loops(assembly.TARGETS["ARM, any (generic)"], tall.rows, tall)
    assert any(loop.stack_accesses for loop in loops)
