"""Reads IDX, the file format of MNIST. The reader is strict: it trusts nothing in the file.

An IDX file is a header followed by the values of one array in row-major order:

    bytes 0-1    zero
    byte  2      type of a value: 0x08 is an unsigned byte, 0x0c a 32-bit integer, big-endian
    byte  3      number of dimensions
    4 bytes for every dimension: its size, big-endian
    the values, and nothing after them

There is exactly one such file for every array; anything that deviates from it is refused. The file may
be compressed as a single gzip member, recognised by its first two bytes. This module does not write
files and does not know what the arrays mean.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from minicnn.storage.files import PathLike, open_regular
from minicnn.storage.limits import GZIP_RATIO, IDX, unpacked

_CHUNK = 1 << 18  # bytes read or inflated at a time
_MAX_DIMENSIONS = 32  # supported by every version of NumPy
_MOST_HEADER = 1 << 20  # more bytes than the headers of IDX and gzip have
GZIP_MAGIC = b"\x1f\x8b"
_TYPES: dict[bytes, np.dtype[Any]] = {b"\x00\x00\x08": np.dtype(np.uint8), b"\x00\x00\x0c": np.dtype(">i4")}


class DataError(ValueError):
    """Data that cannot be used. The message is one line: which file, what is wrong, expected, got."""

    @classmethod
    def about(cls, path: PathLike, wrong: str, expected: object, got: object) -> DataError:
        """Return the error with the message `<path>: <wrong>, expected ..., got ...`."""
        name = str(path)
        if not name.isprintable():  # a line feed, for example: the message stays one line
            name = repr(name)
        return cls(f"{name}: {wrong}, expected {expected}, got {got}")


def read_idx(path: PathLike, max_bytes: int = IDX) -> np.ndarray:
    """Return the array in the IDX file `path`: uint8 or int32, with the shape in the header.

    Memory grows only with the bytes that are actually read, whatever size the header claims, and a
    claim of more than `max_bytes` is refused at once, and so is a gzip that grows like no data set does.
    Every fault of the file, from "not found" to a wrong checksum, raises `DataError`.
    """
    path = Path(path)
    try:
        with open_regular(path, max_bytes + _MOST_HEADER) as file:
            compressed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            return _parse(_GzipMember(file, path) if compressed else file, path, max_bytes)
    except OSError as error:
        reason = error.strerror or error
        raise DataError.about(path, "cannot be read", "an IDX file", reason) from error


def idx_bytes(path: PathLike, max_bytes: int = IDX) -> int:
    """How many bytes of values the header of an IDX file promises, but no more than the file can hold.

    Raises DataError as `read_idx` does.
    """
    path = Path(path)
    try:
        with open_regular(path, max_bytes + _MOST_HEADER) as file:
            compressed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            dtype, shape = _header(_GzipMember(file, path) if compressed else file, path, max_bytes)
            there = os.fstat(file.fileno()).st_size
    except OSError as error:
        reason = error.strerror or error
        raise DataError.about(path, "cannot be read", "an IDX file", reason) from error
    return min(math.prod(shape) * dtype.itemsize, there * (GZIP_RATIO if compressed else 1))


@contextlib.contextmanager
def open_gzipped(path: Path, max_bytes: int) -> Iterator[Source]:
    """Open a file, gzipped or not, for reading at most `max_bytes` of its contents.

    Raises DataError where it cannot be read, or is a damaged gzip.
    """
    try:
        with open_regular(path, max_bytes) as file:
            compressed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            yield _GzipMember(file, path, max_bytes) if compressed else file
    except OSError as error:
        reason = error.strerror or error
        raise DataError.about(path, "cannot be read", "a readable file", reason) from error


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Return the bytes that precede the values in the IDX file of a uint8 array."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, 0x08, len(shape), *shape)


class Source(Protocol):
    """What a file and the contents of a gzip have in common."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        ...


def _header(source: Source, path: Path, max_bytes: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The type and the shape of the values."""
    magic = _read(source, 4)
    if len(magic) < 4:
        raise DataError.about(path, "header cut short", "4 bytes", len(magic))
    dtype = _TYPES.get(bytes(magic[:3]))
    if dtype is None:
        wrong = "not an IDX file of bytes or 32-bit integers"
        raise DataError.about(path, wrong, "to begin 00 00 08 or 00 00 0c", magic[:3].hex(" "))
    dimensions = magic[3]
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        wrong = "wrong number of dimensions"
        raise DataError.about(path, wrong, f"1 to {_MAX_DIMENSIONS}", dimensions)

    length = 4 * dimensions
    sizes = _read(source, length)
    if len(sizes) < length:
        raise DataError.about(path, "header cut short", f"{4 + length} bytes", 4 + len(sizes))
    shape = struct.unpack(f">{dimensions}I", sizes)
    size = math.prod(shape) * dtype.itemsize  # a Python int: cannot overflow
    written = " x ".join(map(str, shape))
    if size == 0:
        raise DataError.about(path, "empty array", "every dimension at least 1", written)
    if size > max_bytes:
        raise DataError.about(path, "array too large", f"at most {max_bytes} bytes", written)
    return dtype, shape


def _parse(source: Source, path: Path, max_bytes: int) -> np.ndarray:
    dtype, shape = _header(source, path, max_bytes)
    size = math.prod(shape) * dtype.itemsize
    values = _read(source, size + 1)  # one more byte, to see that nothing follows
    if len(values) < size:
        raise DataError.about(path, "values cut short", f"{size} bytes", len(values))
    if len(values) > size:
        raise DataError.about(path, "bytes after the last value", f"{size} bytes", "more")
    return np.frombuffer(values, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _read(source: Source, size: int) -> bytearray:
    """Return `size` bytes, or fewer at the end of the file; memory grows as they arrive."""
    data = bytearray()
    while len(data) < size and (piece := source.read(min(_CHUNK, size - len(data)))):
        data += piece
    return data


class _GzipMember:
    """The contents of a file that is one gzip member, inflated no further than requested.

    Unlike Python's `gzip`, it refuses further members and trailing zeros.
    """

    def __init__(self, file: BinaryIO, path: Path, most: int | None = None) -> None:
        self._file = file
        self._path = path
        self._inflated = 0
        self._most = unpacked(os.fstat(file.fileno()).st_size)
        if most is not None:
            self._most = min(self._most, most)
        self._inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: with gzip's header

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes, or none at the end, once the checksum has been verified."""
        inflater = self._inflater
        while not inflater.eof:
            packed = inflater.unconsumed_tail or self._file.read(_CHUNK)
            try:
                data = inflater.decompress(packed, size)
            except zlib.error as error:
                wrong = "corrupt gzip"
                raise DataError.about(self._path, wrong, "a valid stream", error) from error
            self._inflated += len(data)
            if self._inflated > self._most:
                wrong, got = "gzip bomb", f"{self._inflated:,} or more"
                raise DataError.about(self._path, wrong, f"at most {self._most:,} bytes in it", got)
            if data:
                return data
            if not packed:
                wrong = "gzip cut short"
                raise DataError.about(self._path, wrong, "a complete stream", "its beginning")
        if inflater.unused_data or self._file.read(1):
            wrong = "bytes after the gzip data"
            raise DataError.about(self._path, wrong, "one gzip member", "more")
        return b""
