"""Pictures in a folder for each class: with train/ and test/ above them, or without.

All pictures have one size, or are brought to the one that is asked for: scaled until the longer side fits,
and centred on the colour of their border. They are read as one channel, unless one of them is in colour.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minicnn.data.idx import DataError
from minicnn.data.sources.found import SPLITS, Found, Part, numbers_first
from minicnn.data.sources.pictures import ENDINGS, Pictures, found_of


def class_folders(directory: Path) -> dict[str, list[Path]]:
    """The pictures in each subdirectory, by its name, without those that are hidden."""
    found = {}
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if os.path.isdir(entry.path) and not entry.name.startswith((".", "__")):
            files = sorted(name for name in os.listdir(entry.path) if name.lower().endswith(ENDINGS))
            found[entry.name] = [Path(entry.path, name) for name in files]
    return found


def find_folders(directory: Path, size: int | None) -> Found | None:
    """Read the pictures below a directory, if it has class folders. Raises DataError, naming the picture."""
    parts = {}
    for which, spellings in SPLITS.items():
        for name in spellings:
            place = directory / name
            if place.is_dir() and any((folders := class_folders(place)).values()):
                parts[which] = _without_gaps(place, folders)
    if "train" not in parts:
        folders = class_folders(directory)
        if sum(map(bool, folders.values())) < 2:
            return None
        parts = {"train": _without_gaps(directory, folders)}
    names = sorted(parts["train"], key=numbers_first)
    read = {which: _read(folders, names, size, directory) for which, folders in parts.items()}
    return found_of("folders of pictures", read, dict(enumerate(names)))


def _without_gaps(directory: Path, folders: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """The folders, if each of them has pictures. Raises DataError for the first that has none."""
    for name, files in folders.items():
        if not files:
            there = ", ".join(sorted(os.listdir(directory / name))[:6]) or "an empty folder"
            expected = "pictures of a class (move the folder away if it is none)"
            raise DataError.about(directory / name, "no pictures", expected, there)
    return folders


def _read(folders: dict[str, list[Path]], names: list[str], size: int | None, directory: Path) -> Part:
    if unknown := sorted(set(folders) - set(names)):
        wrong = "a class that has no training pictures"
        raise DataError.about(directory, wrong, ", ".join(names)[:200], unknown[0])
    pictures, labels = Pictures(directory, size, sum(map(len, folders.values()))), []
    for label, name in enumerate(names):
        for path in folders.get(name, []):
            pictures.add(path)
            labels.append(label)
    return Part(pictures.stacked(), np.array(labels, np.int64), directory)
