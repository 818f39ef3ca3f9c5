"""A pytest plugin that makes this process resemble one on Windows, as far as minicnn could notice.

    PYTHONPATH=tests pytest -p windows tests/test_training.py

- what only POSIX has is missing: modules, functions of `os`, signals, other processes by fork
- files that are open cannot be replaced, removed or moved to: PermissionError with `winerror` 32
- a directory cannot be opened

What cannot be had this way: backslashes, drive letters, reserved names, and Windows's own threads and
kernels.
"""

import enum
import errno
import importlib
import os
import signal
import sys
from pathlib import Path

import pytest

FRAMEWORKS = ("torch", "jax")  # which found out at their installation what system this is
MODULES = ("fcntl", "grp", "pwd", "termios", "tty", "pty")
OF_OS = (
    "O_NOCTTY",
    "fork",
    "mkfifo",
    "register_at_fork",
    "sched_getaffinity",
    "sched_setaffinity",
)
SIGNALS = ("SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV")  # all that Windows has
NEEDED_BY_PYTHON = ("SIGKILL",)  # to end other processes here
PYTHONS_OWN = (
    "filelock",
    "asyncio",
    "multiprocessing.popen_spawn_posix",
    "socket",
    "subprocess",
    "tempfile",
    "webbrowser",
)
PACKAGE = f"{Path(__file__).resolve().parent.parent / 'minicnn'}{os.sep}"
TESTS = f"{Path(__file__).resolve().parent}{os.sep}"
SHARING_VIOLATION = 32


def asked_by_minicnn():
    """Whether minicnn called the function of `os` below, perhaps through pathlib; Python does, too."""
    frames = sys._getframe(2), sys._getframe(3)
    return any(PACKAGE in frame.f_code.co_filename for frame in frames)


def is_open(path):
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


def refusing(change, count):
    """A function of `os` that refuses to change files that are open; `count` of its arguments are files."""

    def changed(*arguments, **options):
        for path in arguments[:count]:
            if asked_by_minicnn() and is_open(path):
                error = PermissionError(errno.EACCES, "in use by another process", os.fspath(path))
                error.winerror = SHARING_VIOLATION
                raise error
        return change(*arguments, **options)

    return changed


def open_no_directory(path, flags, *more, _open=os.open, **options):
    if asked_by_minicnn() and os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return _open(path, flags, *more, **options)


def resemble_windows():
    """Before minicnn is imported."""
    assert "minicnn" not in sys.modules
    for name in PYTHONS_OWN:  # may use what POSIX has; on Windows they use something else
        importlib.import_module(name)
    for name in (*FRAMEWORKS, *MODULES):
        sys.modules[name] = None
    for name in OF_OS:
        if hasattr(os, name):
            delattr(os, name)
    for name in signal.Signals.__members__:
        if name not in (*SIGNALS, *NEEDED_BY_PYTHON):
            delattr(signal, name)
    signal.Signals = enum.IntEnum("Signals", {name: signal.Signals[name].value for name in SIGNALS})
    os.open = open_no_directory
    os.replace, os.rename = refusing(os.replace, 2), refusing(os.rename, 2)
    os.unlink = os.remove = refusing(os.unlink, 1)


resemble_windows()


def pytest_collection_modifyitems(items):
    for item in items:
        if "no_directory_fsync" in item.fixturenames:
            item.add_marker(pytest.mark.skip("flushes a directory, which Windows cannot open"))


def skip_what_windows_lacks(outcome):
    """A test that itself uses what is missing says nothing about Windows: it is skipped."""
    if outcome.excinfo is not None and issubclass(outcome.excinfo[0], AttributeError):
        error = outcome.excinfo[1]
        missing = error.name in (*OF_OS, *("SIGHUP", "SIGPIPE", "SIGALRM", "SIGSTOP", "SIGCONT"))
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        if missing and trace.tb_frame.f_code.co_filename.startswith(TESTS):
            outcome.force_exception(pytest.skip.Exception(f"needs {error.name}, which Windows lacks"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    skip_what_windows_lacks((yield))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    skip_what_windows_lacks((yield))
