"""Reading only regular files, and writing so that a crash leaves the old file or the new one, never half."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

PathLike = str | os.PathLike[str]


def open_regular(path: PathLike) -> BinaryIO:
    """Open a regular file, or a symbolic link to one, for reading.

    Raises OSError for everything else: opening a named pipe could block forever, and a device may
    never end.
    """
    _expect_regular(path)
    return open(path, "rb")


def write_whole(path: PathLike, *pieces: bytes | memoryview, previous: PathLike | None = None) -> None:
    """Replace the contents of the file at `path` by these pieces, one after the other, durably.

    The data is on disk before the name points to it, and the name is on disk on return. The old
    contents stay available as the file `previous`, if that is given; both must be on one file system.
    A symbolic link is followed: the file that it points to is replaced. Raises OSError, leaving the
    old file untouched; also if `path` exists and is not a regular file.
    """
    target = _target(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and target.exists():
            _also_name(target, Path(previous))
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # the user knows the file by this name only
            raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
        raise
    sync_directory(target.parent)


def _expect_regular(path: PathLike) -> None:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def _target(path: PathLike) -> Path:
    """The file that a writer replaces: what a symbolic link points to, which need not exist yet."""
    try:
        _expect_regular(path)
    except FileNotFoundError:
        pass
    return Path(os.path.realpath(path))


def _also_name(path: Path, name: Path) -> None:
    """Add a second name for the file, without a moment in which it has no name."""
    link = path.with_name(f".{path.name}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links: for a moment only the second name exists
        os.replace(path, name)
        return
    try:
        os.replace(link, name)
    finally:
        link.unlink(missing_ok=True)  # still there if both names were the same file already


def remove_leftovers(path: PathLike) -> None:
    """Remove what a killed `write_whole(path, ...)` left behind. Safe only for its single writer."""
    target = Path(os.path.realpath(path))
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*"):
        leftover.unlink(missing_ok=True)


def make_directory(path: PathLike) -> None:
    """Create a directory and its missing parents, durably. Raises OSError if it exists."""
    path = Path(path)
    missing = [path, *(parent for parent in path.parents if not parent.exists())]
    path.mkdir(parents=True)
    for made in missing:
        sync_directory(made.parent)


def sync_directory(directory: PathLike) -> None:
    """Flush the names in a directory to disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do not support it, nor need it
            raise
    finally:
        os.close(handle)
