"""Writing a file so that a crash at any moment leaves the old one or the new one, never half."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from pathlib import Path

PathLike = str | os.PathLike[str]


def write_whole(path: PathLike, *pieces: bytes | memoryview, previous: PathLike | None = None) -> None:
    """Replace the file at `path` by these pieces, one after the other, durably.

    The data is on the disk before the name points to it, and the name is on the disk on return. The
    file that was there keeps the name `previous`, if one is given; it must be in the same directory.
    Raises OSError, with what was there untouched.
    """
    path = Path(path)
    coming = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with coming.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            _give_name(path, Path(previous))
        os.replace(coming, path)
    except BaseException:
        coming.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _give_name(path: Path, name: Path) -> None:
    """Let the file have this name too, so that it never goes without one."""
    link = path.with_name(f".{path.name}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without links: for a moment only the second name is there
        os.replace(path, name)
        return
    try:
        os.replace(link, name)
    finally:
        link.unlink(missing_ok=True)  # still there if both names were the same file already


def remove_leftovers(path: PathLike) -> None:
    """Remove what a killed `write_whole(path, ...)` left. Only for the one process that writes there."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def make_directory(path: PathLike) -> None:
    """Make a directory, and those above that are missing, durably. Raises OSError if it is there."""
    path = Path(path)
    missing = [path, *(parent for parent in path.parents if not parent.exists())]
    path.mkdir(parents=True)
    for made in missing:
        sync_directory(made.parent)


def sync_directory(directory: PathLike) -> None:
    """Have the names in a directory on the disk on return."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot, and do it anyway
            raise
    finally:
        os.close(handle)
