"""The MNIST database, which ships inside the package (see files/MNIST-LICENSE.md): nothing is downloaded.

Its 60,000 training images are split as in TensorFlow's tutorial: the first 5,000 are held out for validation,
the other 55,000 are trained on.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np

from minicnn.data.dataset import Dataset, Split, load_data
from minicnn.data.idx import DataError, idx_header, read_idx
from minicnn.data.image_file import resized
from minicnn.storage.files import PathLike

FILES = Path(__file__).parent / "files"
VALIDATION = 5000  # images

# SHA-256 of the decompressed files.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load_mnist(path: PathLike | None = None) -> Dataset:
    """Return the MNIST that ships with minicnn, verified by SHA-256; with a path, what `load_data` finds.

    Raises `DataError` for anything wrong.
    """
    if path is not None:
        return load_data(path)
    arrays = {name: _load(name) for name in SHA256}
    images, labels = arrays["train-images-idx3-ubyte"], arrays["train-labels-idx1-ubyte"]
    return Dataset(
        train=Split(images[VALIDATION:], labels[VALIDATION:]),
        validation=Split(images[:VALIDATION], labels[:VALIDATION]),
        test=Split(arrays["t10k-images-idx3-ubyte"], arrays["t10k-labels-idx1-ubyte"]),
    )


@functools.cache
def digit_means(shape: tuple[int, int]) -> np.ndarray:
    """The mean image of each digit of MNIST's test set, resampled: float32 [10, H, W], 0 to 1."""
    images, labels = (_load(name) for name in list(SHA256)[2:])
    means = np.stack([images[labels == digit].mean(axis=0, dtype=np.float32) for digit in range(10)])
    return np.stack([resized(mean / 255, shape) for mean in means])


def _load(name: str) -> np.ndarray:
    path = FILES / f"{name}.gz"
    array = read_idx(path)
    # The strict reader accepts only one file for each array, so the array determines the digest.
    digest = hashlib.sha256(idx_header(array.shape))
    digest.update(array.data)
    if digest.hexdigest() != SHA256[name]:
        wrong = "not the file that minicnn ships"
        raise DataError.about(path, wrong, f"SHA-256 {SHA256[name]}", digest.hexdigest())
    array.setflags(write=False)
    return array
