"""What a run is continued from: one file that is whole, or is refused.

`checkpoint.safetensors` opens with plain safetensors, in NumPy or PyTorch. Its arrays:

    conv1.weight [5, 5, 1, 32], conv1.bias [32], ...   the parameters, under their names
    adam.m.conv1.weight, adam.v.conv1.weight, ...      Adam's moments (sgd.velocity.<parameter> for SGD)
    trained.conv1.weight, ...                          where the parameters are averages: what is averaged

Convolution weights are [kh, kw, C, F], dense weights [D, F]; all C-contiguous. The metadata holds
facts in JSON, each under its name, and `sha256`: the digest of the whole file with 64 zeros in the
digest's own place, so that not one byte of a checkpoint can change unnoticed.

A new checkpoint is complete on the disk before it gets its name, and the one before is kept beside
it: at every moment of a save, whatever happens, one whole checkpoint is there.

What the facts mean is not known here: see `minicnn.training`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from minicnn.files import write_whole

NEWEST = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
_NEXT = ".checkpoint.next"  # complete, but without its name yet
_LINK = ".checkpoint.link"

FORMAT = "minicnn checkpoint 1"
MAX_HEADER = 1 << 20  # bytes; a real one has about 5,000

_ZEROS = "0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')

PathLike = str | os.PathLike[str]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The message is one line: which file, and what is wrong."""


class Checkpoint(NamedTuple):
    """What was read from a file: see the table above."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]
    path: Path


def exists(directory: PathLike) -> bool:
    """Whether there is a checkpoint of either generation."""
    return any((Path(directory) / name).exists() for name in (NEWEST, PREVIOUS))


def save(directory: PathLike, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays and facts (anything that JSON can say) as the newest checkpoint of `directory`.

    Durable on return. Raises OSError, with the checkpoints that were there untouched.
    """
    directory = Path(directory)
    newest, coming = directory / NEWEST, directory / _NEXT
    try:
        write_whole(coming, _to_bytes(arrays, facts))
        if newest.exists():
            _keep_as_previous(newest)
        os.replace(coming, newest)
    except BaseException:
        coming.unlink(missing_ok=True)
        raise
    _sync(directory)


def remove_leftovers(directory: PathLike) -> None:
    """Remove what a save that was killed left behind. Only for the one process that saves there."""
    for leftover in Path(directory).glob(".*checkpoint.*"):
        leftover.unlink(missing_ok=True)


def load(directory: PathLike, expected: Mapping[str, np.ndarray], warn: Callable[[str], None]) -> Checkpoint:
    """Read the newest checkpoint of `directory` that is whole. Changes no file.

    Its arrays must have the names, shapes and dtypes of `expected`, whose values play no part. If
    the newest file is damaged and the one before is used, `warn` gets one line that says so.
    Raises CheckpointError if neither can be used.
    """
    newest, previous = Path(directory) / NEWEST, Path(directory) / PREVIOUS
    try:
        return read(newest, expected)
    except CheckpointError as error:
        if not previous.exists():
            raise
        try:
            found = read(previous, expected)
        except CheckpointError:
            raise error from None
        warn(f"{error}; going back to {previous.name}")
        return found


def read(path: PathLike, expected: Mapping[str, np.ndarray]) -> Checkpoint:
    """Read one checkpoint file and verify every byte of it. See `load`."""
    path = Path(path)
    try:
        data = _read_bytes(path, sum(array.nbytes for array in expected.values()))
        header = _verified_header(data)
        arrays = safetensors.numpy.load(data)
        _compare(arrays, expected)
        return Checkpoint(arrays, _facts(header), path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def go_back_to(path: Path) -> None:
    """Make the checkpoint that `load` chose the newest, lest the next save keep the damaged one."""
    if path.name != NEWEST:
        os.replace(path, path.with_name(NEWEST))
        _sync(path.parent)


# --- writing ---


def _to_bytes(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytearray:
    metadata = {name: json.dumps(fact) for name, fact in facts.items()}
    metadata |= {"format": FORMAT, "sha256": _ZEROS}
    # safetensors writes strided arrays wrongly, without a word.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = bytearray(safetensors.numpy.save(contiguous, metadata))
    place = _DIGEST.search(data)
    assert place is not None
    data[place.start(1) : place.end(1)] = hashlib.sha256(data).hexdigest().encode()
    return data


def _keep_as_previous(newest: Path) -> None:
    """Give the file a second name, so that it never goes without one."""
    previous, link = newest.with_name(PREVIOUS), newest.with_name(_LINK)
    link.unlink(missing_ok=True)
    try:
        os.link(newest, link)
    except OSError:  # a file system without links: for a moment only the second name is there
        os.replace(newest, previous)
        return
    os.replace(link, previous)
    link.unlink(missing_ok=True)  # both names were the same file already: nothing was moved


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- reading: each step raises CheckpointError with what is wrong, `read` adds the name of the file ---


def _read_bytes(path: Path, payload: int) -> bytes:
    """The file, unless its size alone shows that it cannot hold `payload` bytes of arrays."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # opening a named pipe could wait for ever
        raise CheckpointError("not a regular file")
    if not payload + 8 < found.st_size <= payload + 8 + MAX_HEADER:
        raise CheckpointError(
            f"not a checkpoint of this network: expected {payload:,} bytes of arrays and a header, "
            f"got {found.st_size:,} bytes"
        )
    with path.open("rb") as file:
        return file.read(payload + 8 + MAX_HEADER + 1)


def _verified_header(data: bytes) -> bytes:
    """The JSON header of a safetensors file, if the digest in it is that of the file."""
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER, len(data) - 8):
        raise CheckpointError(f"damaged: a header of {length:,} bytes is claimed")
    header = data[8 : 8 + length]
    place = _DIGEST.search(header)
    if place is None:
        raise CheckpointError("not a minicnn checkpoint, or damaged: no SHA-256 in it")
    rest = memoryview(data)
    digest = hashlib.sha256(rest[: 8 + place.start(1)])
    digest.update(_ZEROS.encode())
    digest.update(rest[8 + place.end(1) :])
    if digest.hexdigest().encode() != place.group(1):
        raise CheckpointError("damaged: its SHA-256 does not fit its content")
    return header


def _compare(arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    differing = sorted(set(arrays) ^ set(expected))
    if differing:
        raise CheckpointError(f"not a checkpoint of this network: differing arrays {', '.join(differing)}")
    for name, array in arrays.items():
        wanted = expected[name]
        if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            raise CheckpointError(
                f"not a checkpoint of this network: {name}: expected {wanted.dtype} "
                f"{list(wanted.shape)}, got {array.dtype} {list(array.shape)}"
            )


def _facts(header: bytes) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
        metadata = dict(json.loads(header)["__metadata__"])
    if metadata.pop("format", None) != FORMAT:
        raise CheckpointError(f"not a checkpoint that this version reads: expected {FORMAT!r}")
    metadata.pop("sha256", None)
    try:
        return {name: json.loads(fact) for name, fact in metadata.items()}
    except (ValueError, RecursionError, TypeError):
        raise CheckpointError("its metadata is not JSON") from None
