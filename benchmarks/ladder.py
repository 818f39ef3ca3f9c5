"""The story of the speed in six lines: the tutorial's second convolution, each time done better.

    python benchmarks/ladder.py [--rounds N]

Convolution (batch 50, 14 x 14 x 32 -> 64, 5x5 SAME), ReLU and 2x2 max-pool, forward and backward:
naive loops, the same loops compiled, NumPy's im2col, compiled im2col with minicnn's matrix product, the
fused block without a patch matrix, and the same with Winograd's 36 products for 100. First, all must
agree. The naive loops work on a part of the batch, as small as patience demands, and their time is
scaled up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numba
import numpy as np
from common import Report, Spread, expect_close, ms, parse, parser, race, repeat, spread_ms

from minicnn.engine import kernels, reference
from minicnn.engine.kernels import winograd as winograd_kernels
from minicnn.engine.kernels.threads import set_threads
from minicnn.engine.workspace import Workspace

N, SIZE, C, F, K = 50, 14, 32, 64, 5
POOLED = SIZE // 2
FORWARD_FLOP = 2.0 * N * SIZE * SIZE * K * K * C * F
BACKWARD_FLOP = 2 * FORWARD_FLOP  # two gradients; as if dense

Arrays = tuple[np.ndarray, ...]


# --- the first two rungs --------------------------------------------------------------------------


def naive_forward(xpad, w, b, y, winner, rows):
    """The first `rows` rows of pooled pixels of every image of xpad, one product of two numbers at a time."""
    for n in range(len(xpad)):
        for p in range(rows):
            for q in range(y.shape[2]):
                for f in range(w.shape[3]):
                    y[n, p, q, f], winner[n, p, q, f] = 0, -1
                    for place in range(4):
                        i, j = 2 * p + place // 2, 2 * q + place % 2
                        total = b[f]
                        for u in range(w.shape[0]):
                            for v in range(w.shape[1]):
                                for c in range(w.shape[2]):
                                    total += xpad[n, i + u, j + v, c] * w[u, v, c, f]
                        if total > y[n, p, q, f]:
                            y[n, p, q, f], winner[n, p, q, f] = total, place


def naive_backward(xpad, w, dy, winner, dxpad, dw, db, rows):
    """Add up the gradients that come through those pixels. Zeros are multiplied like other numbers."""
    for n in range(len(xpad)):
        for p in range(rows):
            for q in range(dy.shape[2]):
                for f in range(w.shape[3]):
                    for place in range(4):
                        g = dy[n, p, q, f] if winner[n, p, q, f] == place else dy[n, p, q, f] * 0
                        i, j = 2 * p + place // 2, 2 * q + place % 2
                        db[f] += g
                        for u in range(w.shape[0]):
                            for v in range(w.shape[1]):
                                for c in range(w.shape[2]):
                                    dw[u, v, c, f] += g * xpad[n, i + u, j + v, c]
                                    dxpad[n, i + u, j + v, c] += g * w[u, v, c, f]


class Loops:
    """The naive loops on `images` images and `rows` of their 7 rows of pooled pixels."""

    def __init__(self, example: Arrays, images: int, rows: int, compiled: bool) -> None:
        x, self.w, self.b, dy = example
        self.rows, self.share = rows, images * rows / (N * POOLED)
        self.xpad = np.pad(x[:images], ((0, 0), (2, 2), (2, 2), (0, 0)))
        self.dy = dy[:images]
        self.y = np.zeros_like(self.dy)
        self.winner = np.zeros(self.dy.shape, np.int8)
        compile_ = numba.njit if compiled else lambda function: function
        self._forward, self._backward = compile_(naive_forward), compile_(naive_backward)

    def forward(self) -> np.ndarray:
        self._forward(self.xpad, self.w, self.b, self.y, self.winner, self.rows)
        return self.y

    def backward(self) -> Arrays:
        dxpad, dw, db = (np.zeros_like(a) for a in (self.xpad, self.w, self.b))
        self._backward(self.xpad, self.w, self.dy, self.winner, dxpad, dw, db, self.rows)
        return dxpad[:, 2:-2, 2:-2], dw, db


# --- the others -----------------------------------------------------------------------------------


class Layers:
    """Convolution, ReLU and pool from `ops`, in three calls or in one, with memory that is reused."""

    share = 1.0

    def __init__(self, example: Arrays, ops: Any, fused: bool, winograd: bool = True) -> None:
        self.x, self.w, self.b, self.dy = example
        self.ops, self.fused = ops, fused
        self.min_channels = winograd_kernels.MIN_CHANNELS if winograd else C + 1
        self.workspaces = [Workspace() for _ in range(3)]
        self.caches: list[Any] = []

    def _call(self, layer: int, function: Callable, *args: Any) -> Any:
        memory = {} if self.ops is reference else {"workspace": self.workspaces[layer]}
        return function(*args, **memory)

    def forward(self) -> np.ndarray:
        ops, call = self.ops, self._call
        if self.fused:
            with mock.patch.object(winograd_kernels, "MIN_CHANNELS", self.min_channels):
                y, cache = call(0, ops.conv_relu_pool_forward, self.x, self.w, self.b)
            self.caches = [cache]
            return y
        conv, conv_cache = call(0, ops.conv2d_forward, self.x, self.w, self.b)
        relu, relu_cache = call(1, ops.relu_forward, conv)
        y, pool_cache = call(2, ops.max_pool2d_forward, relu)
        self.caches = [conv_cache, relu_cache, pool_cache]
        return y

    def backward(self) -> Arrays:
        ops, call = self.ops, self._call
        if self.fused:
            return call(0, ops.conv_relu_pool_backward, self.dy, self.caches[0])
        drelu = call(2, ops.max_pool2d_backward, self.dy, self.caches[2])
        dconv = call(1, ops.relu_backward, drelu, self.caches[1])
        return call(0, ops.conv2d_backward, dconv, self.caches[0])


@dataclass
class Rung:
    """A way to do it, and how many threads and how much of the batch it takes."""

    name: str
    work: Any
    threads: int


def rungs(example: Arrays, threads: int, quick: bool) -> list[Rung]:
    images = 1 if quick else 10
    return [
        Rung("naive loops in Python", Loops(example, 1, 1, compiled=False), 1),
        Rung("the same loops, compiled", Loops(example, images, POOLED, compiled=True), 1),
        Rung("im2col in NumPy", Layers(example, reference, fused=False), threads),
        Rung("im2col compiled, register tile", Layers(example, kernels, fused=False), threads),
        Rung(
            "fused, no patch matrix, no zeros", Layers(example, kernels, fused=True, winograd=False), threads
        ),
        Rung("fused, and Winograd's forward", Layers(example, kernels, fused=True), threads),
    ]


# --- check and race -------------------------------------------------------------------------------


def make_example() -> Arrays:
    """x, w, b and dy of the second convolution, as after a ReLU: not negative, half of them zero."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((N, SIZE, SIZE, C), np.float32), 0)
    w = 0.1 * rng.standard_normal((K, K, C, F), np.float32)
    return x, w, np.full(F, 0.1, np.float32), rng.standard_normal((N, POOLED, POOLED, F), np.float32)


def check(rung: Rung, example: Arrays) -> None:
    """Raise DifferentResultsError unless the rung agrees with the reference, on the part that it does."""
    x, w, b, dy = example
    work = rung.work
    if isinstance(work, Loops):
        x, dy = x[: len(work.xpad)], dy[: len(work.xpad)].copy()
        dy[:, work.rows :] = 0
    y, cache = reference.conv_relu_pool_forward(x, w, b)
    got = work.forward()
    rows = work.rows if isinstance(work, Loops) else POOLED
    expect_close(f"{rung.name}, forward", got[:, :rows], y[:, :rows])
    gradients = reference.conv_relu_pool_backward(dy, cache)
    for name, mine, theirs in zip(("dx", "dw", "db"), work.backward(), gradients, strict=True):
        expect_close(f"{rung.name}, {name}", mine, theirs)


def add_table(report: Report, title: str, flop: float, rungs: list[Rung], times: dict[str, Spread]) -> None:
    rows, before = [], None
    for rung in rungs:
        spread, share = times[rung.name], rung.work.share
        seconds = spread.median / share
        factor = "" if before is None else f"{before / seconds:.1f}"
        part = "" if share == 1 else f"1/{1 / share:.0f}"
        whole = Spread(seconds, spread.lower / share, spread.upper / share, spread.count)
        speed = f"{flop / seconds / 1e9:.3g}"
        rows.append([rung.name, ms(seconds), spread_ms(whole), speed, factor, str(rung.threads), part])
        before = seconds
        report.data.setdefault(title, {})[rung.name] = {"seconds": seconds, "gflops": flop / seconds / 1e9}
    report.add(
        title,
        ["", "ms", "quartiles", "GFLOP/s", "times faster", "threads", "measured on"],
        rows,
        f"GFLOP/s as if nothing were skipped: {flop / 1e9:.2f} GFLOP. 'times faster' than the line above. "
        "'measured on' a part of the batch, and scaled.",
    )


def main() -> None:
    args = parse(parser(__doc__, rounds=30))
    set_threads(args.threads)
    report = Report("ladder", __doc__, args)
    example = make_example()
    ladder = rungs(example, args.threads, args.quick)
    for rung in ladder:
        check(rung, example)
    print("all agree", flush=True)

    # Seconds a turn in Python: three turns do.
    slow, fast = ladder[:1], ladder[1:]
    for title, method, flop in (
        ("Forward", "forward", FORWARD_FLOP),
        ("Backward", "backward", BACKWARD_FLOP),
    ):
        turns = {rung.name: repeat(getattr(rung.work, method)) for rung in fast}
        times = race({rung.name: repeat(getattr(rung.work, method), warmup=0) for rung in slow}, 3)
        times |= race(turns, args.rounds)
        add_table(report, f"{title}, batch {N}", flop, ladder, times)
    report.write()


if __name__ == "__main__":
    main()
