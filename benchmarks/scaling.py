"""How minicnn's time grows with threads, batch, image size and channels.

    python benchmarks/scaling.py [--rounds N]

The GFLOP/s in the last columns tell whether time grows as the work does: they should stay level, and
fall only where the work is too small to share. First, results are compared: bit by bit between numbers
of threads, with the plain reference for shapes of convolution.
"""

from __future__ import annotations

import argparse
import hashlib
from typing import Any

import numpy as np
from common import (
    STEP_FLOP,
    Contestant,
    Report,
    Spread,
    cores,
    expect_close,
    mnist_batches,
    ms,
    parse,
    parser,
    race,
    repeat,
    spread_ms,
)
from ours import Minicnn, MinicnnPlain
from peers import example_parameters

from minicnn import ConvReLUPool, Sequential
from minicnn.engine.kernels.threads import set_threads

BATCH = 50
STEPS = 3


def main() -> None:
    made = parser(__doc__, rounds=30)
    made.add_argument("--batches", default="1,2,5,10,20,50,100,200,500,1000")
    made.add_argument("--sizes", default="7,14,28,56,112", help="image heights and widths")
    made.add_argument("--channels", default="1,3,8,16,32,64,128")
    args = parse(made)
    report = Report("scaling", __doc__, args)
    by_threads(report, args)
    by_batch(report, args)
    by_shape(report, args)
    report.write()


def numbers(text: str, quick: bool) -> list[int]:
    return [int(word) for word in text.split(",")][: 2 if quick else None]


# --- threads --------------------------------------------------------------------------------------


def by_threads(report: Report, args: argparse.Namespace) -> None:
    """The tutorial's step on 1, 2, 4, ... threads, each with a network of its own, in turn."""
    counts = [n for n in (1, 2, 4, 8, 16) if n <= cores()]
    check_threads(counts)
    kinds = {"fused": Minicnn} if args.quick else {"fused": Minicnn, "--plain": MinicnnPlain}
    rows = []
    for kind, engine_class in kinds.items():
        turns = {}
        for n in counts:
            engine = engine_class(example_parameters(), n)
            engine.feed(*mnist_batches((args.rounds + 1) * (STEPS + 1), BATCH))
            turns[str(n)] = with_threads(n, engine)
        times = race(turns, args.rounds)
        for n, spread in times.items():
            speed = STEP_FLOP * BATCH / spread.median / 1e9
            ratio = times["1"].median / spread.median
            rows.append(
                [f"{kind}, {n}", ms(spread.median), spread_ms(spread), f"{ratio:.2f}", f"{speed:.0f}"]
            )
            report.data.setdefault("threads", {}).setdefault(kind, {})[n] = vars(spread)
    report.add(
        f"A training step by threads, batch {BATCH}",
        ["threads", "ms", "quartiles", "speed, 1 thread = 1", "GFLOP/s"],
        rows,
        "After three steps, all parameters are the same to the last bit for these numbers of threads.",
    )


def with_threads(n: int, engine: Minicnn) -> Contestant:
    def turn() -> list[float]:
        set_threads(n)
        return engine.time_steps(STEPS)

    return turn


def check_threads(counts: list[int]) -> None:
    """Raise DifferentResultsError unless three steps give the same bits on any number of threads."""
    digests = []
    batches = list(zip(*mnist_batches(3, BATCH), strict=True))
    for n in counts:
        engine = Minicnn(example_parameters(), n)
        for x, labels in batches:
            engine.step(x, labels)
        digests.append(hashlib.sha256(engine.network.values.tobytes()).digest())
        expect_close(f"digest of the parameters, {n} threads", list(digests[-1]), list(digests[0]), 0, 0)


# --- batch ----------------------------------------------------------------------------------------


def by_batch(report: Report, args: argparse.Namespace) -> None:
    """The tutorial's step at other batch sizes."""
    engine = Minicnn(example_parameters(), args.threads)
    rows = []
    for size in numbers(args.batches, args.quick):
        rounds = max(2, args.rounds * BATCH // max(BATCH, size))
        engine.feed(*mnist_batches((rounds + 1) * (STEPS + 1), size))
        engine.time_steps(1)
        (spread,) = race({"step": lambda: engine.time_steps(STEPS)}, rounds).values()
        speed = STEP_FLOP * size / spread.median / 1e9
        rows.append(
            [str(size), ms(spread.median), spread_ms(spread), ms(spread.median / size), f"{speed:.0f}"]
        )
        report.data.setdefault("batch", {})[size] = vars(spread)
    report.add(
        f"A training step by batch size, {args.threads} threads",
        ["batch", "ms", "quartiles", "ms an image", "GFLOP/s"],
        rows,
    )


# --- shapes ---------------------------------------------------------------------------------------


def by_shape(report: Report, args: argparse.Namespace) -> None:
    """One `ConvReLUPool` (5x5), forward and backward, for growing images and for more channels."""
    set_threads(args.threads)
    sizes = [(size, 32, 64) for size in numbers(args.sizes, args.quick)]
    channels = [(14, C, 64) for C in numbers(args.channels, args.quick)]
    for title, shapes in (("image size", sizes), ("channels", channels)):
        rows = []
        for size, C, F in shapes:
            n = max(1, min(BATCH, BATCH * 56 * 56 // size**2))  # large images in smaller batches
            forward, backward = block_times(n, size, C, F, args.rounds)
            flop = 2.0 * n * size**2 * 25 * C * F
            rates = [flop / forward.median / 1e9, 2 * flop / backward.median / 1e9]
            name = f"{n} x {size} x {size} x {C} -> {F}"
            rows.append([name, ms(forward.median), ms(backward.median), *(f"{rate:.0f}" for rate in rates)])
            report.data.setdefault(title, {})[name] = {"forward": vars(forward), "backward": vars(backward)}
        report.add(
            f"Convolution 5x5, ReLU and pool by {title}, {args.threads} threads",
            ["shape", "forward ms", "backward ms", "forward GFLOP/s", "backward GFLOP/s"],
            rows,
            "GFLOP/s as if dense: backward skips the three quarters of its terms that are zero.",
        )


def block_times(n: int, size: int, C: int, F: int, rounds: int) -> tuple[Spread, Spread]:
    """Seconds of a forward, and of a backward, after a comparison with the plain reference."""
    rng = np.random.default_rng(0)
    layer = ConvReLUPool(C, F, kernel_size=5, rng=0)
    network = Sequential([layer], (size, size, C))  # which reuses its memory from step to step
    x = rng.random((n, size, size, C), np.float32) - np.float32(0.5)
    dy = rng.standard_normal((n, *layer.output_shape((size, size, C))), np.float32)
    results = []
    for ops in ("reference", "kernels"):
        network.use_ops(ops)
        some = slice(0, 2)
        y = network.forward(x[some], training=True).copy()
        dx = network.backward(dy[some])
        results.append((y, dx.copy(), layer.weight.grad.copy()))
    for name, plain, fast in zip(("y", "dx", "dw"), *results, strict=True):
        expect_close(f"{n} x {size} x {size} x {C} -> {F}: {name}", fast, plain)

    # Neither can be repeated without the other, so each turn does both and reports one.
    def timed(which: int) -> Contestant:
        def turn() -> list[float]:
            seconds: list[Any] = [
                repeat(lambda: network.forward(x, training=True), warmup=0)()[0],
                repeat(lambda: network.backward(dy), warmup=0)()[0],
            ]
            return [seconds[which]]

        turn()  # wakes threads and caches
        return turn

    times = race({"forward": timed(0), "backward": timed(1)}, rounds, rest=0)
    return times["forward"], times["backward"]


if __name__ == "__main__":
    main()
