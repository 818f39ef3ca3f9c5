"""What a recipe reaches on the test images, over seeds, and how long it takes.

    python benchmarks/accuracy.py tutorial|fast|best|softmax [--seeds 0 1 2 3 4]

Every seed is a training of its own, by the command that a user would type. `tutorial` trains for 20,000
steps and is read off at 10,000 too: its learning rate does not depend on where it ends, so that is
what 10,000 steps reach. The JSON file has the curve of every seed.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, Report, cores

RECIPES = ("tutorial", "fast", "best", "softmax")
SEEDS = {"best": range(3)}  # five of the others
STEPS = {"tutorial": 20_000}  # where that is not the recipe's own number
LOG_EVERY = {"tutorial": 500}  # measuring 10,000 images takes as long as many steps
MARKS = {"tutorial": (10_000,)}  # steps to read off besides the last


def settings_of(recipe: str, quick: bool) -> dict[str, Any]:
    """What is trained: all settings but the seed."""
    from minicnn.runs.settings import settings_for

    model = "softmax" if recipe == "softmax" else "cnn"
    changes = {"steps": STEPS.get(recipe), "log_every": LOG_EVERY.get(recipe)}
    if quick:
        changes = {"steps": 20, "log_every": 10}
    given = {name: value for name, value in changes.items() if value is not None}
    named = "tutorial" if recipe == "softmax" else recipe
    return dataclasses.asdict(settings_for(model, named, **given))


def command_of(settings: dict[str, Any], seed: int, directory: Path, threads: int) -> list[str]:
    """The command that trains one seed."""
    words = [sys.executable, "-m", "minicnn", "train", "--quiet", "--run-dir", str(directory)]
    for name in ("model", "recipe", "steps", "log_every"):
        words += [f"--{name.replace('_', '-')}", str(settings[name])]
    return [*words, "--seed", str(seed), "--threads", str(threads)]


def train(settings: dict[str, Any], seed: int, threads: int) -> dict[str, Any]:
    """Train one seed in a process of its own.

    Returns its `curve` (rows of metrics.csv), its `validation` accuracy, and the `seconds` from the
    start of the process to its end. Raises RuntimeError with the process's words if it fails.
    """
    from minicnn import load_mnist, load_network

    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch, "run")
        start = time.perf_counter()
        done = subprocess.run(
            command_of(settings, seed, directory, threads), capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise RuntimeError(f"seed {seed}: exit code {done.returncode}: {done.stderr.strip()}")
        with open(directory / "metrics.csv", newline="") as file:
            curve = [{key: float(text) for key, text in row.items()} for row in csv.DictReader(file)]
        validation = load_mnist().validation
        guesses = load_network(directory / "checkpoint.safetensors").predict(validation.images)
        right = float((guesses.argmax(axis=1) == validation.labels).mean())
    return {"seed": seed, "seconds": seconds, "validation": right, "curve": curve}


def joined(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs in a file that this script has written. Raises ValueError if they had other settings."""
    data = json.loads(path.read_text())["data"]
    if data["settings"] != settings:
        raise ValueError(f"{path}: its runs had other settings")
    return data["runs"]


def at(run: dict[str, Any], step: int) -> dict[str, float]:
    """The row of a curve at a step."""
    return next(row for row in run["curve"] if row["step"] == step)


def summary(runs: Sequence[dict[str, Any]], step: int) -> dict[str, Any]:
    """Test accuracies after a step, over all seeds, and the median seconds that training had taken."""
    rows = [at(run, step) for run in runs]
    accuracies = [row["test_accuracy"] for row in rows]
    return {
        "step": step,
        "mean": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "minimum": min(accuracies),
        "maximum": max(accuracies),
        "accuracies": accuracies,
        "training_seconds": statistics.median(row["seconds"] for row in rows),
    }


def percent(fraction: float | None) -> str:
    """A fraction in per cent."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("recipe", choices=RECIPES)
    made.add_argument("--seeds", nargs="+", type=int, help="(0 1 2 3 4; best: 0 1 2)")
    made.add_argument("--threads", type=int, default=cores(), help="(all cores)")
    made.add_argument("--quick", action="store_true", help="see that it runs: 20 steps of two seeds")
    made.add_argument(
        "--join",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="train nothing: put the seeds of these files together",
    )
    made.add_argument("--output", type=Path, help="the JSON file (results/accuracy-RECIPE.json)")
    args = made.parse_args(argv)
    args.seeds = args.seeds or list(SEEDS.get(args.recipe, range(5)))
    if args.quick:
        args.seeds = args.seeds[:2]
    folder = RESULTS / "quick" if args.quick else RESULTS
    args.output = args.output or folder / f"accuracy-{args.recipe}.json"
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Train all seeds, print the table, write the JSON file."""
    args = parse(argv)
    report = Report("accuracy", __doc__ or "", args)
    settings = settings_of(args.recipe, args.quick)
    example = command_of(settings, args.seeds[0], Path("RUN"), args.threads)
    print(f"each seed: {shlex.join(['python', *example[1:]])}", flush=True)
    runs = [run for path in args.join or () for run in joined(path, settings)]
    args.seeds = [run["seed"] for run in runs] or args.seeds
    for seed in args.seeds[len(runs) :]:
        runs.append(train(settings, seed, args.threads))
        last = at(runs[-1], settings["steps"])
        print(
            f"seed {seed}: test {percent(last['test_accuracy'])} %, {runs[-1]['seconds']:.1f} s", flush=True
        )

    marks = () if args.quick else MARKS.get(args.recipe, ())
    found = [summary(runs, step) for step in (*marks, settings["steps"])]
    rows = [
        [
            f"{args.recipe}, {one['step']} steps of {settings['batch_size']}",
            *(percent(one[what]) for what in ("mean", "deviation", "minimum", "maximum")),
            " ".join(percent(accuracy) for accuracy in one["accuracies"]),
            f"{one['training_seconds']:.0f}",
        ]
        for one in found
    ]
    total = statistics.median(run["seconds"] for run in runs)
    seeds = " ".join(map(str, args.seeds))
    report.add(
        f"Accuracy on the 10,000 test images in per cent, seeds {seeds}, {args.threads} threads",
        ["recipe", "mean", "s.d.", "min", "max", "each seed", "seconds"],
        rows,
        f"Seconds: of training, with its log lines, in the median. From process start to process end, with "
        f"pictures: {total:.0f} s. Validation: {percent(statistics.mean(r['validation'] for r in runs))} %.",
    )
    report.data |= {"recipe": args.recipe, "settings": settings, "accuracy": found, "runs": runs}
    report.write()


if __name__ == "__main__":
    main()
