"""A data set: images to train on, to choose settings on, and to measure the result on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minicnn.data.idx import DataError
from minicnn.data.known import DIGITS, recognise
from minicnn.data.sources import find_data
from minicnn.data.sources.found import Found, Part, classes_of, expect_images
from minicnn.data.splits import stratified, test_count, validation_count
from minicnn.storage.files import PathLike

VALIDATION_STREAM, TEST_STREAM = 10, 11  # second numbers of the seeds of the two splits


@dataclass(frozen=True, eq=False)
class Split:
    """N images and their labels. Both arrays are read-only."""

    images: np.ndarray  # uint8 [N, H, W], or [N, H, W, 3] in colour
    labels: np.ndarray  # integers [N], 0 to classes - 1

    def __repr__(self) -> str:
        return f"Split({len(self.images)} images, {self.images.dtype} {list(self.images.shape[1:])})"

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images to train on, to choose settings on, and to measure the result on."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] = DIGITS  # the names of the labels 0, 1, ...
    kind: str = "MNIST"  # the form in which it was found
    split: str = ""  # how images were held out, if minicnn chose them

    @property
    def shape(self) -> tuple[int, int, int]:
        """H, W and C of an image, as a network's `input_shape`."""
        H, W, *C = self.train.images.shape[1:]
        return H, W, C[0] if C else 1

    def __repr__(self) -> str:
        """The line that says what was found."""
        H, W, C = self.shape
        counts = f"{len(self.train)} + {len(self.validation)} + {len(self.test)} images"
        size = f"{H} x {W}" + (" in colour" if C == 3 else "")
        return (
            f"{self.kind}: {counts} of {size}, {len(self.classes)} classes{self.split and '; '}{self.split}"
        )


def load_data(
    path: PathLike,
    seed: int = 0,
    *,
    size: int | None = None,
    transpose: bool = False,
    invert: bool = False,
) -> Dataset:
    """The data set at a path, in any of the forms that `minicnn.data.sources` recognises.

    Images that the data set does not assign to validation or to a test are held out from the training images:
    at random from `seed`, of each class the same share. `size` brings pictures in folders to so many pixels a
    side; `transpose` swaps rows and columns, as EMNIST's files need it; `invert` turns dark on light into
    light on dark. Raises `DataError`, in one line, for anything wrong.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected a path, got {path!r}")
    found = find_data(Path(path), size)
    for part in (found.train, found.validation, found.test):
        if part is not None:
            expect_images(part)
            if part.images.shape[1:] != found.train.images.shape[1:]:
                expected = f"{list(found.train.images.shape[1:])}, as the training images"
                raise DataError.about(part.path, "wrong shape", expected, list(part.images.shape[1:]))
    found = _oriented(found, transpose, invert)
    return _split(found, seed)


def oriented(images: np.ndarray, transpose: bool, invert: bool) -> np.ndarray:
    """Images uint8 [N, H, W] or [N, H, W, 3], if asked with rows and columns swapped, and light and dark."""
    turned = images.swapaxes(1, 2) if transpose else images
    return np.ascontiguousarray(255 - turned if invert else turned)


def _oriented(found: Found, transpose: bool, invert: bool) -> Found:
    def changed(part: Part) -> Part:
        return part._replace(images=oriented(part.images, transpose, invert))

    validation, test = (
        changed(part) if part is not None else None for part in (found.validation, found.test)
    )
    return found._replace(train=changed(found.train), validation=validation, test=test)


def _split(found: Found, seed: int) -> Dataset:
    """The data set, with images held out from the training images where a part is missing."""
    known = recognise(found.train.images)
    values, names = classes_of(found)
    if known is not None and len(known.classes) == len(names):
        names = known.classes
    train, test, validation, told = found.train, found.test, found.validation, []
    rest = np.arange(len(train.labels))  # the images that are trained on
    if test is None:
        chosen = stratified(train.labels, test_count(len(rest)), seed, TEST_STREAM)
        test, rest = _hold_out(train, rest, chosen, "the test")
        told.append("the test")
    if validation is None and found.test is not None and known is not None and known.validation:
        validation, rest = _hold_out(train, rest, rest < known.validation, "validation")
    elif validation is None:
        chosen = stratified(train.labels[rest], validation_count(len(rest)), seed, VALIDATION_STREAM)
        validation, rest = _hold_out(train, rest, chosen, "validation")
        told.append("validation")
    if len(rest) < len(train.labels):
        train = _taken(train, rest)
    kind = f"{known.name}, {found.kind}" if known is not None else found.kind
    how = f"{' and '.join(told)} held out by class, seed {seed}" if told else ""
    trained, held_out, tested = (_as_split(part, values) for part in (train, validation, test))
    return Dataset(trained, held_out, tested, names, kind, how)


def _hold_out(part: Part, rest: np.ndarray, chosen: np.ndarray, what: str) -> tuple[Part, np.ndarray]:
    """The images held out, and the indices of those that are left, of the images with the indices `rest`."""
    if not chosen.any():
        expected = f"at least two of a class, as one is held out for {what}"
        raise DataError.about(part.path, "too few training images", expected, len(rest))
    return _taken(part, rest[chosen]), rest[~chosen]


def _taken(part: Part, indices: np.ndarray) -> Part:
    return part._replace(images=part.images[indices], labels=part.labels[indices])


def _as_split(part: Part, values: np.ndarray) -> Split:
    images = np.ascontiguousarray(part.images)
    labels = np.searchsorted(values, part.labels).astype(np.uint8 if len(values) <= 256 else np.uint16)
    for array in (images, labels):
        array.setflags(write=False)
    return Split(images, labels)
