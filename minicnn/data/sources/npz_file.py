"""Arrays in a NumPy archive: Keras's mnist.npz, and others whose arrays are named for what they hold.

Nothing is unpickled: an array of objects is refused. What an array claims to hold is compared with the bytes
that are there before memory is allocated.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data.idx import DataError
from minicnn.data.room import expect_room
from minicnn.data.sources.found import Found, Part
from minicnn.storage import limits
from minicnn.storage.files import open_regular

PIECE = 1000  # images that are converted at a time
# Names of images and labels, for each part.
PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y"),
        ("data", "target"), ("training_images", "training_labels"),
    ),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels"), ("x_valid", "y_valid")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}  # fmt: skip


def find_npz(path: Path) -> Found:
    """Read the data set in a NumPy archive. Raises DataError, naming what is in it, if none is found."""
    try:
        with open_regular(path, limits.NPZ) as file, zipfile.ZipFile(file) as archive:
            if not any(info.filename.endswith(".npy") for info in archive.infolist()):
                expected = "what is in it: unpack it first"
                raise DataError.about(path, "no data set", expected, "a zip archive")
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            by_name = {name.lower(): name for name in members}
            parts: dict[str, Part | None] = {}
            for which, pairs in PAIRS.items():
                parts[which] = None
                for images, labels in pairs:
                    if images in by_name and labels in by_name:
                        x = _array(archive, members[by_name[images]], path)
                        y = _array(archive, members[by_name[labels]], path)
                        parts[which] = Part(as_pixels(x, path), as_labels(y, path), path)
                        break
    except OSError as error:
        raise DataError.about(path, "cannot be read", "a NumPy archive", error.strerror or error) from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        NotImplementedError,
        EOFError,
        RuntimeError,
    ) as error:
        raise DataError.about(path, "damaged", "a NumPy archive", error) from None
    train = parts["train"]
    if train is None:
        expected = "arrays named x_train and y_train, or images and labels"
        raise DataError.about(path, "no training images", expected, ", ".join(sorted(members))[:200])
    return Found("NumPy archive", train, parts["validation"], parts["test"])


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """One array, if it has as many bytes as it claims, and no more than `limits.NPZ`."""
    name = info.filename
    bomb = info.file_size > limits.unpacked(info.compress_size)
    if info.file_size > limits.NPZ or bomb:
        expected = f"at most {limits.NPZ:,} bytes, and no more than {limits.GZIP_RATIO} for each stored"
        raise DataError.about(path, f"{name}: too large", expected, f"{info.file_size:,}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError.about(path, f"{name}: wrong compression", "none, or deflate", info.compress_type)
    with archive.open(info) as member:
        try:
            version = np.lib.format.read_magic(member)
            read_header: Any = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, fortran, dtype = read_header(member)
        except (ValueError, AttributeError, SyntaxError) as error:
            raise DataError.about(path, f"{name}: damaged", "a NumPy array", error) from None
        if dtype.hasobject or dtype.kind not in "uifb":
            wrong = f"{name}: not an array of numbers (others could run code when read)"
            raise DataError.about(path, wrong, "numbers", dtype)
        size = math.prod(shape) * dtype.itemsize
        if not 0 < size <= info.file_size:
            raise DataError.about(path, f"{name}: cut short", f"{size:,} bytes", f"{info.file_size:,}")
        expect_room(path, size)
        values = member.read(size)
    if len(values) != size:
        raise DataError.about(path, f"{name}: cut short", f"{size:,} bytes", f"{len(values):,}")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")


def as_pixels(array: np.ndarray, path: Path) -> np.ndarray:
    """Images as uint8 [N, H, W] or [N, H, W, 3], from whole numbers or fractions, flat or not.

    Fractions from 0 to 1 are multiplied by 255, whole numbers up to 16 (scikit-learn's digits) by 255 / 16.
    """
    if array.ndim == 2 and math.isqrt(array.shape[1]) ** 2 == array.shape[1]:
        side = math.isqrt(array.shape[1])
        array = array.reshape(-1, side, side)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 4 and array.shape[1] == 3 != array.shape[3]:  # channels first
        array = array.transpose(0, 2, 3, 1)
    pieces = [array[first : first + PIECE] for first in range(0, len(array), PIECE)]
    low = min((float(piece.min()) for piece in pieces if piece.size), default=0.0)
    high = max((float(piece.max()) for piece in pieces if piece.size), default=0.0)
    whole = array.dtype.kind in "ub" or all((piece == np.rint(piece)).all() for piece in pieces)
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > 255 or not (whole or high <= 1):
        expected = "whole numbers from 0 to 255, or fractions from 0 to 1"
        raise DataError.about(path, "wrong pixels", expected, f"{low:g} to {high:g}")
    factor = 255.0 if high <= 1 else 255 / 16 if high <= 16 else 1.0
    if factor == 1 and array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    pixels = np.empty(array.shape, np.uint8)
    for place, piece in zip(range(0, len(array), PIECE), pieces, strict=True):
        pixels[place : place + PIECE] = np.rint(piece * factor)
    return pixels


def as_labels(array: np.ndarray, path: Path) -> np.ndarray:
    """Labels as int64 [N], from [N], [N, 1], or one-hot [N, K]."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all():
        array = array.argmax(axis=1)
    fits = array.ndim == 1 and array.size and bool((array == np.rint(array)).all())
    if not fits or not -(2**31) < array.min() <= array.max() < 2**31:
        raise DataError.about(path, "wrong labels", "a whole number for each image", list(array.shape))
    return array.astype(np.int64)
