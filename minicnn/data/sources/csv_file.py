"""Images as rows of a CSV file: Kaggle's digits, Fashion-MNIST, and others of that shape.

A row is an image: its pixels as whole numbers from 0 to 255, row by row, and a label in one of the columns.
A header names the label column; without one, it is the first or the last. Gzip is recognised by its bytes.

The numbers of a chunk of rows are parsed together, as arrays of digits: so 100 MB take about a second, and
memory grows by a byte for each pixel. Anything that is not such a number is refused with its row and column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicnn.data.idx import GZIP_MAGIC, DataError, Source, open_gzipped
from minicnn.data.room import expect_room
from minicnn.data.sources.found import LABELS
from minicnn.storage import limits
from minicnn.storage.files import open_regular

CHUNK = 1 << 20  # bytes parsed at a time: the work arrays are about 30 times as large
NUMBERS = ("id", "imageid", "image_id", "index", "")  # names of columns that only number the rows


class Table(NamedTuple):
    """A CSV file of images. Without a label column, `labels` is None."""

    images: np.ndarray  # uint8 [N, H, W]
    labels: np.ndarray | None  # int64 [N]


def read_csv(path: Path) -> Table:
    """Read a CSV file of square one-channel images. Raises DataError with file, row and column."""
    tables: list[Table] = []
    for table in stream_csv(path):
        if not tables:
            expect_room(path, int(table.images.nbytes * max(1, _text_bytes(path) / CHUNK)))
        tables.append(table)
    if not tables:
        raise DataError.about(path, "no rows", "at least one image", "none")
    labels = [table.labels for table in tables if table.labels is not None]
    return Table(
        np.concatenate([table.images for table in tables]), np.concatenate(labels) if labels else None
    )


def _text_bytes(path: Path) -> int:
    """How long the text of a file is; of a gzip what its last bytes say, which is its length modulo 4 GB."""
    with open_regular(path, limits.CSV) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(2) != GZIP_MAGIC:
            return size
        file.seek(max(0, size - 4))
        return min(int.from_bytes(file.read(4), "little"), limits.GZIP_RATIO * size)


def stream_csv(path: Path) -> Iterator[Table]:
    """Read the rows of a CSV file some at a time. Raises DataError like `read_csv`."""
    with open_gzipped(path, limits.CSV) as file:
        lines = _chunks(file)
        first = next(lines, b"")
        header, first = _header(first)
        if header is not None and not first:
            first = next(lines, b"")
        columns = len(header) if header is not None else first.split(b"\n", 1)[0].count(b",") + 1
        label, ignored = _special_columns(path, header, columns, first)
        kept = [column for column in range(columns) if column not in ignored and column != label]
        side = math.isqrt(len(kept))
        if side * side != len(kept) or not side:
            expected = "a label and a square number of pixels, such as 784"
            raise DataError.about(path, "wrong number of columns", expected, columns)
        row = 1 + (header is not None)
        for chunk in chain([first] if first else [], lines):
            values = _parse(chunk, columns, path, row)
            pixels = _pixels(values, kept, path, row).reshape(-1, side, side)
            yield Table(pixels, values[:, label].astype(np.int64) if label is not None else None)
            row += len(values)


def _pixels(values: np.ndarray, kept: list[int], path: Path, row: int) -> np.ndarray:
    """Some columns as uint8. Raises DataError for the first number that is none of a pixel."""
    taken = values if len(kept) == values.shape[1] else values[:, kept]
    if taken.max(initial=0) > 255:
        where, column = np.argwhere(taken > 255)[0].tolist()
        place = f"row {row + where}, column {kept[column] + 1}"
        raise DataError.about(path, place, "a number from 0 to 255", int(taken[where, column]))
    return taken.astype(np.uint8)


def _chunks(file: Source) -> Iterator[bytes]:
    """Pieces of whole lines, without carriage returns and quotes; the last line ends, too."""
    left = b""
    while piece := file.read(CHUNK):
        piece = left + piece.replace(b"\r", b"").replace(b'"', b"")
        end = piece.rfind(b"\n") + 1
        if end:
            yield piece[:end]
        left = piece[end:]
    if left:
        yield left + b"\n"


def _header(first: bytes) -> tuple[list[str] | None, bytes]:
    """The names in the first line, if it is a header, and the rest."""
    line, _, rest = first.partition(b"\n")
    names = [name.strip() for name in line.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").split(",")]
    if all(name.isdigit() for name in names):
        return None, first
    return [name.lower() for name in names], rest


def _special_columns(
    path: Path, header: list[str] | None, columns: int, first: bytes
) -> tuple[int | None, set[int]]:
    """The column of the labels, if there is one, and those that are neither labels nor pixels."""
    if header is not None:
        labels = [column for column, name in enumerate(header) if name in LABELS]
        if len(labels) > 1:
            got = ", ".join(header[column] for column in labels[:5])
            raise DataError.about(path, "several label columns", "one", got)
        return (labels[0] if labels else None), {c for c, name in enumerate(header) if name in NUMBERS}
    if math.isqrt(columns) ** 2 == columns:
        return None, set()
    values = _parse(first, columns, path, 1)
    varies = [column for column in (0, columns - 1) if len(np.unique(values[:, column])) > 1]
    if len(varies) != 1:
        expected = "a header that names one column label"
        raise DataError.about(path, "the label may be in the first column or in the last", expected, "none")
    return varies[0], set()


def _parse(chunk: bytes, columns: int, path: Path, row: int) -> np.ndarray:
    """The numbers of whole lines of text: uint16 [rows, columns]. `row` is the number of the first."""
    text = np.frombuffer(chunk, np.uint8)
    newline = text == ord("\n")
    ends = np.flatnonzero(newline | (text == ord(",")))  # the position after each number
    last = np.flatnonzero(newline[ends])  # which of them end a line
    fields = np.diff(last, prepend=-1)
    if (fields != columns).any():
        ragged = int(np.argmax(fields != columns))
        wrong = f"row {row + ragged}: wrong number of columns"
        raise DataError.about(path, wrong, columns, int(fields[ragged]))
    lengths = np.diff(ends, prepend=-1) - 1
    digits = text - np.uint8(ord("0"))  # what is no digit is larger than 9
    digits[ends] = 0
    if lengths.min() < 1 or lengths.max() > 3 or digits.max() > 9:
        raise _not_a_number(chunk, columns, path, row)
    values = digits[ends - 1].astype(np.uint16)
    for place, factor in ((2, 10), (3, 100)):
        longer = np.flatnonzero(lengths >= place)
        values[longer] += factor * digits[ends[longer] - place].astype(np.uint16)
    return values.reshape(-1, columns)


def _not_a_number(chunk: bytes, columns: int, path: Path, row: int) -> DataError:
    for offset, line in enumerate(chunk.decode(errors="replace").split("\n")):
        for column, field in enumerate(line.split(","), start=1):
            if not (field.isascii() and field.isdigit() and len(field) <= 3):
                where = f"row {row + offset}, column {column}"
                return DataError.about(path, where, "a whole number from 0 to 255", repr(field[:40]))
    raise AssertionError("every field is a number")
