"""The world around a command: the terminal, the shell, signals; errors as one line each."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import NoReturn


class UsageError(Exception):
    """The arguments cannot be used; the message says why."""


@contextlib.contextmanager
def on_terms_with_the_shell() -> Iterator[None]:
    """Every message in one line, any file name printable, SIGTERM an orderly exit."""
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
    """Say what went wrong, and return the exit code."""
    tell(f"minicnn: {message}")
    return code


def warn(message: str) -> None:
    """Say what should be known but stops nothing."""
    tell(f"minicnn: warning: {message}")


def tell(message: str) -> None:
    """One line on stderr, whatever is in the message; never an error of its own."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError), bar_hidden():
        print(one_line(message), file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """The text with everything escaped that a terminal would not just show."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextlib.contextmanager
def bar_hidden() -> Iterator[None]:
    """Take a progress bar off the screen while a line is printed."""
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode() if tqdm else contextlib.nullcontext():
        yield


def abandon_stdout_if_broken() -> None:
    """Throw away what cannot be printed, or Python tries again at its exit and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
