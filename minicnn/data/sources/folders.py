"""Pictures in a folder for each class: with train/ and test/ above them, or without.

All pictures have one size, or are brought to the one that is asked for: scaled until the longer side fits,
and centred on the colour of their border. They are read as one channel, unless one of them is in colour.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minicnn.data.idx import DataError
from minicnn.data.image_file import ImageError, pixels_of
from minicnn.data.sources.found import LARGEST, SMALLEST, Found, Part

ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
COLOURED = 8  # the difference between two channels that a grey picture does not have, even as a JPEG


def class_folders(directory: Path) -> dict[str, list[Path]]:
    """The pictures in each subdirectory, by its name, without empty ones and those that are hidden."""
    found = {}
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if os.path.isdir(entry.path) and not entry.name.startswith((".", "__")):
            files = sorted(name for name in os.listdir(entry.path) if name.lower().endswith(ENDINGS))
            if files:
                found[entry.name] = [Path(entry.path, name) for name in files]
    return found


def find_folders(directory: Path, size: int | None) -> Found | None:
    """Read the pictures below a directory, if it has class folders. Raises DataError, naming the picture."""
    parts = {}
    for which, spellings in SPLITS.items():
        for name in spellings:
            if (directory / name).is_dir() and (folders := class_folders(directory / name)):
                parts[which] = folders
    if "train" not in parts:
        folders = class_folders(directory)
        if len(folders) < 2:
            return None
        parts = {"train": folders}
    names = sorted(parts["train"], key=_numbers_first)
    read = {which: _read(folders, names, size, directory) for which, folders in parts.items()}
    colour = any(part.images.ndim == 4 for part in read.values())
    read = {which: _in_colour(part) if colour else part for which, part in read.items()}
    found = "folders of pictures"
    return Found(found, read["train"], read.get("validation"), read.get("test"), dict(enumerate(names)))


def _numbers_first(name: str) -> tuple[bool, int, str]:
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name


def _read(folders: dict[str, list[Path]], names: list[str], size: int | None, directory: Path) -> Part:
    if unknown := sorted(set(folders) - set(names)):
        wrong = "a class that has no training pictures"
        raise DataError.about(directory, wrong, ", ".join(names)[:200], unknown[0])
    images, labels = [], []
    first: tuple[int, int] | None = None
    for label, name in enumerate(names):
        for path in folders.get(name, []):
            try:
                image = pixels_of(path, size)
            except ImageError as error:
                raise DataError(str(error)) from None
            H, W = image.shape[:2]
            first = first or (H, W)
            if first != (H, W):
                expected = f"{first[0]} x {first[1]}, as the first; --size 28 would bring all to one size"
                raise DataError.about(path, "another size", expected, f"{H} x {W}")
            if not (SMALLEST <= H <= LARGEST and SMALLEST <= W <= LARGEST):
                expected = f"{SMALLEST} to {LARGEST} pixels a side; --size 28 would scale all to that"
                raise DataError.about(path, "wrong size", expected, f"{H} x {W}")
            images.append(image)
            labels.append(label)
    stacked = np.stack(images)
    if np.ptp(stacked, axis=3).max() <= COLOURED:
        stacked = np.ascontiguousarray(stacked[..., 0])
    return Part(stacked, np.array(labels, np.int64), directory)


def _in_colour(part: Part) -> Part:
    if part.images.ndim == 4:
        return part
    return part._replace(images=np.repeat(part.images[..., None], 3, axis=3))
