"""Makes a Python process on Linux resemble one on Windows or macOS, as far as minicnn could notice.

    PYTHONPATH=tests/elsewhere RESEMBLE=win32 pytest -p skip_missing tests/test_training.py

minicnn and its tests, and nobody else, see the modules of the standard library as they are there: without
what they lack by typeshed (`systems.py`), and with that `sys.platform`. So do the processes that the tests
start. Besides:

- both: /proc and /sys are not there
- Windows: files that are open cannot be replaced, removed or moved to (PermissionError with `winerror` 32);
  a directory cannot be opened; no directory is called CON or NUL; text files get CR LF; there is a Ctrl-Break
- macOS: the C library is not glibc

What cannot be had this way: backslashes, drive letters, names that differ only in case, and the threads, the
kernels and the file systems of these systems.
"""

from __future__ import annotations

import builtins
import ctypes
import enum
import errno
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

import systems

TESTS = str(Path(__file__).resolve().parent.parent)
OURS = (f"{TESTS}{os.sep}test_", *(f"{TESTS}{os.sep}{name}.py" for name in ("conftest", "runs", "commands")))
PACKAGE = f"{Path(TESTS).parent / 'minicnn'}{os.sep}"
WINDOWS_SIGNALS = ("SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV")
SIGBREAK = 21
RESERVED = ("con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10)))
SHARING_VIOLATION, INVALID_DIRECTORY_NAME = 32, 267
GLIBC = ("malloc_trim", "mallopt", "sched_setaffinity", "prctl")  # and not of the C library of macOS


class Lacking:
    """A module without some of its names, and with others in the place of some. It passes on what is set."""

    __slots__ = ("_missing", "_module", "_others")

    def __init__(self, module: Any, missing: frozenset[str], others: dict[str, Any]) -> None:
        for name, value in (("_module", module), ("_missing", missing), ("_others", others)):
            object.__setattr__(self, name, value)

    @property
    def __dict__(self) -> dict[str, Any]:
        return vars(self._module) | self._others  # in which pytest looks for what it will put back

    def __getattr__(self, name: str) -> Any:
        if name in self._others:
            return self._others[name]
        if name in self._missing:
            raise AttributeError(f"{self._module.__name__} has no {name} on this system", name=name, obj=self)
        return getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._others:
            self._others[name] = value
        else:
            setattr(self._module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._module, name)


def begin(system: str) -> None:
    """Before minicnn is imported."""
    hide_linux()
    if system == "win32":
        refuse_what_windows_refuses()
        others = windows()
    else:
        others = macos()
    others["sys"] = {"platform": system}
    hide_from_ours(system, others)


def hide_from_ours(system: str, others: dict[str, dict[str, Any]]) -> None:
    seen: dict[str, Any] = {}
    import_module = builtins.__import__

    def imported(name, globals=None, locals=None, fromlist=(), level=0):
        if level or globals is None or not str(globals.get("__file__")).startswith((PACKAGE, *OURS)):
            return import_module(name, globals, locals, fromlist, level)
        if systems.is_absent(name, system):
            raise ModuleNotFoundError(f"No module named {name!r} on this system", name=name)
        found = import_module(name, globals, locals, fromlist, level)
        if found.__name__ not in seen:
            missing, more = systems.lacking(found.__name__, system), others.get(found.__name__, {})
            seen[found.__name__] = Lacking(found, missing, more) if missing or more else found
        return seen[found.__name__]

    builtins.__import__ = imported


def asked_by_minicnn(depth: int = 4) -> bool:
    """Whether minicnn called the function below, perhaps through pathlib; Python and others do, too."""
    frame = sys._getframe(2)
    for _ in range(depth):
        if frame is None:
            return False
        if frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


def hide_linux() -> None:
    """Let minicnn find neither /proc nor /sys."""
    open_file, stat = io.open, os.stat

    def expect_there(path: Any) -> None:
        if not isinstance(path, (str, os.PathLike)):
            return
        if os.fspath(path).startswith(("/proc/", "/sys/")) and asked_by_minicnn(6):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fspath(path))

    def open_what_is_there(file, *more, **options):
        expect_there(file)
        return open_file(file, *more, **options)

    def stat_what_is_there(path, *more, **options):
        expect_there(path)
        return stat(path, *more, **options)

    io.open = builtins.open = open_what_is_there
    os.stat = stat_what_is_there


# --- Windows ---


def windows() -> dict[str, dict[str, Any]]:
    signals = {name: signal.Signals[name].value for name in WINDOWS_SIGNALS} | {"SIGBREAK": SIGBREAK}
    known = enum.IntEnum("Signals", signals)
    return {
        "signal": {"Signals": known, "set_wakeup_fd": wake, **{name: known[name] for name in signals}},
        "ctypes": {"CDLL": only_by_name},
    }


def wake(handle: int, **options: Any) -> int:
    """`signal.set_wakeup_fd`, which on Windows does not ask for a pipe that never blocks."""
    if handle >= 0:
        os.set_blocking(handle, False)
    return signal.set_wakeup_fd(handle, **options)


def only_by_name(name: str | None, *more: Any) -> ctypes.CDLL:
    if name is None:
        raise TypeError("argument of type 'NoneType' is not iterable")
    return ctypes.CDLL(name, *more)


def is_open(path: Any) -> bool:
    """Whether this process has the file open."""
    try:
        wanted = os.stat(path)
    except OSError:
        return False
    for handle in os.listdir("/proc/self/fd"):
        try:
            found = os.stat(int(handle))
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def refusing(change: Any, count: int) -> Any:
    """A function of `os` that refuses to change files that are open; `count` of its arguments are files."""

    def changed(*arguments: Any, **options: Any) -> Any:
        for path in arguments[:count]:
            if asked_by_minicnn() and is_open(path):
                error = PermissionError(errno.EACCES, "in use by another process", os.fspath(path))
                error.winerror = SHARING_VIOLATION
                raise error
        return change(*arguments, **options)

    return changed


def refuse_what_windows_refuses() -> None:
    open_, mkdir, open_text = os.open, os.mkdir, io.open

    def open_no_directory(path, flags, *more, **options):
        if asked_by_minicnn() and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_(path, flags, *more, **options)

    def make_no_device(path, *more, **options):
        if asked_by_minicnn() and Path(path).name.lower().partition(".")[0] in RESERVED:
            error = NotADirectoryError(errno.ENOTDIR, "The directory name is invalid", os.fspath(path))
            error.winerror = INVALID_DIRECTORY_NAME
            raise error
        return mkdir(path, *more, **options)

    def open_with_crlf(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **options):
        if "b" not in mode and "r" not in mode and newline is None and asked_by_minicnn():
            newline = "\r\n"
        return open_text(file, mode, buffering, encoding, errors, newline, **options)

    os.open, os.mkdir = open_no_directory, make_no_device
    io.open = builtins.open = open_with_crlf
    os.replace, os.rename = refusing(os.replace, 2), refusing(os.rename, 2)
    os.unlink = os.remove = refusing(os.unlink, 1)


# --- macOS ---


def macos() -> dict[str, dict[str, Any]]:
    names = {name for name in os.sysconf_names if name not in ("SC_AVPHYS_PAGES", "SC_NPROCESSORS_CONF")}

    def sysconf(name: str) -> int:
        if name not in names:
            raise ValueError("unrecognized configuration name")
        return os.sysconf(name)

    return {"os": {"sysconf": sysconf}, "ctypes": {"CDLL": Library}}


class Library(ctypes.CDLL):
    """A shared library without what only glibc has."""

    def __getattr__(self, name: str) -> Any:
        if name in GLIBC:
            raise AttributeError(f"symbol not found: {name}", name=name, obj=self)
        return super().__getattr__(name)
