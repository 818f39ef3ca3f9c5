"""CIFAR-10 and CIFAR-100 in their binary form: a row of bytes for each image.

    CIFAR-10      a label, then 32 x 32 red values, as many green ones, as many blue ones
    CIFAR-100     a coarse label and a fine one, then the same

Source: Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009); the page of the data set.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minicnn.data.idx import DataError
from minicnn.data.room import expect_room
from minicnn.data.sources.found import Found, Part
from minicnn.storage import limits
from minicnn.storage.files import read_regular

PIXELS = 3 * 32 * 32
TEN = [f"data_batch_{number}.bin" for number in range(1, 6)]
PICKLES = ("data_batch_1", "test_batch", "batches.meta")  # the form for Python, which is never opened


def find_cifar(directory: Path) -> Found | None:
    """Read the data set in a directory, if it is CIFAR. Raises DataError if it is damaged, or pickled."""
    if (directory / "data_batch_1.bin").exists():
        train, test, label, names_file = TEN, "test_batch.bin", 1, "batches.meta.txt"
    elif (directory / "train.bin").exists() and (directory / "test.bin").exists():
        train, test, label, names_file = ["train.bin"], "test.bin", 2, "fine_label_names.txt"
    elif all((directory / name).exists() for name in PICKLES):
        wrong = "CIFAR in its Python form, whose files could run code when read"
        expected = "the binary version (data_batch_1.bin)"
        raise DataError.about(directory, wrong, expected, "pickles")
    else:
        return None
    expect_room(
        directory,
        sum(os.path.getsize(directory / name) for name in [*train, test] if os.path.isfile(directory / name)),
    )
    names = _names(directory / names_file)
    kind = "CIFAR-10, binary" if label == 1 else "CIFAR-100, binary"
    return Found(kind, _read(directory, train, label), None, _read(directory, [test], label), names)


def _read(directory: Path, names: list[str], label: int) -> Part:
    """The images of some files; `label` bytes precede the pixels, and the last of them is the label."""
    images, labels = [], []
    for name in names:
        path = directory / name
        try:
            values = np.frombuffer(read_regular(path, limits.CIFAR), np.uint8)
        except OSError as error:
            raise DataError.about(path, "cannot be read", "a file of CIFAR", error.strerror) from None
        if not len(values) or len(values) % (label + PIXELS):
            expected = f"a multiple of {label + PIXELS:,} bytes"
            raise DataError.about(path, "wrong size", expected, f"{len(values):,}")
        rows = values.reshape(-1, label + PIXELS)
        images.append(np.ascontiguousarray(rows[:, label:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)))
        labels.append(rows[:, label - 1].astype(np.int64))
    return Part(np.concatenate(images), np.concatenate(labels), directory / names[0])


def _names(path: Path) -> dict[int, str] | None:
    try:
        text = read_regular(path, limits.NAMES).decode()
    except (OSError, UnicodeDecodeError):
        return None
    return dict(enumerate(filter(None, (line.strip() for line in text.splitlines()))))
