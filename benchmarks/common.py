"""What all benchmarks share: taking turns, medians, the machine's facts, tables and JSON.

A benchmark times its contestants in turn, a moment each, round after round, in a random order.
Whatever else the machine does then slows all of them alike. It reports medians, which a few disturbed
rounds do not move, with the quartiles beside them, and ratios of medians from one and the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from peers import Engine, Parameters, UnavailableError, Worker

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("numpy", "numba", "llvmlite", "torch", "tensorflow", "tensorflow-cpu", "jax")
REST = 0.2  # seconds between turns, in which the threads of the one before fall asleep
STEP_FLOP = 82.05e6  # of one image in one training step, as if dense: 2 for each product of two numbers
FORWARD_FLOP = 27.77e6  # of one image, forward

Contestant = Callable[[], Sequence[float]]  # one turn: the seconds of each thing it did


# --- the command line -----------------------------------------------------------------------------


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    made.add_argument("--rounds", type=int, default=rounds, help=f"turns of each contestant ({rounds})")
    made.add_argument("--threads", type=int, default=cores(), help="threads of each contestant (all cores)")
    made.add_argument("--quick", action="store_true", help="see that it runs: two rounds, less of all")
    made.add_argument("--only", nargs="+", metavar="WORD", help="engines with one of these in their names")
    made.add_argument("--output", type=Path, help="the JSON file (results/NAME.json; quick: results/quick/)")
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments; `--quick` leaves two rounds at most."""
    args = made.parse_args(argv)
    if args.rounds < 1 or args.threads < 1:
        made.error("--rounds and --threads: expected at least 1")
    if args.quick:
        args.rounds = min(2, args.rounds)
    # NumPy's own product, the yardstick, reads this when a worker imports NumPy.
    os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    return args


# --- the machine ----------------------------------------------------------------------------------


def processor() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def machine() -> dict[str, Any]:
    """What a reader must know to compare these results with others."""
    from minicnn import __version__
    from minicnn.engine.kernels.vector import VECTOR_BITS

    return {
        "processor": processor(),
        "cores": cores(),
        "vector_bits": VECTOR_BITS,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"minicnn": __version__, **versions()},
        "date": datetime.date.today().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),  # threads that wanted to run, last minute's mean
    }


def machine_line(facts: Mapping[str, Any]) -> str:
    """The machine in one line of text."""
    packages = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['vector_bits']}-bit vectors, "
        f"{facts['system']}; {packages}; {facts['date']}"
    )


# --- the contestants ------------------------------------------------------------------------------


class MatrixProduct(Engine):
    """The yardstick: NumPy's product of two large matrices, in the place of a training step."""

    name = "matrix product"
    SIZE: ClassVar[int] = 2048
    FLOP: ClassVar[float] = 2.0 * SIZE**3

    @classmethod
    def prepare(cls) -> None:
        """NumPy is there."""

    def __init__(
        self, parameters: Parameters, threads: int = 2, keep_prob: float = 0.5, learning_rate: float = 1e-4
    ) -> None:
        rng = np.random.default_rng(0)
        self.a, self.b = rng.random((2, self.SIZE, self.SIZE), np.float32)
        self.c = np.empty_like(self.a)

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        np.matmul(self.a, self.b, out=self.c)
        return 0.0

    def predict(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def parameters(self) -> Parameters:
        return {}


def chosen(engines: Sequence[type[Engine]], args: argparse.Namespace) -> list[type[Engine]]:
    """The engines that `--only` leaves; the first always stays, since the others are compared to it."""
    words = [word.lower() for word in args.only or [""]]
    return [e for i, e in enumerate(engines) if i == 0 or any(word in e.name.lower() for word in words)]


def start_workers(
    stack: contextlib.ExitStack,
    engines: Sequence[type[Engine]],
    parameters: Parameters,
    threads: int,
    keep_prob: float = 0.5,
) -> tuple[dict[str, Worker], dict[str, str]]:
    """A worker process for each engine that can run here; for the others, the reason why not.

    The processes end with `stack`.
    """
    workers, left_out = {}, {}
    for engine in engines:
        try:
            workers[engine.name] = stack.enter_context(Worker(engine, parameters, threads, keep_prob))
        except UnavailableError as reason:
            left_out[engine.name] = str(reason)
            print(f"left out: {engine.name}: {reason}", flush=True)
    return workers, left_out


def mnist_batches(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Training images [count, size, 28, 28, 1] as float32 in 0..1, and int64 labels [count, size].

    As many different ones as there are: a network that is shown a few batches again and again soon
    knows them by heart, and its gradients are zeros, which cost minicnn less than they cost others.
    """
    from minicnn.data import Batches, load_mnist, to_float

    train = load_mnist().train
    order = Batches(len(train), size, seed=0)
    count = min(count, len(train) // size)
    chosen = np.concatenate([order.indices(step) for step in range(count)])
    x = to_float(train.images[chosen]).reshape(count, size, 28, 28, 1)
    return x, train.labels[chosen].astype(np.int64).reshape(count, size)


# --- timing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """Seconds: the middle one of many, and the quarters' borders around it."""

    median: float
    lower: float
    upper: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        lower, median, upper = (float(q) for q in np.percentile(seconds, [25, 50, 75]))
        return cls(median, lower, upper, len(seconds))


def repeat(work: Callable[[], Any], times: int = 1, warmup: int = 1) -> Contestant:
    """A contestant whose turn is to do `work` a few times, after `warmup` unmeasured ones."""

    def turn() -> list[float]:
        for _ in range(warmup):
            work()
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return seconds

    return turn


def race(
    contestants: Mapping[str, Contestant | Worker], rounds: int, steps: int = 3, rest: float = REST
) -> dict[str, Spread]:
    """Let the contestants take turns, in an order that is drawn anew for every round.

    (A fixed order, even a rotating one, would let each suffer from the same predecessor's idle threads.)

    A `Worker`'s turn is `steps` training steps after one that is not measured.
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(names, len(names)):
            contestant = contestants[name]
            time.sleep(rest)
            if isinstance(contestant, Worker):
                seconds[name] += contestant.time_steps(steps)
            else:
                seconds[name] += contestant()
    return {name: Spread.of(times) for name, times in seconds.items()}


class DifferentResultsError(Exception):
    """Contestants that do not compute the same have no times to compare."""


def expect_close(name: str, got: Any, expected: Any, rtol: float = 1e-3, atol: float = 1e-3) -> None:
    """Raise DifferentResultsError unless |got - expected| <= atol * max|expected| + rtol * |expected|."""
    got, expected = np.asarray(got), np.asarray(expected)
    scale = float(np.abs(expected).max(initial=0.0))
    if got.shape != expected.shape or not np.allclose(got, expected, rtol, atol * scale):
        apart = np.abs(got - expected).max() if got.shape == expected.shape else "in shape"
        raise DifferentResultsError(f"{name}: differs by {apart}, of numbers up to {scale:g}")


# --- the report -----------------------------------------------------------------------------------


@dataclass
class Table:
    """Rows of text under column heads, with a title above and a note below."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""

    def text(self) -> str:
        """For a terminal: the first column to the left, numbers to the right."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        shown = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        shown.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
        return "\n".join([self.title, *shown, *([self.note] if self.note else [])])

    def markdown(self) -> str:
        """For RESULTS.md."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [f"| {' | '.join(line)} |" for line in (self.columns, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines, *(["", self.note] if self.note else [])])


class Report:
    """What one benchmark found: tables for people, `data` for programs.

    `name` is the script's, `about` its first line.
    """

    def __init__(self, name: str, about: str, args: argparse.Namespace) -> None:
        self.name, self.about, self.args = name, about.split("\n")[0], args
        self.machine, self.data = machine(), {}
        self.tables: list[Table] = []
        self.left_out: dict[str, str] = {}
        print(f"{self.about}\n{machine_line(self.machine)}", flush=True)
        if self.machine["load_before"] > 0.5:
            print(f"note: the machine is busy (load {self.machine['load_before']}): trust no time below")

    def add(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
        """Add a table and print it."""
        self.tables.append(Table(title, list(columns), [list(row) for row in rows], note))
        print(f"\n{self.tables[-1].text()}", flush=True)

    def write(self) -> Path:
        """Write the JSON file and say where it is."""
        folder = RESULTS / "quick" if self.args.quick else RESULTS
        path = self.args.output or folder / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "about": self.about,
            "command": f"python benchmarks/{self.name}.py {shlex.join(sys.argv[1:])}".strip(),
            "threads": self.args.threads,
            "machine": self.machine,
            "left_out": self.left_out,
            "tables": [vars(table) for table in self.tables],
            "data": self.data,
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
        print(f"\nwritten: {os.path.relpath(path)}")
        return path


def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{1000 * seconds:.1f}" if seconds >= 0.001 else f"{1000 * seconds:.3f}"


def spread_ms(spread: Spread) -> str:
    """The quartiles as milliseconds."""
    return f"{ms(spread.lower)} - {ms(spread.upper)}"


@contextlib.contextmanager
def saying(what: str) -> Iterator[None]:
    """Say what is going on, and how long it took."""
    print(f"{what} ...", end=" ", flush=True)
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:.1f} s", flush=True)
