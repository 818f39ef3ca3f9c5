"""What a run is resumed from: one file that is whole, or is refused.

`checkpoint.safetensors` opens with plain safetensors, in NumPy or PyTorch. Its arrays:

    conv1.weight [5, 5, 1, 32], conv1.bias [32], ...   the network's parameters and state, by name
    adam/m/conv1.weight, adam/v/conv1.weight, ...      Adam's moments (sgd/velocity/<parameter> for SGD)
    model/conv1.weight, ...                            where the network is a moving average: of what

Convolution weights are [kh, kw, C, F], dense weights [D, F]; all C-contiguous. The metadata holds
facts in JSON, each under its name, and the digest of the whole file: see `minicnn.storage.checksummed`.

A new checkpoint is complete on the disk before it gets its name, and the one before is kept beside
it: at every moment of a save, whatever happens, one whole checkpoint is there.

What the facts mean is not known here: see `minicnn.runs.run`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minicnn.storage.checksummed import read_checksummed, write_checksummed
from minicnn.storage.files import PathLike, replace, sync_directory
from minicnn.storage.outputs import NEWEST, PREVIOUS
from minicnn.storage.tensors import name_some

FORMAT = "minicnn checkpoint 2"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The message is one line: which file, and what is wrong."""


class Checkpoint(NamedTuple):
    """What was read from a file: see the table above."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]
    path: Path


def exists(directory: PathLike) -> bool:
    """Whether there is a checkpoint of either generation."""
    # A link that leads nowhere is one, too, that cannot be read: a disk may be missing.
    return any(os.path.lexists(Path(directory) / name) for name in (NEWEST, PREVIOUS))


def save(directory: PathLike, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays and facts (anything that JSON can say) as the newest checkpoint of `directory`.

    Durable on return. Raises OSError, with the checkpoints that were there untouched.
    """
    directory = Path(directory)
    texts = {"format": FORMAT} | {name: json.dumps(fact) for name, fact in facts.items()}
    write_checksummed(directory / NEWEST, arrays, texts, previous=directory / PREVIOUS)


def load(directory: PathLike, expected: Mapping[str, np.ndarray], warn: Callable[[str], None]) -> Checkpoint:
    """Read the newest checkpoint of `directory` that is whole. Changes no file.

    Its arrays must have the names, shapes and dtypes of `expected`, whose values do not matter. If
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
        arrays, texts = read_checksummed(path, max_bytes=sum(array.nbytes for array in expected.values()))
        facts = _facts(texts)
        _compare(arrays, expected)
        return Checkpoint(arrays, facts, path)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def go_back_to(path: Path) -> None:
    """Make the checkpoint that `load` chose the newest, so that the next save keeps no damaged one."""
    if path.name != NEWEST:
        replace(path, path.with_name(NEWEST))
        sync_directory(path.parent)


# --- each step of reading raises ValueError with what is wrong; `read` adds the name of the file ---


def _facts(texts: Mapping[str, Any]) -> dict[str, Any]:
    if texts.get("format") != FORMAT:
        raise ValueError(f"not a checkpoint that this version reads: expected {FORMAT!r}")
    try:
        return {name: json.loads(text) for name, text in texts.items() if name != "format"}
    except (ValueError, RecursionError, TypeError):
        raise ValueError("its metadata is not JSON") from None


def _compare(arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    differing = set(arrays) ^ set(expected)
    if differing:
        raise ValueError(f"not a checkpoint of this network: differing arrays {name_some(differing)}")
    for name, array in arrays.items():
        wanted = expected[name]
        if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"not a checkpoint of this network: {name}: expected {wanted.dtype} "
                f"{list(wanted.shape)}, got {array.dtype} {list(array.shape)}"
            )
