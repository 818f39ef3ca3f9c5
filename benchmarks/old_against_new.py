"""Another version of minicnn against this one: training steps, recognising, a whole short run.

    git worktree add ../baseline COMMIT
    python benchmarks/old_against_new.py ../baseline [--rounds N]

Each version lives in worker processes of its own, which import minicnn from its checkout, and the two
take turns as engines and peers do. First both make three steps without dropout, and must agree.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, Report, Spread, expect_close, mnist_batches, ms, parse, parser, race, spread_ms
from inference import Predicts, in_pieces, test_images
from memory import peak_of
from peers import Engine, Parameters, Worker, example_parameters

CHECKOUT = "MINICNN_CHECKOUT"  # in a worker's environment: where its minicnn must come from
BATCHES = (50, 1, 10)
STEPS = 3  # measured steps in a turn


# --- in the workers -------------------------------------------------------------------------------


class Version(Engine):
    """minicnn from one checkout. Finds out itself how that version makes a training step."""

    @classmethod
    def prepare(cls) -> None:
        import minicnn

        found = Path(minicnn.__file__).resolve().parents[1]
        if found != Path(os.environ[CHECKOUT]):
            raise ImportError(f"expected minicnn of {os.environ[CHECKOUT]}, got that of {found}")

    def __init__(
        self, parameters: Parameters, threads: int = 2, keep_prob: float = 0.5, learning_rate: float = 1e-4
    ) -> None:
        import minicnn

        try:
            importlib.import_module("minicnn.engine.kernels")
        except ImportError:  # before the engine had a folder
            importlib.import_module("minicnn.kernels")
        import numba  # after the kernels, which load its threads in their own way

        numba.set_num_threads(threads)
        self.network = minicnn.tutorial_network(keep_prob=keep_prob)
        self.network.load_values(parameters)
        self.loss = minicnn.SoftmaxCrossEntropy("sum")
        self.optimizer = minicnn.Adam(self.network.parameters(), learning_rate)
        self._train_step = getattr(minicnn, "train_step", train_step)

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        return self._train_step(self.network, self.loss, self.optimizer, x, labels)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.network.predict(x)

    def parameters(self) -> Parameters:
        return {p.name: p.value.copy() for p in self.network.parameters()}


def train_step(network: Any, loss: Any, optimizer: Any, x: np.ndarray, labels: np.ndarray) -> float:
    """The training step of a version from before `minicnn.train_step`, as its runs made it."""
    value = loss.forward(network.forward(x, training=True), labels)
    if not (np.isfinite(value) and network.values.min() > -np.inf):
        raise ArithmeticError("the training diverged")
    options = {"factored": True} if "factored" in inspect.signature(network.backward).parameters else {}
    network.backward(loss.backward(), input_gradient=False, **options)
    optimizer.step()
    return value


class Old(Version):
    name = "old"


class New(Version):
    name = "new"


class OldPredicts(Predicts, Old):
    pass


class NewPredicts(Predicts, New):
    pass


# --- in the parent --------------------------------------------------------------------------------


def main() -> None:
    made = parser(__doc__, rounds=60)
    made.add_argument("baseline", type=Path, help="a checkout of the version to compare with")
    args = parse(made)
    for engine, checkout in ((Old, args.baseline.resolve()), (New, HERE.parent)):
        if not (checkout / "minicnn" / "__init__.py").exists():
            made.error(f"{checkout}: no minicnn in it")
        engine.environment = {"PYTHONPATH": str(checkout), CHECKOUT: str(checkout)}
    report = Report("old_against_new", __doc__, args)
    check(args.threads)
    rows = []
    for size in BATCHES:
        with workers(Old, New, threads=args.threads) as pair:
            for worker in pair.values():
                worker.feed(*mnist_batches((args.rounds + 1) * (STEPS + 1), size))
                worker.time_steps(STEPS)  # compiles
            rows.append(row(report, f"training step, batch {size}", race(pair, args.rounds, STEPS)))
    images = test_images()[: 1000 if args.quick else None]
    with workers(OldPredicts, NewPredicts, threads=args.threads) as pair:
        for worker in pair.values():
            worker.feed(*in_pieces(images, len(images)))
            worker.time_steps(1)
        rows.append(row(report, f"recognising {len(images):,} images", race(pair, args.rounds // 4 + 1, 1)))
    report.add(
        f"Milliseconds, {args.threads} threads",
        ["", "old", "quartiles", "new", "quartiles", "speed, old = 1"],
        rows,
        f"Medians. Old: {args.baseline.name}. A step of both includes the check for numbers out of range.",
    )
    whole_runs(report, args)
    report.write()


@contextlib.contextmanager
def workers(*engines: type[Engine], threads: int, keep_prob: float = 0.5) -> Any:
    """A worker process for each engine, by name."""
    with contextlib.ExitStack() as stack:
        start = example_parameters()
        yield {e.name: stack.enter_context(Worker(e, start, threads, keep_prob)) for e in engines}


def check(threads: int) -> None:
    """Raise DifferentResultsError unless both train alike; say whether to the last bit."""
    batches = list(zip(*mnist_batches(3, BATCHES[0]), strict=True))
    with workers(Old, New, threads=threads, keep_prob=1.0) as pair:
        losses = {name: [worker.step(*batch) for batch in batches] for name, worker in pair.items()}
        old, new = (np.concatenate([p.ravel() for p in w.parameters().values()]) for w in pair.values())
    expect_close("losses", losses["new"], losses["old"], rtol=1e-4, atol=0)
    expect_close("parameters after three steps", new, old)
    same = losses["new"] == losses["old"] and np.array_equal(new, old)
    apart = np.abs(new - old).max()
    print("three steps: the same bits" if same else f"three steps: parameters differ by up to {apart:.1e}")


def row(report: Report, what: str, times: dict[str, Spread]) -> list[str]:
    """A line of the table; the numbers go to the report's data, too."""
    old, new = times["old"], times["new"]
    report.data[what] = {name: vars(spread) for name, spread in times.items()}
    return [what, ms(old.median), spread_ms(old), ms(new.median), spread_ms(new), ratio(old, new)]


def ratio(old: Spread, new: Spread) -> str:
    return f"{old.median / new.median:.3f}"


# --- a run of a few steps, as a user starts it ----------------------------------------------------


def whole_runs(report: Report, args: argparse.Namespace) -> None:
    """The table of `minicnn train --steps 20`: kernels compiled, or in the cache, and the largest memory."""
    peaks: dict[str, dict[str, list[float]]] = {"cold": {}, "warm": {}}
    with tempfile.TemporaryDirectory() as scratch:

        def contestant(engine: type[Engine], kind: str) -> Any:
            def turn() -> list[float]:
                seconds, peak = train(engine, args.threads, Path(scratch), kind == "cold")
                peaks[kind].setdefault(engine.name, []).append(peak)
                return [seconds]

            return turn

        rounds = {"cold": 1 if args.quick else 3, "warm": 1 if args.quick else 7}
        rows = []
        for kind in peaks:
            if kind == "warm":  # fill the caches
                for engine in (Old, New):
                    train(engine, args.threads, Path(scratch), cold=False)
            times = race({e.name: contestant(e, kind) for e in (Old, New)}, rounds[kind], rest=1.0)
            old, new = times["old"], times["new"]
            megabytes = [float(np.median(peaks[kind][name])) for name in ("old", "new")]
            shown = [f"{old.median:.2f}", f"{new.median:.2f}", ratio(old, new)]
            rows.append([kind, *shown, *(f"{peak:.0f}" for peak in megabytes)])
            report.data[f"run, {kind}"] = {name: vars(spread) for name, spread in times.items()}
            report.data[f"peak megabytes, {kind}"] = peaks[kind]
    report.add(
        f"`minicnn train --steps 20`, {args.threads} threads",
        ["kernels", "old, s", "new, s", "speed, old = 1", "old, MB", "new, MB"],
        rows,
        "From the start of the process to its end, with pictures. Cold: the kernels must be compiled.",
    )


def train(engine: type[Engine], threads: int, scratch: Path, cold: bool) -> tuple[float, float]:
    """The seconds and the largest memory, in megabytes, of a run; with an empty cache if `cold`."""
    directory = tempfile.mkdtemp(dir=scratch)  # to start in: Python looks for minicnn there first
    cache = f"{directory if cold else scratch}/cache of {engine.name}"
    environment = {**os.environ, **engine.environment, "NUMBA_CACHE_DIR": cache}
    words = ["train", "--quiet", "--steps", "20", "--threads", str(threads), "--run-dir", "run"]
    start = time.perf_counter()
    peak = peak_of(words, environment, directory)
    return time.perf_counter() - start, peak


if __name__ == "__main__":
    sys.exit(main())
