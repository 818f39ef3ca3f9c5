"""IDX files that belong together: MNIST, Fashion-MNIST, KMNIST, EMNIST, QMNIST, and what is named like them.

    train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte

With or without `.gz`, with `.idx` in place of `-idx`, with "test" in place of "t10k", and with a prefix, such
as `emnist-letters-`. Labels may be 32-bit integers in several columns, as QMNIST's; the first one counts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from minicnn.data.idx import DataError, idx_bytes, read_idx
from minicnn.data.room import expect_room
from minicnn.data.sources.found import Found, Part
from minicnn.storage import limits
from minicnn.storage.files import read_regular

NAME = re.compile(
    r"(?P<prefix>.*?)(?P<which>train|t10k|test)-(?P<what>images|labels)[-.]idx[123]-(ubyte|int)(\.gz)?"
)
STANDARD = tuple(
    f"{which}-{what}-ubyte" for which in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)


def sets_in(directory: Path) -> dict[str, dict[str, Path]]:
    """The IDX files in a directory, by prefix, then by "train-images", "train-labels", "test-images", ..."""
    found: dict[str, dict[str, Path]] = {}
    # A directory may have such a name, too, where an archive was unpacked into one: a file comes first. And
    # of a file and its gzipped copy, the file.
    entries = sorted(os.scandir(directory), key=lambda entry: (not os.path.isfile(entry.path), entry.name))
    for entry in entries:
        if match := NAME.fullmatch(entry.name):
            part = "train" if match["which"] == "train" else "test"
            files = found.setdefault(match["prefix"], {})
            files.setdefault(f"{part}-{match['what']}", Path(directory, entry.name))
    return found


def find_idx(directory: Path, prefix: str | None = None) -> Found:
    """Read the IDX files of a directory. Raises DataError if some are missing, or there are several sets."""
    found = sets_in(directory)
    if prefix is None and len(found) > 1:
        expected = "one, or the name of its file of training images"
        raise DataError.about(directory, "several data sets", expected, ", ".join(sorted(found)))
    prefix = next(iter(found), "") if prefix is None else prefix
    files = found.get(prefix, {})
    images = [file for name, file in files.items() if name.endswith("images")]
    expect_room(directory, sum(map(idx_bytes, images)))
    train = _pair(directory, files, prefix, "train")
    test = _pair(directory, files, prefix, "test") if _has(files, "test") or not prefix else None
    names = _names(directory / f"{prefix}mapping.txt")
    return Found(f"IDX files of {prefix.strip('-.')}" if prefix else "IDX files", train, None, test, names)


def _has(files: dict[str, Path], which: str) -> bool:
    return any(name.startswith(which) for name in files)


def _pair(directory: Path, files: dict[str, Path], prefix: str, which: str) -> Part:
    paths = []
    for what, kind in (("images", "images-idx3-ubyte"), ("labels", "labels-idx1-ubyte")):
        if f"{which}-{what}" not in files:
            name = f"{prefix}{'t10k' if which == 'test' and not prefix else which}-{kind}"
            dotted = name.replace("-idx", ".idx")
            candidates = [name, f"{name}.gz", dotted, f"{dotted}.gz"]
            there = ", ".join(sorted(os.listdir(directory))[:8]) or "an empty directory"
            raise DataError.about(directory, "missing file", " or ".join(candidates), there)
        paths.append(files[f"{which}-{what}"])
    images, labels = (read_idx(path) for path in paths)
    if labels.ndim == 2:
        labels = np.ascontiguousarray(labels[:, 0])
    if labels.shape != images.shape[:1]:
        wrong = "labels do not match the images"
        raise DataError.about(paths[1], wrong, f"shape ({len(images)},)", labels.shape)
    return Part(images, labels, paths[0], paths[1])


def _names(path: Path) -> dict[int, str] | None:
    """The names in EMNIST's mapping: lines of a label and the codes of its characters."""
    try:
        rows = [line.split() for line in read_regular(path, limits.NAMES).decode().splitlines()]
        return {int(label): "".join(chr(int(code)) for code in codes) for label, *codes in rows}
    except (OSError, ValueError, OverflowError):
        return None
