"""What surrounds a command: the terminal, the shell and signals. Every error is a single line."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from minicnn._version import __version__
from minicnn.runs.signals import handled
from minicnn.storage.names import printable

INTERNAL_ERROR = 70  # the exit code: EX_SOFTWARE of sysexits.h


class UsageError(Exception):
    """The arguments cannot be used, for the reason in the message."""


def program() -> str:
    """The program as the user called it, for hints that can be copied into the shell."""
    return "minicnn" if Path(sys.argv[0]).stem == "minicnn" else "python -m minicnn"


def quoted(name: object) -> str:
    """The name of a file as the shell of this system takes it, for the same hints."""
    if sys.platform == "win32":  # neither of its shells takes a backslash in single quotes as it is
        return subprocess.list2cmdline([str(name)])
    return shlex.quote(str(name))


@contextlib.contextmanager
def in_the_shell() -> Iterator[None]:
    """Print warnings as one line each and text in any encoding; let SIGTERM and SIGHUP exit in good order."""
    streams: tuple[Any, Any] = (sys.stdout, sys.stderr)
    for stream in streams:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # not a stream of Python's own
            stream.reconfigure(errors="backslashreplace")
    main_thread = threading.current_thread() is threading.main_thread()
    before: dict[int, Any] = {}
    if main_thread:
        ours = [number for number in handled() if number != signal.SIGINT]
        before = {number: signal.signal(number, _terminate) for number in ours}
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: warn(str(message))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _terminate(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


# --- printing: the only places from which the commands print ---


STYLES = {"green": "32", "red": "31", "bold": "1", "dim": "2"}  # and their codes of ECMA-48


def say(text: str = "", style: str = "") -> None:
    """Print a result on stdout, as one line whatever is in it; on a terminal in a style, if it has one."""
    line = printable(text)
    if style and line and has_colours(sys.stdout):
        line = f"\x1b[{STYLES[style]}m{line}\x1b[0m"
    with bar_hidden():
        print(line, flush=True)


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
    with contextlib.suppress(OSError, ValueError), bar_hidden():
        print(printable(message), file=sys.stderr, flush=True)


@contextlib.contextmanager
def bar_hidden() -> Iterator[None]:
    """Remove the progress bar from the screen while a line is printed."""
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode() if tqdm else contextlib.nullcontext():
        yield


def is_terminal(stream: Any) -> bool:
    """Whether a stream, which need not be one of Python's own, says that a person reads it."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # None, or an object with little more than write(), or closed
        return False


def has_colours(stream: Any) -> bool:
    """Whether a stream is a terminal that shows colours, and nobody objects (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_print(text: str) -> bool:
    """Whether the encoding of stdout has these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def columns(stream: Any) -> int:
    """How many characters fit into a line of the terminal; 0 if that cannot be known."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return 0


def speaks_unicode(stream: Any) -> bool:
    """Whether a stream has all characters, each as wide as elsewhere: blocks are double in GBK's consoles."""
    return str(getattr(stream, "encoding", None)).lower().startswith("utf")


def progress_bar(total: float | None, **options: Any) -> Any:
    """A bar of tqdm's on stderr, which is gone at its end; where no terminal is, it shows nothing."""
    from tqdm import tqdm

    size: Any = {"dynamic_ncols": True} if columns(sys.stderr) > 0 else {"ncols": 80, "nrows": 24}
    shown = {"disable": not is_terminal(sys.stderr), "ascii": not speaks_unicode(sys.stderr)}
    return tqdm(total=total, leave=False, **shown, **size, **options)


def abandon_stdout_if_broken() -> None:
    """Discard output that cannot be printed; otherwise Python would try again at exit and complain."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


# --- the last resort ---


def fail_unexpectedly(error: Exception, argv: list[str]) -> int:
    """Print one line for an error that nobody foresaw, and keep what its report needs in a file."""
    lines = [
        f"minicnn {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"arguments: {argv}",
        "",
        "".join(traceback.format_exception(error)),
    ]
    what = f"{type(error).__name__}: {error}"
    if len(what) > 200:
        what = f"{what[:200]}..."
    try:
        handle, report = tempfile.mkstemp(prefix="minicnn-error-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write("\n".join(lines))
    except OSError:
        return fail(f"internal error: {what}; this is a fault of minicnn, please report it", INTERNAL_ERROR)
    return fail(
        f"internal error: {what}; this is a fault of minicnn, please report it with {report}", INTERNAL_ERROR
    )
