"""Recognises what a path holds, and reads it: a reader for each form in which people keep small images.

What decides is what is there, not what it is called: the first bytes of a file, the names in a directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from minicnn.data.idx import DataError
from minicnn.data.sources.cifar import find_cifar
from minicnn.data.sources.csv_file import read_csv
from minicnn.data.sources.folders import find_folders
from minicnn.data.sources.found import Found, Part
from minicnn.data.sources.idx_files import NAME, STANDARD, find_idx, sets_in
from minicnn.data.sources.npz_file import find_npz
from minicnn.storage.files import open_regular

FORMS = (
    "four IDX files, a NumPy archive (.npz), a CSV file with a label column, CIFAR's binary files, "
    "or a folder of pictures for each class"
)
_ANY_SIZE = 1 << 62  # the reader that is chosen has the limit


def find_data(path: Path, size: int | None = None) -> Found:
    """Read the data set at a path. Raises DataError if there is none, or if something in it is wrong.

    `size`: bring pictures in folders to so many pixels a side.
    """
    if path.is_dir():
        return _in_directory(path, size)
    if not os.path.exists(path):
        expected = f"{FORMS}, such as {', '.join(STANDARD)}"
        raise DataError.about(path, "no such file or directory", expected, "nothing there")
    return _in_file(path)


def _in_file(path: Path) -> Found:
    if match := NAME.fullmatch(path.name):
        return find_idx(path.parent, match["prefix"])
    try:
        with open_regular(path, _ANY_SIZE) as file:
            start = file.read(512)
    except OSError as error:
        raise DataError.about(path, "cannot be read", FORMS, error.strerror or error) from None
    if start[:2] == b"PK":
        return find_npz(path)
    if start[:3] in (b"\x00\x00\x08", b"\x00\x00\x0c"):
        raise DataError.about(path, "a single IDX file", "the directory with its labels, too", path.name)
    if start[:1] == b"\x80":
        raise DataError.about(path, "a pickle, which could run code when read", FORMS, "a pickle")
    if start[:2] == b"\x1f\x8b" or b"," in start.split(b"\n")[0]:
        return _csv(path)
    raise DataError.about(path, "no data set", FORMS, repr(start[:8]))


def _csv(path: Path, test: Path | None = None) -> Found:
    table = read_csv(path)
    if table.labels is None:
        raise DataError.about(path, "no label column", "one named label", "pixels only")
    part = None
    if test is not None:
        answers = read_csv(test)
        if answers.labels is not None:
            part = Part(answers.images, answers.labels, test)
    return Found("CSV", Part(table.images, table.labels, path), None, part)


def _in_directory(path: Path, size: int | None) -> Found:
    nested = [path, path / "raw", path / "MNIST" / "raw", path / "MNIST", path / "FashionMNIST" / "raw"]
    for directory in nested:
        if directory.is_dir() and sets_in(directory):
            return find_idx(directory)
    for directory in (path, *(p for p in sorted(path.iterdir()) if p.is_dir())):
        if found := find_cifar(directory):
            return found
        for name in ("train.csv", "train.csv.gz"):
            if (directory / name).is_file():
                test = directory / name.replace("train", "test")
                return _csv(directory / name, test if test.is_file() else None)
    if found := find_folders(path, size):
        return found
    files = [entry for entry in sorted(path.iterdir()) if entry.suffix in (".npz", ".csv")]
    if len(files) == 1:
        return _in_file(files[0])
    there = ", ".join(sorted(os.listdir(path))[:6]) or "an empty directory"
    raise DataError.about(path, "no data set", FORMS, there)
