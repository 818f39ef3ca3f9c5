"""Write data/accuracy.json: the long runs that the notebooks quote instead of training for an hour.

    python notebooks/make_data.py benchmarks/results/accuracy-tutorial.json
    python notebooks/make_data.py RUN RUN ...

The first takes the file that `python benchmarks/accuracy.py tutorial` has written, the second run
directories of `python -m minicnn`, one for each seed. All runs must have the same settings but for
their seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from minicnn import __version__
from minicnn.pictures.curves import read_metrics
from minicnn.runs.directory import METRICS, read_config

OUTPUT = Path(__file__).parent / "data" / "accuracy.json"
COLUMNS = ("loss", "training_accuracy", "test_accuracy")


def from_run(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a run directory, and its seed and curves."""
    settings = dataclasses.asdict(read_config(directory)[0])
    metrics = read_metrics(directory / METRICS)
    curve = {"step": metrics["step"].tolist()} | {name: metrics[name].tolist() for name in COLUMNS}
    return settings, {"seed": settings["seed"], **curve}


def from_benchmark(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The settings of an accuracy benchmark, its seeds with their curves, and the command that made it."""
    content = json.loads(path.read_text())
    runs = []
    for run in content["data"]["runs"]:
        rows = run["curve"]
        curve = {"step": [int(row["step"]) for row in rows]}
        runs.append({"seed": run["seed"], **curve} | {name: [row[name] for row in rows] for name in COLUMNS})
    command = f"python benchmarks/accuracy.py {content['data']['recipe']}"
    return content["data"]["settings"], runs, command


def from_runs(directories: list[Path]) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The same for run directories. Raises ValueError if their settings differ in more than the seed."""
    found = [from_run(directory) for directory in directories]
    settings, runs = found[0][0], [run for _, run in found]
    for directory, (other, _) in zip(directories, found, strict=True):
        if other | {"seed": 0} != settings | {"seed": 0}:
            raise ValueError(f"{directory}: its settings differ from those of {directories[0]}")
    words = (f"--{name.replace('_', '-')} {settings[name]}" for name in ("model", "recipe", "steps"))
    return settings, runs, f"python -m minicnn train {' '.join(words)} --seed SEED"


def rounded(run: dict[str, Any]) -> dict[str, Any]:
    """A run with five digits for every number, which is what its 10,000 test images can tell apart."""
    return run | {name: [float(f"{value:.5g}") for value in run[name]] for name in COLUMNS}


def main() -> None:
    """Read what was named on the command line and write OUTPUT."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sources", nargs="+", type=Path, help="one JSON file, or run directories")
    sources = parser.parse_args().sources
    one_file = len(sources) == 1 and sources[0].is_file()
    settings, runs, command = from_benchmark(sources[0]) if one_file else from_runs(sources)
    seeds = [run["seed"] for run in runs]
    if len(set(seeds)) < max(2, len(seeds)):
        raise ValueError(f"expected at least two runs, each with its own seed, got seeds {seeds}")
    settings = {name: value for name, value in settings.items() if name not in ("seed", "data")}
    content = {"command": command, "minicnn": __version__, "settings": settings}
    content["runs"] = [rounded(run) for run in sorted(runs, key=lambda run: run["seed"])]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(content) + "\n")
    print(f"{OUTPUT.name}: {settings['steps']} steps, seeds {seeds}, {OUTPUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
