"""What a reader finds, and what every data set must be, whatever it was read from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicnn.data.idx import DataError

SMALLEST, LARGEST = 8, 64  # pixels a side
MOST_CLASSES = 1000

LABELS = ("label", "labels", "class", "target", "digit", "y")  # names of a column of labels
SPLITS: dict[str, tuple[str, ...]] = {  # names of directories and files
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


class Part(NamedTuple):
    """Images and labels of one file, or of files that belong together, as they are stored."""

    images: np.ndarray  # uint8 [N, H, W], or [N, H, W, 3] in colour
    labels: np.ndarray  # integers [N], of any values
    path: Path  # of the images, and of the labels if it is another: for messages
    labels_path: Path | None = None


class Found(NamedTuple):
    """The parts of a data set. Those that are missing are split off the training images."""

    kind: str  # for people: "four IDX files", "CSV with a label column"
    train: Part
    validation: Part | None = None
    test: Part | None = None
    names: dict[int, str] | None = None  # of classes, by label


def expect_images(part: Part) -> None:
    """Raise DataError unless these are small images, one label each."""
    images, labels, path, labels_path = part
    sides = images.shape[1:3]
    colour = images.ndim == 4 and images.shape[3] == 3
    if not (images.ndim == 3 or colour) or not all(SMALLEST <= side <= LARGEST for side in sides):
        expected = f"[N, H, W] or [N, H, W, 3], H and W from {SMALLEST} to {LARGEST}"
        raise DataError.about(path, "wrong shape of images", expected, list(images.shape))
    if labels.shape != images.shape[:1]:
        wrong = "labels do not match the images"
        raise DataError.about(labels_path or path, wrong, f"shape ({len(images)},)", labels.shape)


def classes_of(found: Found) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values of the labels in rising order, and the name of each.

    Raises DataError for fewer than two classes or too many, and for labels that training never sees.
    """
    train, names = found.train, found.names or {}
    values = np.unique(train.labels)
    if not 2 <= len(values) <= MOST_CLASSES:
        expected = f"2 to {MOST_CLASSES} classes"
        wrong = "wrong number of classes in the labels"
        raise DataError.about(train.labels_path or train.path, wrong, expected, len(values))
    for part in (found.validation, found.test):
        if part is not None and (unknown := np.setdiff1d(part.labels, values)).size:
            got = ", ".join(names.get(value, str(value)) for value in unknown[:5].tolist())
            wrong = "labels that no training image has"
            raise DataError.about(part.labels_path or part.path, wrong, "those of the training images", got)
    return values, tuple(names.get(value, str(value)) for value in values.tolist())


def numbered(labels: dict[str, list[str]]) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """The labels of each part as numbers, int64 [N], and the name of each number.

    Names that are numbers come first, in their order.
    """
    classes = sorted({name for names in labels.values() for name in names}, key=numbers_first)
    number = {name: index for index, name in enumerate(classes)}
    found = {which: np.array([number[name] for name in names], np.int64) for which, names in labels.items()}
    return found, dict(enumerate(classes))


def numbers_first(name: str) -> tuple[bool, int, str]:
    """A key that sorts the names of classes: numbers in their order, then other names."""
    is_number = re.fullmatch("[0-9]{1,18}", name) is not None
    return not is_number, int(name) if is_number else 0, name
