"""Loads MNIST, or any data set in four IDX files with MNIST's names, as three splits.

The MNIST database ships inside the package (see files/MNIST-LICENSE.md), so nothing is downloaded.
Its 60,000 training images are split as in TensorFlow's tutorial: the first 5,000 are held out for
validation, the other 55,000 are trained on.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minicnn.storage.files import PathLike

from .idx import DataError, idx_header, read_idx

FILES = Path(__file__).parent / "files"

# SHA-256 of the decompressed files that ship with the package.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True, eq=False)
class Split:
    """N images and their labels. Both arrays are read-only."""

    images: np.ndarray  # uint8 [N, 28, 28], 0 is background, 255 is ink
    labels: np.ndarray  # uint8 [N], 0 to 9

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images to train on, to choose settings on, and to measure the result on."""

    train: Split
    validation: Split
    test: Split


def load_mnist(directory: PathLike | None = None) -> Dataset:
    """Return the MNIST that ships with minicnn, or the data set in the four files of `directory`.

    The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    `t10k-labels-idx1-ubyte`, gzipped or not, with or without `.gz` at the end; `.idx` is accepted in
    place of `-idx`. The shipped files are verified by SHA-256.

    The first training images become the validation set: 5,000 if there are at least 10,000, otherwise
    one twelfth (5,000 is one twelfth of 60,000), but at least one. Raises `DataError` for anything wrong.
    """
    if not isinstance(directory, (str, os.PathLike, type(None))):
        raise TypeError(f"directory: expected a path, got {directory!r}")
    shipped = directory is None
    directory = FILES if directory is None else Path(directory)
    if not os.path.isdir(directory):
        got = "a file" if os.path.exists(directory) else "nothing there"
        expected = f"one with the files {', '.join(SHA256)}"
        raise DataError.about(directory, "not a directory", expected, got)

    training, path = _load_pair(directory, "train", shipped)
    test, _ = _load_pair(directory, "t10k", shipped)
    count = len(training)
    if count < 2:
        wrong = "too few training images"
        raise DataError.about(path, wrong, "at least 2 (one is held out for validation)", count)
    held_out = 5000 if count >= 10_000 else max(1, (count + 6) // 12)  # + 6: to the nearest
    return Dataset(
        train=Split(training.images[held_out:], training.labels[held_out:]),
        validation=Split(training.images[:held_out], training.labels[:held_out]),
        test=test,
    )


def _load_pair(directory: Path, which: str, shipped: bool) -> tuple[Split, Path]:
    """Return the images and labels of "train" or "t10k", and the path of the images."""
    images, images_path = _load(directory, f"{which}-images-idx3-ubyte", shipped)
    labels, labels_path = _load(directory, f"{which}-labels-idx1-ubyte", shipped)
    if images.shape[1:] != (28, 28):
        raise DataError.about(images_path, "wrong shape", "(N, 28, 28)", images.shape)
    if labels.shape != images.shape[:1]:
        wrong = "labels do not match the images"
        raise DataError.about(labels_path, wrong, f"shape ({len(images)},)", labels.shape)
    if labels.max() > 9:
        raise DataError.about(labels_path, "label out of range", "0 to 9", labels.max())
    return Split(images, labels), images_path


def _load(directory: Path, name: str, shipped: bool) -> tuple[np.ndarray, Path]:
    path = _find(directory, name)
    array = read_idx(path)
    if shipped:
        # The strict reader accepts only one file for each array, so the array determines the digest.
        digest = hashlib.sha256(idx_header(array.shape))
        digest.update(array.data)
        if digest.hexdigest() != SHA256[name]:
            wrong = "not the file that minicnn ships"
            raise DataError.about(path, wrong, f"SHA-256 {SHA256[name]}", digest.hexdigest())
    array.setflags(write=False)
    return array, path


def _find(directory: Path, name: str) -> Path:
    dotted = name.replace("-idx", ".idx")
    candidates = [name, f"{name}.gz", dotted, f"{dotted}.gz"]
    # A directory may have the name, too, where an archive was unpacked into one: a file comes first.
    for there in (os.path.isfile, os.path.exists):
        for candidate in candidates:
            if there(directory / candidate):
                return directory / candidate
    raise DataError.about(directory, "missing file", " or ".join(candidates), "none of them")
