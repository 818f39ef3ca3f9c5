"""Reading only regular files, and writing so that a crash leaves the old file or the new one, never half."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import stat
import time
from pathlib import Path
from typing import BinaryIO

PathLike = str | os.PathLike[str]
IN_USE = (5, 32)  # Windows: access denied, sharing violation
PATIENCE = 2.0  # seconds to wait for a file that another process reads: a virus scanner, a picture viewer


def open_regular(path: PathLike, limit: int) -> BinaryIO:
    """Open a regular file of at most `limit` bytes, or a symbolic link to one, for reading.

    Every file that minicnn reads is opened here. Raises OSError for everything else: opening a named
    pipe could block forever, a device may never end, and a file may claim any size.
    """
    _expect_regular(path)  # before it is opened: opening alone can move a tape
    with contextlib.ExitStack() as closing:
        file = closing.enter_context(open(path, "rb", opener=_without_waiting))
        status = os.fstat(file.fileno())  # of what was opened, whatever the name points to by now
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if status.st_size > limit:
            wrong = f"too large: expected at most {limit:,} bytes, got {status.st_size:,}"
            raise OSError(errno.EFBIG, wrong, os.fspath(path))
        closing.pop_all()  # the caller closes it
    return file


def read_regular(path: PathLike, limit: int) -> bytes:
    """The bytes of a regular file, at most `limit` of them. Raises OSError like `open_regular`."""
    with open_regular(path, limit) as file:
        return file.read(min(os.fstat(file.fileno()).st_size, limit))


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
        replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # the user knows the file by this name only
            raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
        raise
    sync_directory(target.parent)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


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
        replace(path, name)
        return
    try:
        replace(link, name)
    finally:
        link.unlink(missing_ok=True)  # still there if both names were the same file already


def replace(source: PathLike, target: PathLike) -> None:
    """`os.replace`, which Windows refuses while another process has one of the files open: then wait a while.

    Raises OSError if that takes more than PATIENCE seconds, or for another reason.
    """
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in IN_USE or time.monotonic() > give_up:
                raise
            time.sleep(0.02)


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
    """Flush the names in a directory to disk, where its file system can.

    Many cannot: encrypted, network and user-space file systems answer with all kinds of errors. None is
    raised, because the file has its name already: nothing can be taken back.
    """
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
