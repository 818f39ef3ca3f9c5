"""What a sweep has reached, for people and for programs: a table, two files of numbers and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from minicnn import pictures
from minicnn.storage.files import PathLike
from minicnn.storage.outputs import write_output
from minicnn.sweeps import table
from minicnn.sweeps.directory import CSV, PARQUET, PICTURE
from minicnn.sweeps.grid import Grid


class Report(NamedTuple):
    """What was found in the directory of a sweep."""

    lines: list[str]  # the table
    written: list[str]  # the files with the same, in the directory
    unfinished: list[table.Row]


def write_report(directory: PathLike, grid: Grid) -> Report:
    """Write what the runs have reached into the directory of the sweep.

    Raises OSError if that cannot be written.
    """
    place = Path(directory)
    rows = table.rows_of(place, grid)
    groups = table.groups_of(rows)
    lines = table.table_of(groups)
    contents = {CSV: table.as_csv(rows), PARQUET: table.as_parquet(rows)}
    written = []
    for name, content in contents.items():
        if content is not None:
            write_output(place / name, content)
            written.append(name)
    curves = [
        pictures.Curves(group.name, group.values, [row.metrics for row in group.complete]) for group in groups
    ]
    pictures.draw_sweep(curves, place / PICTURE)
    return Report(lines, [*written, PICTURE], [row for row in rows if not row.complete])
