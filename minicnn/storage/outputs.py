"""Files that a user names for output: what a writer may replace, and what it must not."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from minicnn.storage.files import PathLike, replace, sync_directory, write_whole

# The files of a run. Only the run itself writes them: see `minicnn.runs.directory`.
CONFIG, METRICS = "config.json", "metrics.csv"
NEWEST, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
REFUSAL = "refusal.safetensors"
RUN_FILES = (CONFIG, METRICS, NEWEST, PREVIOUS, REFUSAL)
PICTURES = ("curves.png", "confusion.png", "filters.png", "mistakes.png")  # drawn into its directory


def write_output(path: PathLike, *pieces: bytes | memoryview) -> None:
    """Write a file that the user named, whole or not at all. Raises OSError as `expect_output` does."""
    expect_output(path)
    write_whole(path, *pieces)


def expect_output(path: PathLike, reading: Iterable[PathLike] = ()) -> None:
    """Raise OSError unless a file may be written under this name.

    It may if nothing is there, or a regular file that is neither part of a run nor one of those that are
    being read. Symbolic links are followed.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise _refusal(errno.EISDIR, "a directory", path)
    if target.exists() and not target.is_file():
        raise _refusal(errno.EEXIST, "not a regular file", path)
    if not target.parent.is_dir():
        raise _refusal(errno.ENOENT, "not in a directory that exists", path)
    if target.name.lower() in RUN_FILES and (target.parent / CONFIG).exists():
        raise _refusal(errno.EEXIST, "a file of a run, which is never replaced; choose another name", path)
    if any(_same(target, source) for source in reading):
        raise _refusal(errno.EEXIST, "the file that is being read; choose another name", path)


def write_new_directory(path: PathLike, files: Mapping[str, bytes]) -> None:
    """Make a directory with these files, by their paths in it, whole or not at all.

    Raises OSError as `expect_new_directory` does, or if it cannot be written.
    """
    expect_new_directory(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        temporary.mkdir()
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(temporary / name, content)
        if target.exists():
            target.rmdir()  # empty, or this fails
        replace(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):  # the user knows the directory by this name only
            raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
        raise
    sync_directory(target.parent)


def expect_new_directory(path: PathLike, reading: Iterable[PathLike] = ()) -> None:
    """Raise OSError unless a directory may be made under this name, or an empty one is there.

    It may not lie within one of those that are being read.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_dir():
        raise _refusal(errno.EEXIST, "not a directory; choose another name", path)
    if target.is_dir() and any(target.iterdir()):
        raise _refusal(errno.EEXIST, "not empty; choose another name", path)
    if not target.parent.is_dir():
        raise _refusal(errno.ENOENT, "not in a directory that exists", path)
    for source in map(os.path.realpath, reading):
        if os.path.isdir(source) and target.is_relative_to(source):
            raise _refusal(errno.EEXIST, f"within {os.fspath(source)}, which is being read", path)


def _same(target: Path, source: PathLike) -> bool:
    if target.exists() and os.path.exists(source):
        return target.samefile(source)  # also by another name of it
    return target == Path(os.path.realpath(source))


def _refusal(number: int, reason: str, path: PathLike) -> OSError:
    return OSError(number, reason, os.fspath(path))
