"""What surrounds a command: the terminal, the shell and signals. Every error is a single line."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn


class UsageError(Exception):
    """The arguments cannot be used, for the reason in the message."""


def program() -> str:
    """The program as the user called it, for hints that can be copied into the shell."""
    return "minicnn" if Path(sys.argv[0]).name == "minicnn" else "python -m minicnn"


@contextlib.contextmanager
def in_the_shell() -> Iterator[None]:
    """Print warnings as one line each and file names in any encoding; let SIGTERM exit in good order."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if main_thread else None
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: warn(str(message))
        try:
            yield
        finally:
            if main_thread:
                signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def fail(message: str, code: int = 2) -> int:
    """Print what went wrong, and return the exit code."""
    tell(f"minicnn: {message}")
    return code


def warn(message: str) -> None:
    """Print a warning."""
    tell(f"minicnn: warning: {message}")


def tell(message: str) -> None:
    """Print the message as one line on stderr; if that fails, ignore it."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError), bar_hidden():
        print(one_line(message), file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """The text, with every unprintable character escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextlib.contextmanager
def bar_hidden() -> Iterator[None]:
    """Remove the progress bar from the screen while a line is printed."""
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode() if tqdm else contextlib.nullcontext():
        yield


def abandon_stdout_if_broken() -> None:
    """Discard output that cannot be printed; otherwise Python would try again at exit and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
