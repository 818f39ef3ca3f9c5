"""What lies in the directory of a sweep.

    sweep.json      what is varied, and the settings that are the same for all runs
    .lock           empty; locked while a process conducts the sweep
    NAME/           a run for each cell, as `minicnn train` makes it: recipe=fast,seed=3
    sweep.csv       a row for each run; sweep.parquet too, if pyarrow is installed
    sweep.png       the same as a picture

A sweep that is called again finds all it needs here: runs that are complete are left alone, the others begin
or resume.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from minicnn._version import __version__
from minicnn.pictures import read_metrics
from minicnn.runs.directory import METRICS, RunError, alone_in, reason, writing
from minicnn.storage import limits
from minicnn.storage.files import PathLike, make_directory, read_regular, write_whole
from minicnn.storage.outputs import CONFIG, PICTURES
from minicnn.sweeps.grid import Cell, Grid

PLAN = "sweep.json"
CSV, PARQUET, PICTURE = "sweep.csv", "sweep.parquet", "sweep.png"


def read_grid(directory: PathLike) -> Grid:
    """The grid of the sweep in a directory. Raises RunError if there is none, or it cannot be used."""
    path = Path(directory) / PLAN
    try:
        plan = json.loads(read_regular(path, limits.CONFIG))
        return Grid(dict(plan["given"]), {name: list(values) for name, values in plan["varied"].items()})
    except FileNotFoundError:
        raise RunError(f"{directory}: holds no sweep (no {PLAN} in it)") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: {reason(error)}") from None


@contextlib.contextmanager
def conducting(directory: PathLike, grid: Grid) -> Iterator[None]:
    """Make the directory that of this sweep, which nobody else may conduct meanwhile.

    The grid may differ from the one that is there, as long as every run that has begun belongs to it. Raises
    RunError if it does not, if another process conducts the sweep, or if the directory holds something else.
    """
    path = Path(directory)
    with writing(path), contextlib.suppress(FileExistsError):
        make_directory(path)
    if not path.is_dir():
        raise RunError(f"{path}: expected a directory, got a file")
    if (path / CONFIG).exists():
        raise RunError(f"{path}: holds a run; choose another directory for the sweep")
    with alone_in(path, "conducting this sweep"):
        if (path / PLAN).exists():
            _expect_all_begun(path, grid)
        else:
            _expect_nothing_to_replace(path)
        plan = {"minicnn": __version__, "given": dict(grid.given), "varied": dict(grid.varied)}
        with writing(path):
            write_whole(path / PLAN, f"{json.dumps(plan, indent=2)}\n".encode())
        yield


def _expect_all_begun(directory: Path, grid: Grid) -> None:
    wanted = {cell.name: cell.settings for cell in grid.cells}
    for cell in read_grid(directory).cells:
        if wanted.get(cell.name) != cell.settings and (directory / cell.name).exists():
            raise RunError(
                f"{directory}: holds another sweep, with {cell.name}; leave out all settings to finish "
                "that one, or choose another --dir"
            )


def _expect_nothing_to_replace(directory: Path) -> None:
    for name in (CSV, PARQUET, PICTURE):
        if (directory / name).exists():
            raise RunError(f"{directory}: already holds a {name}; choose another directory for the sweep")


def step_of(directory: PathLike, cell: Cell) -> int:
    """The last step that the run of a cell has measured; 0 if there is none, or it cannot be read."""
    try:
        text = read_regular(Path(directory) / cell.name / METRICS, limits.METRICS)
        return int(text.split(b"\n")[-2].split(b",")[0])
    except (OSError, ValueError, IndexError):
        return 0


def metrics_of(directory: PathLike, cell: Cell) -> Mapping[str, np.ndarray]:
    """The columns of a cell's metrics.csv, as `read_metrics` returns them; empty if they cannot be used."""
    with contextlib.suppress(OSError, ValueError):
        metrics = read_metrics(Path(directory) / cell.name / METRICS)
        if all(0 <= accuracy <= 1 for accuracy in metrics["test_accuracy"]):
            return metrics
    return {"step": np.zeros(0, np.int64), "test_accuracy": np.zeros(0), "seconds": np.zeros(0)}


def is_complete(directory: PathLike, cell: Cell) -> bool:
    """Whether the run of a cell has made all its steps, and everything of it is on the disk."""
    path = Path(directory) / cell.name
    steps = metrics_of(directory, cell)["step"]
    pictures = all((path / name).exists() for name in PICTURES)  # drawn when all else is there
    return pictures and steps[-1:].tolist() == [cell.settings.steps]
