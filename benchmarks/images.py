"""Other images than MNIST's: colour, other sizes, more classes. A step against the peers; conv1 by channels.

    python benchmarks/images.py [--rounds N]

The network keeps its layers; fc1 and fc2 have as many inputs and outputs as the data need. Engines take turns
as in step.py, on random images. The second table is the first block (convolution, ReLU, pool) alone: its
speed must not fall off a cliff when an image has three channels.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

import numpy as np
from common import (
    Report,
    Spread,
    chosen,
    expect_close,
    ms,
    parse,
    parser,
    race,
    repeat,
    saying,
    start_workers,
)
from ours import Minicnn
from peers import engines, example_parameters, shapes_for

BATCH = 50
SHAPES = {  # side, channels, classes: whose images are like that
    (8, 1, 10): "scikit-learn's digits",
    (28, 1, 47): "EMNIST, balanced",
    (32, 3, 10): "CIFAR-10",
    (64, 3, 200): "Tiny ImageNet",
}
CHANNELS = (1, 2, 3, 4, 8, 16, 32)
SIDE, FILTERS = 32, 32


def main() -> None:
    args = parse(parser(__doc__, rounds=30))
    report = Report("images", __doc__, args)
    steps(report, args)
    by_channels(report, args)
    report.write()


def steps(report: Report, args: argparse.Namespace) -> None:
    """The step of each engine at each shape, in turn, after one step in which all must agree."""
    columns: dict[str, dict[str, Spread]] = {}
    for shape, whose in SHAPES.items():
        if args.quick and shape[0] > 32:
            continue
        side, channels, classes = shape
        title = f"{side} x {side} x {channels}, {classes} classes ({whose})"
        parameters = example_parameters(shapes=shapes_for(*shape))
        batches: Any = random_batches(shape, count=8)
        contestants = chosen([Minicnn, *engines()], args)
        with contextlib.ExitStack() as stack, saying(f"one step without dropout: {title}"):
            workers, report.left_out = start_workers(
                stack, contestants, parameters, args.threads, keep_prob=1.0
            )
            losses = {name: worker.step(batches[0][0], batches[1][0]) for name, worker in workers.items()}
            for name, loss in losses.items():
                expect_close(f"{name}: loss at {title}", loss, losses[Minicnn.name], rtol=1e-4, atol=0)
        with contextlib.ExitStack() as stack, saying(title):
            workers, _ = start_workers(stack, contestants, parameters, args.threads)
            for worker in workers.values():
                worker.feed(*batches)
                worker.time_steps(3)
            columns[title] = race(workers, args.rounds)
    names = list(next(iter(columns.values())))
    rows = []
    for title, times in columns.items():
        fastest = min(
            (n for n in names if n != Minicnn.name), key=lambda n: times[n].median, default=Minicnn.name
        )
        ratio = times[fastest].median / times[Minicnn.name].median
        rows.append([title, *(ms(times[name].median) for name in names), f"{ratio:.2f}"])
    report.add(
        f"Milliseconds of a training step, batch {BATCH}, {args.threads} threads",
        ["images", *names, "times faster than the fastest other"],
        rows,
    )
    report.data["steps"] = {
        t: {n: vars(spread) for n, spread in times.items()} for t, times in columns.items()
    }


def random_batches(shape: tuple[int, int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [count, BATCH, H, W, C] of random numbers in 0..1, and labels."""
    side, channels, classes = shape
    rng = np.random.default_rng(0)
    x = rng.random((count, BATCH, side, side, channels), np.float32)
    return x, rng.integers(0, classes, (count, BATCH))


def by_channels(report: Report, args: argparse.Namespace) -> None:
    """The first block alone: forward, and the gradients of its weights, by the number of channels."""
    from minicnn.engine import kernels
    from minicnn.engine.kernels.threads import set_threads

    set_threads(args.threads)
    rng = np.random.default_rng(0)
    contestants = {}
    for channels in CHANNELS:
        x = rng.random((BATCH, SIDE, SIDE, channels), np.float32)
        w = (0.1 * rng.standard_normal((5, 5, channels, FILTERS))).astype(np.float32)
        b = np.full(FILTERS, 0.1, np.float32)
        y, cache = kernels.conv_relu_pool_forward(x, w, b)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        forward = lambda x=x, w=w, b=b: kernels.conv_relu_pool_forward(x, w, b)  # noqa: E731
        backward = lambda dy=dy, cache=cache: kernels.conv_relu_pool_backward(dy, cache, False)  # noqa: E731
        contestants[f"forward {channels}"] = repeat(forward, times=3)
        contestants[f"backward {channels}"] = repeat(backward, times=3)
    times = race(contestants, args.rounds, rest=0)
    rows = []
    for channels in CHANNELS:
        flop = 2.0 * BATCH * SIDE * SIDE * 25 * channels * FILTERS
        forward, backward = (times[f"{way} {channels}"].median for way in ("forward", "backward"))
        speeds = [f"{flop / seconds / 1e9:.0f}" for seconds in (forward, backward)]
        rows.append([str(channels), ms(forward), speeds[0], ms(backward), speeds[1]])
    report.add(
        f"conv1 (5 x 5, {FILTERS} filters, ReLU, pool) on {SIDE} x {SIDE} images, {args.threads} threads",
        ["channels", "forward, ms", "GFLOP/s", "dw and db, ms", "GFLOP/s"],
        rows,
        "GFLOP/s as if every product were computed: backward leaves out zeros, and 16 channels and more are "
        "computed with fewer products (Winograd).",
    )
    report.data["channels"] = {name: vars(spread) for name, spread in times.items()}


if __name__ == "__main__":
    main()
