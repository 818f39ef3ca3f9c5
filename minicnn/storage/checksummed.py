"""Arrays and texts in one file that contains its own SHA-256, so that no damage goes unnoticed.

A checksummed file is a safetensors file, which other programs can read:

    8 bytes    length of the header, little-endian
    header     JSON: texts under "__metadata__", and the dtype, shape and position of every array
    arrays     their bytes, C-contiguous, little-endian, without gaps

One of the texts is `sha256`: the digest of the whole file with 64 zeros in place of the digest.

Files are written piece by piece, because safetensors would build the whole file in memory first. They
are read by safetensors, but it sees no byte before the digest has been verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from minicnn.storage.files import PathLike, open_regular, write_whole
from minicnn.storage.limits import ARRAYS, HEADER
from minicnn.storage.tensors import expect_finite, header_length, parse_tensors

_ZEROS = b"0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_CHUNK = 1 << 18  # bytes read at a time


def write_checksummed(
    path: PathLike,
    arrays: Mapping[str, np.ndarray],
    texts: Mapping[str, str],
    previous: PathLike | None = None,
) -> None:
    """Write a checksummed file with `write_whole`: durable on return, and the old file kept as `previous`.

    Arrays are integers or floats. Raises TypeError for others, ValueError for what would not be read
    again (numbers that are not finite, too many bytes), OSError if the file cannot be written.
    """
    expect_finite(arrays)
    # The widest types come first, so that every array is aligned to its item size.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    stored = {name: _as_stored(arrays[name]) for name in names}
    header = _header(stored, texts)
    size = sum(array.nbytes for array in stored.values())
    if len(header) > 8 + HEADER or size > ARRAYS:
        got = f"got {size:,} and {len(header):,}"
        raise ValueError(f"expected at most {ARRAYS:,} bytes of arrays and {HEADER:,} of names, {got}")
    payload = [array.reshape(-1).view(np.uint8).data for array in stored.values()]
    digest = hashlib.sha256(header)
    for piece in payload:
        digest.update(piece)
    # `sha256` is the first text of the header, so its 64 zeros are the first ones in it.
    header = header.replace(_ZEROS, digest.hexdigest().encode(), 1)
    write_whole(path, header, *payload, previous=previous)


def read_checksummed(path: PathLike, max_bytes: int = ARRAYS) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and texts of a checksummed file, verified to the last byte.

    Raises ValueError if it cannot be read, has more than `max_bytes` of arrays, fails the checksum, or
    has numbers that are not finite. The message is one line without the name of the file. Memory grows
    with the arrays only after the file has been verified.
    """
    try:
        with open_regular(path, 8 + HEADER + max_bytes) as file:
            size = os.fstat(file.fileno()).st_size
            _verify(file, size)
            file.seek(0)
            data = file.read(size)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from None
    arrays, texts = parse_tensors(data)
    texts.pop("sha256", None)
    return arrays, texts


def _as_stored(array: np.ndarray) -> np.ndarray:
    """The array as it is stored: contiguous, little-endian. Safetensors would write a strided one wrongly."""
    if array.dtype.kind not in "fiu":
        raise TypeError(f"arrays: expected integers or floats, got {array.dtype}")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def _header(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> bytes:
    header: dict[str, dict] = {"__metadata__": {"sha256": _ZEROS.decode(), **texts}}
    start = 0
    for name, array in arrays.items():
        dtype = f"{array.dtype.kind.upper()}{8 * array.itemsize}"  # F32, I64
        place = [start, start + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": place}
        start += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _verify(file: BinaryIO, size: int) -> None:
    """Raise ValueError unless a file of `size` bytes has the digest that it contains."""
    start = file.read(8)
    header = file.read(header_length(start, size))
    place = _DIGEST.search(header)
    if place is None:
        raise ValueError("not saved by minicnn, or damaged: no SHA-256 in it")
    digest = hashlib.sha256(start)
    digest.update(header[: place.start(1)] + _ZEROS + header[place.end(1) :])
    while piece := file.read(_CHUNK):
        digest.update(piece)
    if digest.hexdigest().encode() != place.group(1):
        raise ValueError("damaged: SHA-256 mismatch")
