"""What the runs of a sweep have reached: a row for each, and one for each setting over its seeds."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.storage.files import PathLike
from minicnn.sweeps.directory import is_complete, metrics_of
from minicnn.sweeps.grid import Cell, Grid

CONFIDENCE = 0.95
NOTE = "±: 95 % confidence interval of the mean over seeds (Student's t)"


@dataclass(frozen=True)
class Row:
    """One cell, and what its run has measured so far: the columns of its metrics.csv."""

    cell: Cell
    metrics: Mapping[str, np.ndarray]
    complete: bool

    @property
    def step(self) -> int:
        """The last step that was measured; 0 if there is none."""
        return int(self.metrics["step"][-1]) if len(self.metrics["step"]) else 0

    def last(self, column: str) -> float:
        """The last value in a column; NaN if there is none."""
        values = self.metrics[column]
        return float(values[-1]) if len(values) else float("nan")


@dataclass(frozen=True)
class Group:
    """The cells that differ in their seeds only. Accuracies are fractions; those of complete runs count."""

    values: Mapping[str, Any]  # of what is varied, besides the seed
    rows: Sequence[Row]

    @property
    def complete(self) -> list[Row]:
        """The complete runs."""
        return [row for row in self.rows if row.complete]

    @property
    def accuracies(self) -> list[float]:
        """Their test accuracies."""
        return [row.last("test_accuracy") for row in self.complete]

    @property
    def mean(self) -> float:
        """The mean of the accuracies; NaN if there are none."""
        return statistics.mean(self.accuracies) if self.accuracies else float("nan")

    @property
    def margin(self) -> float:
        """Half the width of the 95 % confidence interval of the mean, by Student's t; NaN for one run."""
        found = self.accuracies
        if len(found) < 2:
            return float("nan")
        from scipy.special import stdtrit

        quantile = float(stdtrit(len(found) - 1, (1 + CONFIDENCE) / 2))
        return quantile * statistics.stdev(found) / len(found) ** 0.5

    @property
    def seconds(self) -> float:
        """The median seconds of training; NaN if no run is complete."""
        found = [row.last("seconds") for row in self.complete]
        return statistics.median(found) if found else float("nan")

    @property
    def name(self) -> str:
        """The values in words; "all" if only seeds are varied."""
        return ", ".join(f"{name} {value}" for name, value in self.values.items()) or "all"


def rows_of(directory: PathLike, grid: Grid) -> list[Row]:
    """A row for each cell of a sweep."""
    return [Row(cell, metrics_of(directory, cell), is_complete(directory, cell)) for cell in grid.cells]


def groups_of(rows: Sequence[Row]) -> list[Group]:
    """The rows by setting, the best mean first, and what has no result yet last."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(repr(_without_seed(row.cell)), []).append(row)
    groups = [Group(_without_seed(rows[0].cell), rows) for rows in found.values()]
    return sorted(groups, key=lambda group: -group.mean if group.accuracies else 1.0)


def _without_seed(cell: Cell) -> dict[str, Any]:
    return {name: value for name, value in cell.values.items() if name != "seed"}


def table_of(groups: Sequence[Group]) -> list[str]:
    """The groups as lines of text, with a note on the interval, and the best run."""
    head = ["setting", "runs", "mean", "±", "worst", "best", "seconds"]
    lines = [head]
    for group in groups:
        found = group.accuracies
        ends = [percent(min(found)), percent(max(found))] if found else ["-", "-"]
        runs = f"{len(found)} of {len(group.rows)}"
        seconds = f"{group.seconds:.0f}" if found else "-"
        lines.append([group.name, runs, percent(group.mean), percent(group.margin), *ends, seconds])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    shown = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    best = max((row for group in groups for row in group.complete), key=_accuracy, default=None)
    if best is not None:
        shown += ["", NOTE, f"best run: {best.cell.name}, {percent(_accuracy(best))}"]
    return shown


def _accuracy(row: Row) -> float:
    return row.last("test_accuracy")


def percent(fraction: float) -> str:
    """A fraction as "99.21 %"; "-" for NaN."""
    return f"{100 * fraction:.2f} %" if fraction == fraction else "-"


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What a program needs to know of each cell: its values, and what its run has reached."""
    return [
        {
            "run": row.cell.name,
            **row.cell.values,
            "complete": row.complete,
            "step": row.step,
            "test_accuracy": _accuracy(row) if row.step else None,
            "seconds": row.last("seconds") if row.step else None,
        }
        for row in rows
    ]


def as_csv(rows: Sequence[Row]) -> bytes:
    """The records as CSV, with a header."""
    found = records(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().encode()


def as_parquet(rows: Sequence[Row]) -> bytes | None:
    """The records as a parquet file; None where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return None
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records(rows)), sink)
    return bytes(sink.getvalue())
