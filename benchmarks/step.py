"""One training step of the tutorial's network: minicnn against PyTorch, TensorFlow and JAX.

    python benchmarks/step.py [--rounds N] [--batches 1,10,50,100,200,1000]

Each engine lives in a process of its own and takes a turn of three steps per round, after one that is
not measured. A step is everything from the NumPy batch to the loss as a Python float and the moved
weights. First all engines make three steps without dropout, and must agree.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

import numpy as np
from common import (
    STEP_FLOP,
    DifferentResultsError,
    MatrixProduct,
    Report,
    Spread,
    chosen,
    expect_close,
    mnist_batches,
    ms,
    parse,
    parser,
    race,
    saying,
    spread_ms,
    start_workers,
)
from ours import Minicnn, MinicnnPlain
from peers import Engine, Parameters, Worker, engines, example_parameters

BATCH = 50
STEPS = 3  # measured steps in a turn
STRAY = 1e-3  # share of parameters that may end elsewhere: see `check`


def main() -> None:
    made = parser(__doc__, rounds=60)
    made.add_argument("--batches", default="1,10,50,100,200,1000", help="sizes for the table of growth")
    args = parse(made)
    report = Report("step", __doc__, args)
    contestants = chosen([Minicnn, MinicnnPlain, *engines()], args)
    with contextlib.ExitStack() as stack:
        parameters = example_parameters()
        agreed = check(contestants, parameters, args.threads, report)
        workers, _ = start_workers(stack, [*agreed, MatrixProduct], parameters, args.threads)
        compare(report, workers, args)
        growth(report, workers, args)
    report.write()


# --- do they compute the same? ---


def check(
    contestants: list[type[Engine]], parameters: Parameters, threads: int, report: Report
) -> list[type[Engine]]:
    """The engines that can run here. Raises DifferentResultsError unless they train alike.

    Losses must agree to 0.01 %. Of the weights, one in a thousand may stray: Adam moves a weight by the
    learning rate in the direction of its gradient's sign, even where the gradient is only rounding noise.
    """
    x, labels = mnist_batches(3, BATCH)
    agreed, expected = [], None
    for engine in contestants:
        with contextlib.ExitStack() as stack, saying(f"three steps without dropout: {engine.name}"):
            workers, left_out = start_workers(stack, [engine], parameters, threads, keep_prob=1.0)
            report.left_out |= left_out
            for worker in workers.values():
                losses = [worker.step(*batch) for batch in zip(x, labels, strict=True)]
                after = worker.parameters()
                agreed.append(engine)
                expected = expected or (losses, after)
                expect_close(f"{engine.name}: losses", losses, expected[0], rtol=1e-4, atol=0)
                strayed = share_apart(after, expected[1], 1e-5)
                if strayed > STRAY:
                    raise DifferentResultsError(f"{engine.name}: {strayed:.2%} of the weights differ")
    return agreed


def share_apart(a: Parameters, b: Parameters, tolerance: float) -> float:
    """The share of parameters that differ by more than `tolerance`."""
    apart = sum(int((np.abs(a[name] - b[name]) > tolerance).sum()) for name in a)
    return apart / sum(value.size for value in a.values())


# --- batch 50 ---


def compare(report: Report, workers: dict[str, Worker], args: argparse.Namespace) -> None:
    """The main table: all engines and the matrix product, in turn, at batch 50."""
    times = timed(workers, BATCH, args.rounds)
    peak = MatrixProduct.FLOP / times.pop(MatrixProduct.name).median
    peers = [name for name in times if not name.startswith(Minicnn.name)]
    fastest = min(peers, key=lambda name: times[name].median, default=Minicnn.name)
    rows, results = [], []
    for name in sorted(times, key=lambda name: times[name].median):
        spread = times[name]
        ratio = times[fastest].median / spread.median
        speed = STEP_FLOP * BATCH / spread.median
        rows.append(
            [
                name,
                ms(spread.median),
                spread_ms(spread),
                f"{ratio:.2f}",
                f"{BATCH / spread.median:,.0f}",
                f"{speed / 1e9:.0f}",
                f"{speed / peak:.0%}",
            ]
        )
        results.append({"name": name, **vars(spread), "times_faster_than_fastest_peer": ratio})
    report.add(
        f"A training step, batch {BATCH}, {args.threads} threads",
        ["engine", "ms", "quartiles", f"speed, {fastest} = 1", "images/s", "GFLOP/s", "of peak"],
        rows,
        f"{next(iter(times.values())).count} steps each, in turn. GFLOP/s as if nothing were skipped: 82.05 "
        f"MFLOP an image. Peak: NumPy's {MatrixProduct.SIZE} x {MatrixProduct.SIZE} float32 product in the "
        f"same run, {peak / 1e9:.0f} GFLOP/s.",
    )
    report.data |= {"batch": BATCH, "engines": results, "fastest_peer": fastest, "peak_gflops": peak / 1e9}


def timed(workers: dict[str, Worker], batch: int, rounds: int, steps: int = STEPS) -> dict[str, Spread]:
    """The seconds of a step of each worker; what must be compiled for this batch size is, before."""
    batches: Any = mnist_batches((rounds + 1) * (steps + 1), batch)
    for worker in workers.values():
        worker.feed(*batches)
        worker.time_steps(steps)
    return race(workers, rounds, steps)


# --- other batches ---


def growth(report: Report, workers: dict[str, Worker], args: argparse.Namespace) -> None:
    """The table of batch sizes: milliseconds of a step, fewer rounds of one step for the large ones."""
    sizes = [int(size) for size in args.batches.split(",") if size]
    if args.quick:
        sizes = sizes[:2]
    racers = {name: worker for name, worker in workers.items() if name != MatrixProduct.name}
    columns: dict[int, dict[str, Spread]] = {}
    for size in sizes:
        with saying(f"batch {size}"):
            rounds = max(2, args.rounds * BATCH // max(BATCH, size) // 2)
            columns[size] = timed(racers, size, rounds, steps=1 if size > 2 * BATCH else STEPS)
    if not columns:
        return
    report.add(
        f"Milliseconds of a training step as the batch grows, {args.threads} threads",
        ["engine", *(f"batch {size}" for size in sizes)],
        [[name, *(ms(columns[size][name].median) for size in sizes)] for name in racers],
    )
    report.data["growth"] = {name: {size: columns[size][name].median for size in sizes} for name in racers}


if __name__ == "__main__":
    main()
