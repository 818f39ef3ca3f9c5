"""Arrays and texts in one file that carries its own SHA-256, so that no damage goes unnoticed.

A sealed file is a safetensors file, which other programs can read:

    8 bytes    length of the header, little-endian
    header     JSON: texts under "__metadata__", and the dtype, shape and place of every array
    arrays     their bytes, C-contiguous, little-endian, without gaps

Among the texts is `sha256`: the digest of the whole file with 64 zeros in the digest's own place.

Files are written piece by piece: safetensors itself builds the whole file in memory first. They are
read by safetensors, but not one byte reaches it before the digest has been verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
import safetensors
import safetensors.numpy

from minicnn.storage.files import PathLike, write_whole

MAX_HEADER = 1 << 20  # bytes; a real one has about 5,000
MAX_BYTES = 1 << 32  # of arrays

_ZEROS = b"0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_CHUNK = 1 << 18  # bytes read at a time


def write_sealed(
    path: PathLike,
    arrays: Mapping[str, np.ndarray],
    texts: Mapping[str, str],
    previous: PathLike | None = None,
) -> None:
    """Write a sealed file as `write_whole` does: durable on return; a file that was there is kept.

    Arrays are integers or floats. Raises TypeError for others, OSError if the file cannot be written.
    """
    # The widest numbers come first: so every array begins at a multiple of its item's size.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    stored = {name: _as_stored(arrays[name]) for name in names}
    header = _header(stored, texts)
    payload = [array.reshape(-1).view(np.uint8).data for array in stored.values()]
    digest = hashlib.sha256(header)
    for piece in payload:
        digest.update(piece)
    # The digest's place is the first text of the header, so these are the first 64 zeros in it.
    sealed = header.replace(_ZEROS, digest.hexdigest().encode(), 1)
    write_whole(path, sealed, *payload, previous=previous)


def read_sealed(path: PathLike, max_bytes: int = MAX_BYTES) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and texts of a sealed file, verified to the last byte.

    Raises ValueError, saying what is wrong in one line, but not with which file: for one that cannot
    be read, has more than `max_bytes` of arrays, or is not what was sealed. Memory grows only with
    the arrays of a file that has passed.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe could wait for ever
            raise ValueError("not a regular file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > 8 + MAX_HEADER + max_bytes:
                raise ValueError(f"too large: expected at most {max_bytes:,} bytes of arrays, got {size:,}")
            header = _verified_header(file, size)
            file.seek(0)
            data = file.read(size)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from None
    return _arrays(data), _texts(header)


def _as_stored(array: np.ndarray) -> np.ndarray:
    """The array as its bytes go into the file. Safetensors would write a strided one wrongly."""
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


def _verified_header(file: BinaryIO, size: int) -> bytes:
    """The JSON header of a file of `size` bytes, if the digest in it is that of the file."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise ValueError(f"damaged: a header of {length:,} bytes is claimed")
    header = file.read(length)
    place = _DIGEST.search(header)
    if place is None:
        raise ValueError("not saved by minicnn, or damaged: no SHA-256 in it")
    digest = hashlib.sha256(length.to_bytes(8, "little"))
    digest.update(header[: place.start(1)] + _ZEROS + header[place.end(1) :])
    while piece := file.read(_CHUNK):
        digest.update(piece)
    if digest.hexdigest().encode() != place.group(1):
        raise ValueError("damaged: its SHA-256 does not fit its content")
    return header


# What follows has passed, so it can only be wrong in a file that was made to be so.


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        # NumPy has no name for some types of numbers.
        raise ValueError(f"not a safetensors file that can be read ({error!r})") from None


def _texts(header: bytes) -> dict[str, str]:
    try:
        texts = dict(json.loads(header)["__metadata__"])
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not a safetensors file that can be read ({error!r})") from None
    del texts["sha256"]
    return texts
