"""A sweep against the same runs started by hand, as many `minicnn train` at once.

    python benchmarks/sweep.py [--rounds N]

Both train the same seeds, as many at once as there are cores, each on one thread, from the start of the first
process to the end of the last. By hand, whoever is free takes the next seed. What is compared first is the
result: the weights of every seed, bit for bit.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import DifferentResultsError, Report, parse, parser, race

MINICNN = [sys.executable, "-m", "minicnn"]


def minicnn(*words: str) -> None:
    """Run the command. Raises RuntimeError with its last words if it fails."""
    done = subprocess.run([*MINICNN, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"minicnn {words[0]} failed: {done.stderr.strip()[-500:]}")


def by_hand(directory: Path, args: argparse.Namespace) -> None:
    """Train all seeds with `minicnn train`, as many at once as there are slots."""

    def train(seed: int) -> None:
        name = str(directory / f"seed={seed}")
        steps = ("--steps", str(args.steps), "--recipe", args.recipe)
        minicnn("train", *steps, "--seed", str(seed), "--threads", "1", "--quiet", "--run-dir", name)

    with concurrent.futures.ThreadPoolExecutor(args.threads) as slots:
        list(slots.map(train, range(args.seeds)))


def as_a_sweep(directory: Path, args: argparse.Namespace) -> None:
    """The same with `minicnn sweep`."""
    what = ("--seeds", f"0-{args.seeds - 1}", "--recipe", args.recipe, "--set", f"steps={args.steps}")
    how = ("--at-once", str(args.threads), "--threads", "1", "--quiet", "--dir", str(directory))
    minicnn("sweep", *what, *how)


def weights(directory: Path) -> str:
    """A digest of the weights of all runs in a directory."""
    from minicnn import load_network

    digest = hashlib.sha256()
    for path in sorted(directory.glob("seed=*/checkpoint.safetensors")):
        digest.update(path.parent.name.encode())
        for name, array in sorted(load_network(path).arrays().items()):
            digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def timed(
    work: Callable[[Path, argparse.Namespace], None], args: argparse.Namespace, found: list[str]
) -> Sequence[float]:
    """The seconds of one turn; the digest of its weights is added to `found`."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        work(Path(scratch), args)
        seconds = time.perf_counter() - start
        found.append(weights(Path(scratch)))
    return [seconds]


def main(argv: Sequence[str] | None = None) -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--recipe", default="fast", help="(fast)")
    made.add_argument("--seeds", type=int, default=6, help="runs (6)")
    made.add_argument("--steps", type=int, default=800, help="steps of each run (800)")
    args = parse(made, argv)
    if args.quick:
        args.rounds, args.seeds, args.steps = 1, 2, 5
    report = Report("sweep", __doc__, args)
    found: list[str] = []
    contestants = {
        "by hand": lambda: timed(by_hand, args, found),
        "minicnn sweep": lambda: timed(as_a_sweep, args, found),
    }
    race({"compile kernels": contestants["by hand"]}, rounds=1)
    times = race(contestants, args.rounds)
    if len(set(found)) != 1:
        raise DifferentResultsError("the weights of a sweep are not those of the same runs by hand")
    hand = times["by hand"].median
    rows = [
        [
            name,
            f"{one.median:.1f}",
            f"{one.lower:.1f} - {one.upper:.1f}",
            f"{100 * (one.median / hand - 1):+.1f} %",
        ]
        for name, one in times.items()
    ]
    report.add(
        f"Seconds for {args.seeds} runs of {args.steps} steps (`{args.recipe}`), {args.threads} at once",
        ["", "seconds", "quartiles", "overhead"],
        rows,
        f"Medians of {args.rounds} turns. All weights are equal, bit for bit.",
    )
    report.data |= {name: vars(one) for name, one in times.items()}
    report.write()


if __name__ == "__main__":
    main()
