"""Recognises what a path holds, and reads it: a reader for each form in which people keep small images.

What decides is what is there, not what it is called: the first bytes of a file, the names in a directory.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path

from minicnn.data.idx import DataError
from minicnn.data.sources import parquet_file
from minicnn.data.sources.cifar import find_cifar
from minicnn.data.sources.csv_file import read_csv
from minicnn.data.sources.folders import class_folders, find_folders
from minicnn.data.sources.found import Found, Part
from minicnn.data.sources.idx_files import NAME, STANDARD, find_idx, sets_in
from minicnn.data.sources.labelled import find_labelled
from minicnn.data.sources.npz_file import find_npz
from minicnn.data.sources.parquet_file import find_parquet, parquet_in
from minicnn.storage.files import open_regular

FORMS = (
    "four IDX files, a NumPy archive (.npz), a CSV file with a label column, a parquet file of images, "
    "CIFAR's binary files, a folder of pictures for each class, or a folder of pictures with a labels.csv"
)
_ANY_SIZE = 1 << 62  # the reader that is chosen has the limit

_SAVEZ = "numpy.savez('data.npz', x_train=..., y_train=...)"
REFUSED = (  # how a file begins, what it is, and the way out
    (b"MATLAB", "a MATLAB file", f"its arrays, read by scipy.io.loadmat and written by {_SAVEZ}"),
    (b"\x89HDF", "an HDF5 file", f"its arrays, read by h5py and written by {_SAVEZ}"),
    (b"\x93NUMPY", "a single array", f"images and labels in one file, by {_SAVEZ}"),
    (b"BZh", "a bzip2 file", "what is in it: unpack it first"),
    (b"\xfd7zXZ", "an xz file", "what is in it: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "what is in it: unpack it first"),
    (b"Rar!", "a rar archive", "what is in it: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "what is in it: unpack it first"),
)


def find_data(path: Path, size: int | None = None) -> Found:
    """Read the data set at a path. Raises DataError if there is none, or if something in it is wrong.

    `size`: bring pictures to so many pixels a side.
    """
    if path.is_dir():
        return _in_directory(path, size)
    if not os.path.exists(path):
        expected = f"{FORMS}, such as {', '.join(STANDARD)}"
        raise DataError.about(path, "no such file or directory", expected, "nothing there")
    return _in_file(path, size)


def _in_file(path: Path, size: int | None) -> Found:
    if match := NAME.fullmatch(path.name):
        return find_idx(path.parent, match["prefix"])
    try:
        with open_regular(path, _ANY_SIZE) as file:
            start = file.read(512)
    except OSError as error:
        raise DataError.about(path, "cannot be read", FORMS, error.strerror or error) from None
    if start[:2] == b"PK":
        return find_npz(path)
    if start[:4] == parquet_file.MAGIC:
        return find_parquet(path, size)
    content = _unpacked(start)
    for magic, what, way_out in REFUSED:
        if content.startswith(magic):
            raise DataError.about(path, "no data set", way_out, what)
    if _is_tar(content):
        raise DataError.about(path, "no data set", "what is in it: unpack it first", "a tar archive")
    if content[:3] in (b"\x00\x00\x08", b"\x00\x00\x0c"):
        raise DataError.about(path, "a single IDX file", "the directory with its labels, too", path.name)
    if content[:1] == b"\x80":
        raise DataError.about(path, "a pickle, which could run code when read", FORMS, "a pickle")
    if start[:2] == b"\x1f\x8b" or b"," in start.split(b"\n")[0]:
        return _csv(path)
    raise DataError.about(path, "no data set", FORMS, repr(start[:8]))


def _unpacked(start: bytes) -> bytes:
    """The first bytes of a file, of what is in it if it is a gzip."""
    if start[:2] != b"\x1f\x8b":
        return start
    try:
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(start, 512)
    except zlib.error:  # the reader says what is wrong
        return b""


def _is_tar(start: bytes) -> bool:
    try:
        return bool(tarfile.TarInfo.frombuf(start, "utf-8", "replace").name)  # its header has a checksum
    except tarfile.HeaderError:
        return False


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
    if parquet_in(path):
        return find_parquet(path, size)
    if found := find_labelled(path, size) or find_folders(path, size):
        return found
    files = [entry for entry in sorted(path.iterdir()) if entry.suffix in (".npz", ".csv")]
    if len(files) == 1:
        return _in_file(files[0], size)
    if alone := [name for name, pictures in class_folders(path).items() if pictures]:
        raise DataError.about(path, "one class only", "a folder of pictures for each class", alone[0])
    there = ", ".join(sorted(os.listdir(path))[:6]) or "an empty directory"
    raise DataError.about(path, "no data set", FORMS, there)
