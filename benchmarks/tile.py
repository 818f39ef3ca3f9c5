"""What the register tile becomes in machine code, and how near it comes to the processor's limit.

    python benchmarks/tile.py [--rounds N]

For each height of tile: compile it, read the assembly, find the innermost loop, and count its fused
multiply-adds (FMA) and its accesses to the stack. A tile of r rows and v vectors must have r v FMAs per step
in k and touch no stack: then its sums stay in registers. One row too many, and they no longer fit ("spill");
assembly.py does the same for other processors. The speed beside it is of one thread, against a loop of
nothing but FMAs. First, each tile's result is compared with that of its plain twin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from assembly import read_inner_loop
from common import Contestant, Report, expect_close, parse, parser, race, repeat
from numba import types
from numba.extending import intrinsic

from minicnn.engine.kernels.jit import FLAGS
from minicnn.engine.kernels.tile import (
    MAX_ROWS,
    VECTORS,
    Factor,
    Rows,
    _make_tile,
    panel_width,
    plain_tile,
)
from minicnn.engine.kernels.vector import VECTOR_BITS, Emitter, address, lanes

DEPTH = (
    160  # steps in k: what a patch row of the second convolution has, and panels stay in the nearest cache
)
CALLS = 20_000  # of the tile in a turn
CHAINS = 12  # independent sums in the loop of nothing but FMAs: 2 units x 4 cycles need 8


# --- compiled: a tile, and nothing but FMAs -------------------------------------------------------


def compile_tile(rows: int) -> Callable[..., None]:
    """A function (a, panel, start, c, calls) that computes the tile `calls` times."""
    tile = _make_tile(rows)

    @numba.njit(**FLAGS)
    def run(a, panel, start, c, depth, width, calls):
        for _ in range(calls):
            factor = Factor(address(a, 0), depth, 0, None)
            first, last = Rows(address(start, 0), width), Rows(address(c, 0), width)
            tile(1, depth, factor, address(panel, 0), first, last, None)

    return run


@intrinsic
def multiply_adds(typing, numbers, count):
    """`CHAINS` vectors of sums, each `count` times s = s * x + y, with everything in registers."""

    def codegen(context, builder, signature, args):
        emit = Emitter(builder, signature.args[0].dtype)
        x, y = (emit.broadcast(emit.at(args[0], i)) for i in range(2))
        first = [emit.load(emit.at(args[0], i * emit.lanes)) for i in range(CHAINS)]
        last = emit.loop(args[1], first, lambda _, sums: [builder.call(emit.muladd, [s, x, y]) for s in sums])
        for i, total in enumerate(last):
            emit.store(total, emit.at(args[0], i * emit.lanes))
        return context.get_dummy_value()

    return types.void(numbers, count), codegen


@numba.njit(**FLAGS)
def run_multiply_adds(numbers, count):
    multiply_adds(address(numbers, 0), count)


def assembly_of(function: Any) -> str:
    (text,) = function.inspect_asm().values()
    return text


# --- the tables -----------------------------------------------------------------------------------


def make_arguments(rows: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    width = panel_width(np.float32)
    a, panel = rng.random(rows * DEPTH, np.float32), rng.random(DEPTH * width, np.float32)
    return a, panel, np.zeros(rows * width, np.float32), np.empty(rows * width, np.float32)


def check(rows: int, run: Callable[..., None]) -> None:
    """Raise DifferentResultsError unless the tile computes what its plain twin says."""
    a, panel, start, c = make_arguments(rows)
    width, expected = panel_width(np.float32), np.empty_like(c)
    factor, first = Factor(a, DEPTH, 0, None), Rows(start, width)
    plain_tile(rows, 1, DEPTH, factor, panel, first, Rows(expected, width), None)
    run(a, panel, start, c, DEPTH, width, 1)
    expect_close(f"tile of {rows} rows", c, expected, rtol=1e-5, atol=0)


def contestant(rows: int, run: Callable[..., None], calls: int) -> Contestant:
    a, panel, start, c = make_arguments(rows)
    return repeat(lambda: run(a, panel, start, c, DEPTH, panel_width(np.float32), calls))


def main() -> None:
    args = parse(parser(__doc__, rounds=20))
    report = Report("tile", __doc__, args)
    heights = [1, MAX_ROWS, MAX_ROWS + 2] if args.quick else list(range(1, MAX_ROWS + 3))
    calls = CALLS // 10 if args.quick else CALLS
    width = panel_width(np.float32)
    tiles = {rows: compile_tile(rows) for rows in heights}
    for rows, run in tiles.items():
        check(rows, run)

    numbers, count = np.full(CHAINS * lanes(np.float32), 0.5, np.float32), calls * 50
    run_multiply_adds(numbers, 1)
    turns = {"fma": repeat(lambda: run_multiply_adds(numbers, count))}
    turns |= {str(rows): contestant(rows, run, calls) for rows, run in tiles.items()}
    times = race(turns, args.rounds, rest=0)
    peak = 2.0 * numbers.size * count / times["fma"].median

    rows_of_table = []
    for rows, run in tiles.items():
        loop = read_inner_loop(assembly_of(run))
        steps = loop.multiply_adds / (rows * VECTORS)  # of k in one turn of the loop: the compiler may unroll
        speed = 2.0 * rows * width * DEPTH * calls / times[str(rows)].median
        verdict = "" if rows <= MAX_ROWS else "too high: not used"
        rows_of_table.append(
            [
                f"{rows} x {width}",
                f"{loop.multiply_adds / steps:.0f}",
                f"{loop.stack_accesses / steps:.0f}",
                f"{loop.instructions / steps:.1f}",
                f"{speed / 1e9:.1f}",
                f"{speed / peak:.0%}",
                verdict,
            ]
        )
        report.data[rows] = {
            **vars(loop),
            "steps_of_k": steps,
            "gflops": speed / 1e9,
            "of_peak": speed / peak,
        }
    report.add(
        f"The tile's inner loop per step in k ({VECTOR_BITS}-bit vectors, float32, one thread)",
        ["rows x columns", "FMAs", "stack accesses", "instructions", "GFLOP/s", "of FMA peak", ""],
        rows_of_table,
        f"FMA peak: a loop of {CHAINS} independent FMAs and nothing else, {peak / 1e9:.1f} GFLOP/s.",
    )
    report.write()


if __name__ == "__main__":
    main()
