"""The processor's vector registers, and the shape of register tile that fits into them.

A tile of r rows and v vectors needs r v registers for its sums, v for a row of B, and one for a number of A.
So with 16 registers it can be 6 x 2, with 32 it can be 14 x 2 (AVX-512) or 6 x 4 (ARM). The difference is
where the numbers of A come from:

- AVX-512 takes the number from memory within the multiply-add, and one register is plenty.
- NEON, the vectors of every 64-bit ARM processor, multiplies by one lane of a register. The number is loaded
  before, and far enough ahead, which takes a few registers: at 14 x 2 LLVM 22 runs out of them for about half
  of the processors that it knows. A tile of 6 x 4 leaves four, and needs 10 loads for 24 multiply-adds where
  12 x 2 needs 14.

`benchmarks/assembly.py` counts, for processors of all kinds, what stays in registers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core import config
from numba.core.codegen import get_host_cpu_features


class Processor(NamedTuple):
    """Its vector registers, `registers` of `vector_bits` each, and the width of a tile in vectors."""

    vector_bits: int
    registers: int
    vectors: int = 2
    multiplies_by_lane: bool = False

    @property
    def rows(self) -> int:
        """The most rows of a tile of which all sums stay in registers."""
        return (self.registers - self.vectors - 1) // self.vectors


AVX512, AVX2, SSE = Processor(512, 32), Processor(256, 16), Processor(128, 16)
NEON = Processor(128, 32, vectors=4, multiplies_by_lane=True)
OF_WIDTH = {"512": AVX512, "256": AVX2, "128": SSE}
SETTING = "MINICNN_VECTOR_BITS"


def find_processor(triple: str, features: Mapping[str, bool], forced: str | None = None) -> Processor:
    """The registers of a target, from LLVM's names for the target and for what its processor has.

    `forced` is another width, 128, 256 or 512, that a user asks for, to try out what a processor with
    such registers would do. Raises ValueError for any other.
    """
    if forced is not None and forced not in OF_WIDTH:
        raise ValueError(f"{SETTING}: expected 128, 256 or 512, got {forced!r}")
    if triple.startswith(("aarch64", "arm64")):
        if forced is None:
            return NEON
        many = int(forced) // NEON.vector_bits  # registers that make one vector of the width
        return Processor(int(forced), NEON.registers // many, NEON.vectors // many, True)
    if forced is not None:
        return OF_WIDTH[forced]
    if features.get("avx512f"):
        return AVX512
    return AVX2 if features.get("avx2") and features.get("fma") else SSE


def _features() -> dict[str, bool]:
    """What Numba compiles for: what the processor has, or what Numba's own settings say."""
    text = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return {name[1:]: name[0] == "+" for name in text.split(",") if name}


PROCESSOR = find_processor(llvm.get_process_triple(), _features(), os.environ.get(SETTING))
