"""A folder of pictures with a table of their labels: `labels.csv`.

    file,label
    0001.png,cat
    0002.png,dog

The header may be missing, the columns may come in any order, and others beside them are ignored. The column
of files is the one whose cells are names of pictures in the folder, with or without their ending.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

from minicnn.data.idx import DataError
from minicnn.data.sources.folders import class_folders
from minicnn.data.sources.found import LABELS, SPLITS, Found, Part, numbered
from minicnn.data.sources.pictures import ENDINGS, Pictures, found_of
from minicnn.storage import limits
from minicnn.storage.files import read_regular

TABLE = "labels.csv"


class Labelled(NamedTuple):
    """Pictures and the names of their classes."""

    files: list[Path]
    labels: list[str]


def find_labelled(directory: Path, size: int | None) -> Found | None:
    """Read the pictures below a directory, if it has a `labels.csv`, or its train/ has one.

    Raises DataError, naming the row or the picture.
    """
    tables = {
        which: directory / name
        for which, names in SPLITS.items()
        for name in names
        if has_labels(directory / name)
    }
    if has_labels(directory):
        tables = {"train": directory}
    if "train" not in tables:
        return None
    read = {which: read_labels(place) for which, place in tables.items()}
    numbers, names = numbered({which: part.labels for which, part in read.items()})
    parts = {}
    for which, part in read.items():
        pictures = Pictures(tables[which], size, len(part.files))
        for file in part.files:
            pictures.add(file)
        parts[which] = Part(pictures.stacked(), numbers[which], tables[which], tables[which] / TABLE)
    return found_of(f"pictures with {TABLE}", parts, names)


def has_labels(directory: Path) -> bool:
    """Whether a directory has a `labels.csv` that is about pictures in it, not about class folders."""
    if not os.path.lexists(directory / TABLE):
        return False
    return bool(pictures_in(directory)) or sum(map(bool, class_folders(directory).values())) < 2


def pictures_in(directory: Path) -> list[str]:
    """The names of the pictures in a directory, in order."""
    return sorted(name for name in os.listdir(directory) if name.lower().endswith(ENDINGS))


def read_labels(directory: Path) -> Labelled:
    """The pictures that the `labels.csv` of a directory names, and their labels. Raises DataError."""
    path = directory / TABLE
    try:
        text = read_regular(path, limits.LABELS).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except OSError as error:
        raise DataError.about(path, "cannot be read", "a table of files and labels", error.strerror) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError.about(path, "damaged", "a table of files and labels", error) from None
    if not rows:
        raise DataError.about(path, "no rows", "file,label for each picture", "none")
    known = _by_name(directory)
    header = [] if any(cell in known for cell in rows[0]) else [cell.strip().lower() for cell in rows[0]]
    begin = 1 if header else 0
    if len(rows) == begin:
        raise DataError.about(path, "no rows", "file,label for each picture", "a header alone")
    file, label = _columns(path, header, rows[begin], known)
    found = Labelled([], [])
    for number, row in enumerate(rows[begin:], start=begin + 1):
        where = f"row {number}"
        if len(row) != len(rows[0]):
            raise DataError.about(path, f"{where}: wrong number of columns", len(rows[0]), len(row))
        if row[file] not in known:
            raise DataError.about(path, where, f"the name of a picture in {directory}", repr(row[file][:80]))
        if not row[label].strip():
            raise DataError.about(path, where, "a label", "an empty one")
        found.files.append(directory / known[row[file]])
        found.labels.append(row[label].strip())
    return found


def _by_name(directory: Path) -> dict[str, str]:
    """The pictures in a directory and directly below, by name: with / or \\, with and without ending."""
    below = sorted(entry.name for entry in os.scandir(directory) if os.path.isdir(entry.path))
    nested = [f"{name}/{file}" for name in below for file in pictures_in(directory / name)]
    names = [*pictures_in(directory), *nested]
    spelled = {name.replace("/", "\\"): name for name in nested} | {name: name for name in names}
    return {os.path.splitext(cell)[0]: name for cell, name in spelled.items()} | spelled


def _columns(path: Path, header: list[str], first: list[str], known: dict[str, str]) -> tuple[int, int]:
    """The columns of the files and of the labels."""
    files = [column for column, cell in enumerate(first) if cell in known]
    if not files:
        expected = f"the name of a picture in {path.parent}"
        raise DataError.about(path, f"row {2 if header else 1}", expected, ",".join(first)[:80])
    others = [column for column in range(len(first)) if column != files[0]]
    named = [column for column in others if column < len(header) and header[column] in LABELS]
    labels = named or (others if len(others) == 1 or not header else [])
    if not labels:
        raise DataError.about(path, "no label column", "one named label", ",".join(header)[:200])
    return files[0], labels[0]
