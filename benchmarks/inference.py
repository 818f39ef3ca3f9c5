"""Recognising the 10,000 test images: minicnn's predict against PyTorch, TensorFlow and JAX.

    python benchmarks/inference.py [--rounds N]

minicnn gets all images at once, as its users would hand them over; it cuts them up itself. Each peer
gets them in pieces of the size that suits it best, which a short trial finds. First, all probabilities
must agree.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import peers
from common import (
    FORWARD_FLOP,
    MatrixProduct,
    Report,
    chosen,
    expect_close,
    ms,
    parse,
    parser,
    race,
    saying,
    spread_ms,
    start_workers,
)
from ours import Minicnn
from peers import Engine, Worker, example_parameters

PIECES = (50, 100, 200, 500, 1000)  # images; the trial chooses among them


class Predicts:
    """Turns a training contestant into one whose step is to predict."""

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        self.predict(x)
        return 0.0


class MinicnnPredicts(Predicts, Minicnn):
    """`Sequential.predict`, which returns probabilities."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.network.predict(x)


class PyTorchPredicts(Predicts, peers.PyTorch):
    pass


class PyTorchChannelsLastPredicts(Predicts, peers.PyTorchChannelsLast):
    pass


class PyTorchCompiledPredicts(Predicts, peers.PyTorchCompiled):
    """The peer compiles its training step; this one its prediction."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        if not hasattr(self, "_compiled"):
            self._compiled = self.torch.compile(self.model, dynamic=False)
        self.model.eval()
        with self.torch.inference_mode():
            return self._compiled(self._images(x)).numpy()


class TensorFlowPredicts(Predicts, peers.TensorFlow):
    pass


class TensorFlowXLAPredicts(Predicts, peers.TensorFlowXLA):
    pass


class JaxPredicts(Predicts, peers.Jax):
    pass


ENGINES: list[type[Engine]] = [
    MinicnnPredicts,
    PyTorchPredicts,
    PyTorchChannelsLastPredicts,
    PyTorchCompiledPredicts,
    TensorFlowPredicts,
    TensorFlowXLAPredicts,
    JaxPredicts,
]


def main() -> None:
    made = parser(__doc__, rounds=15)
    args = parse(made)
    report = Report("inference", __doc__, args)
    images = test_images()[: 1000 if args.quick else None]  # [count, 28, 28, 1]
    with contextlib.ExitStack() as stack:
        engines = [*chosen(ENGINES, args), MatrixProduct]
        workers, report.left_out = start_workers(stack, engines, example_parameters(), args.threads)
        yardstick = workers.pop(MatrixProduct.name)
        check(workers, images)
        pieces = {name: len(images) for name in workers}
        for name, worker in workers.items():
            if name != Minicnn.name:
                with saying(f"the best piece for {name}"):
                    pieces[name] = best_piece(worker, images, PIECES[1:3] if args.quick else PIECES)
            feed(worker, images, pieces[name])
        yardstick.feed(*in_pieces(images, len(images)))
        turns = {name: whole_set(worker, len(images) // pieces[name]) for name, worker in workers.items()}
        times = race({**turns, MatrixProduct.name: yardstick}, args.rounds)
    peak = MatrixProduct.FLOP / times.pop(MatrixProduct.name).median
    fastest = min(times.keys() - {Minicnn.name}, key=lambda name: times[name].median, default=Minicnn.name)
    rows = []
    for name in sorted(times, key=lambda name: times[name].median):
        spread = times[name]
        ratio, speed = times[fastest].median / spread.median, FORWARD_FLOP * len(images) / spread.median
        own_pieces = "its own" if name == Minicnn.name else str(pieces[name])
        rows.append(
            [
                name,
                ms(spread.median),
                spread_ms(spread),
                f"{ratio:.2f}",
                f"{len(images) / spread.median:,.0f}",
                f"{speed / 1e9:.0f}",
                f"{speed / peak:.0%}",
                own_pieces,
            ]
        )
    report.add(
        f"Predicting {len(images):,} images, {args.threads} threads",
        ["engine", "ms", "quartiles", f"speed, {fastest} = 1", "images/s", "GFLOP/s", "of peak", "pieces"],
        rows,
        f"{args.rounds} times each, in turn. {FORWARD_FLOP / 1e6} MFLOP an image. Peak: NumPy's product of "
        f"two large float32 matrices in the same run, {peak / 1e9:.0f} GFLOP/s.",
    )
    report.data |= {
        "fastest_peer": fastest,
        "engines": {name: vars(spread) for name, spread in times.items()},
    }
    report.write()


def test_images() -> np.ndarray:
    """MNIST's test images as floats [10000, 28, 28, 1]."""
    from minicnn.data import load_mnist, to_float

    return to_float(load_mnist().test.images)


def check(workers: dict[str, Worker], images: np.ndarray) -> None:
    """Raise DifferentResultsError unless all probabilities agree to 0.001 of the largest."""
    some = images[:500]
    expected = workers[Minicnn.name].predict(some)
    for name, worker in workers.items():
        if name != Minicnn.name:
            with saying(f"the same probabilities: {name}"):
                expect_close(name, softmax(worker.predict(some)), expected)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def in_pieces(images: np.ndarray, piece: int) -> tuple[np.ndarray, np.ndarray]:
    """Images as "batches" for a worker, with labels that nobody looks at."""
    x = images.reshape(-1, piece, *images.shape[1:])
    return x, np.zeros(x.shape[:2], np.int64)


def feed(worker: Worker, images: np.ndarray, piece: int) -> None:
    worker.feed(*in_pieces(images, piece))
    worker.time_steps(1)  # compiles for this size


def best_piece(worker: Worker, images: np.ndarray, pieces: tuple[int, ...]) -> int:
    """The size of piece at which the worker needs least time per image, the best of three for each."""
    seconds = {}
    for piece in pieces:
        feed(worker, images, piece)
        steps = max(1, 1000 // piece)
        seconds[piece] = min(sum(worker.time_steps(steps)) / (steps * piece) for _ in range(3))
    return min(seconds, key=lambda piece: seconds[piece])


def whole_set(worker: Worker, pieces: int) -> Any:
    """A turn: all images once, piece by piece, after one piece that is not measured."""
    return lambda: [sum(worker.time_steps(pieces))]


if __name__ == "__main__":
    main()
