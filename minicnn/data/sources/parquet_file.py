"""Parquet files as image hubs ship them: a column of image files, and one of labels.

    image     the bytes of an image file, or a struct of them and a path: {bytes, path}
    label     whole numbers or names

A data set is one file, or several in a directory: train-00000-of-00002.parquet, test-00000-of-00001.parquet.
Where the hub has written the names of the classes into a file, they are used. The images of a few rows are
in memory at a time, as they are in the file, and are decoded one after the other.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minicnn.data.idx import DataError
from minicnn.data.image_file import Encoded
from minicnn.data.sources.found import LABELS, SPLITS, Found, Part, numbered
from minicnn.data.sources.pictures import Pictures, found_of
from minicnn.storage import limits
from minicnn.storage.files import open_regular

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

MAGIC = b"PAR1"
ROWS = 16  # read at a time
ROW_BYTES = 16  # no image file is smaller; a file that claims more rows would take hours
IMAGES = ("image", "img", "picture")  # names of the column with the images, where several could be
SHARD = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.parquet")


class _Columns(NamedTuple):
    """Where the images and the labels of a file are."""

    image: str
    nested: bool  # a struct with the bytes in it
    label: str


def parquet_in(directory: Path) -> dict[str, list[Path]]:
    """The parquet files of a directory, by split. Those that are named for no split are "train"."""
    found: dict[str, list[Path]] = {}
    for place in (directory, directory / "data"):
        files = sorted(place.glob("*.parquet"), key=lambda path: path.name) if place.is_dir() else []
        for path in filter(Path.is_file, files):
            word = re.split(r"[-_.]", path.name.lower())[0]
            which = next((split for split, words in SPLITS.items() if word in words), "train")
            found.setdefault(which, []).append(path)
        if found:
            break
    return found


def find_parquet(path: Path, size: int | None) -> Found:
    """Read the data set in a parquet file, or in those of a directory. Raises DataError, naming the row.

    The name of one file of several, as hubs number them, stands for all of them.
    """
    several = path.is_dir() or SHARD.fullmatch(path.name)
    files = parquet_in(path if path.is_dir() else path.parent) if several else {"train": [path]}
    if "train" not in files:
        there = ", ".join(sorted(file.name for part in files.values() for file in part))
        raise DataError.about(path, "no training images", "a file named train-...parquet", there[:200])
    images: dict[str, np.ndarray] = {}
    labels: dict[str, list[Any]] = {}
    names: dict[int, str] = {}
    for which, paths in files.items():
        _expect_all(paths)
        stacked, values, said = _read(paths, size)
        if which == "train" or set(values) != {-1}:  # with -1 hubs mark images without labels
            images[which], labels[which], names = stacked, values, said or names
    numbers = {which: np.array(values) for which, values in labels.items()}
    if any(values.dtype.kind == "U" for values in numbers.values()):
        numbers, names = numbered({which: list(map(str, values)) for which, values in labels.items()})
    parts = {which: Part(images[which], numbers[which], files[which][0]) for which in images}
    return found_of("parquet", parts, names)


def _expect_all(paths: list[Path]) -> None:
    """Raise DataError if the files are numbered, and one is missing."""
    for path in paths:
        if match := SHARD.fullmatch(path.name):
            stem, count = match["stem"], int(match["count"])
            there = {file.name for file in paths}
            for number in range(count):
                name = f"{stem}-{number:05}-of-{count:05}.parquet"
                if name not in there:
                    raise DataError.about(path.parent, "missing file", name, ", ".join(sorted(there))[:200])


def _read(paths: list[Path], size: int | None) -> tuple[np.ndarray, list[Any], dict[int, str]]:
    """The images of some files, their labels as they are stored, and the names of labels that are numbers."""
    rows = 0
    for path in paths:
        with _opened(path) as file:
            rows += _row_count(file, path)
    pictures = Pictures(paths[0], size, rows)
    labels: list[Any] = []
    names: dict[int, str] = {}
    for path in paths:
        with _opened(path) as file:
            columns = _columns(file, path)
            names = names or _names(file, columns.label)
            for image, label in _rows(file, columns, path):
                pictures.add(image)
                labels.append(label)
    if len(labels) != rows:
        raise DataError.about(paths[0], "damaged", f"{rows} rows", len(labels))
    return pictures.stacked(), labels, names


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    """The parquet file, whose footer has been read. Whatever goes wrong within is a DataError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f'{path}: a parquet file: pip install "minicnn[parquet]"') from None
    try:
        with open_regular(path, limits.PARQUET) as file:
            bounds: Any = {
                "thrift_string_size_limit": limits.NAMES,
                "thrift_container_size_limit": limits.NAMES,
            }
            yield pyarrow.parquet.ParquetFile(file, pre_buffer=False, **bounds)
    except DataError:
        raise
    except OSError as error:
        what = error.strerror or _in_a_line(error)
        raise DataError.about(path, "cannot be read", "a parquet file", what) from None
    except (pyarrow.ArrowException, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise DataError.about(path, "damaged", "a parquet file", _in_a_line(error)) from None


def _in_a_line(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return line if line.isprintable() else repr(line)


def _row_count(file: ParquetFile, path: Path) -> int:
    """How many rows a file has, if it claims to unpack to no more than is plausible."""
    metadata, size = file.metadata, path.stat().st_size
    unpacked = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    most = limits.unpacked(size)
    if not 0 <= unpacked <= min(most, limits.PARQUET):
        raise DataError.about(path, "too large", f"at most {most:,} bytes, unpacked", f"{unpacked:,}")
    if not 0 < metadata.num_rows <= size // ROW_BYTES:
        expected = f"1 to {size // ROW_BYTES:,} in {size:,} bytes"
        raise DataError.about(path, "wrong number of rows", expected, f"{metadata.num_rows:,}")
    return int(metadata.num_rows)


def _columns(file: ParquetFile, path: Path) -> _Columns:
    """The columns that the types and names of all columns point to."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    schema = file.schema_arrow
    nested = {field.name: types.is_struct(field.type) for field in schema}
    found = [
        field.name
        for field in schema
        if is_bytes(field.type)
        or (
            nested[field.name] and any(inner.name == "bytes" and is_bytes(inner.type) for inner in field.type)
        )
    ]
    images = [name for name in found if name.lower() in IMAGES] if len(found) > 1 else found
    there = ", ".join(f"{field.name}: {field.type}" for field in schema)[:200]
    if len(images) != 1:
        expected = "one column of image files (image: binary, or a struct with bytes)"
        raise DataError.about(path, "no column of images", expected, there)
    labels = [field.name for field in schema if field.name.lower() in (*LABELS, "fine_label")]
    if len(labels) != 1:
        raise DataError.about(path, "no label column", "one column named label", there)
    kind = schema.field(labels[0]).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise DataError.about(path, f"column {labels[0]}", "whole numbers or text", kind)
    return _Columns(images[0], nested[images[0]], labels[0])


def _names(file: ParquetFile, label: str) -> dict[int, str]:
    """The names of the classes in the hub's description of the file, if it has one."""
    text = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(text)["info"]["features"][label]["names"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return {}
    return dict(enumerate(names))


def _rows(file: ParquetFile, columns: _Columns, path: Path) -> Iterator[tuple[Encoded, Any]]:
    """The image and the label of each row."""
    row = 1
    wanted = [f"{columns.image}.bytes" if columns.nested else columns.image, columns.label]
    for batch in file.iter_batches(ROWS, columns=wanted, use_threads=False):
        images = batch.column(columns.image)
        if columns.nested:
            images = images.field("bytes")
        for content, label in zip(images.to_pylist(), batch.column(columns.label).to_pylist(), strict=True):
            if content is None:
                raise DataError.about(path, f"row {row}", "the bytes of an image", "none (a path alone?)")
            if label is None or (not isinstance(label, str) and not -(2**31) < label < 2**31):
                raise DataError.about(path, f"row {row}", "a label", label)
            yield Encoded(content, f"{path}: row {row}"), label
            row += 1
