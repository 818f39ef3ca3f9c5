"""The directory of a run: its files, the lock on it, its settings and its metrics.

    config.json                       the settings; a directory with this file holds a run
    metrics.csv                       a row per log line: step,loss,training_accuracy,test_accuracy,seconds
    checkpoint.safetensors            the state to resume from: see `minicnn.runs.checkpoint`
    checkpoint.previous.safetensors   the one before
    .lock                             empty; locked while a process trains the run
    refusal.safetensors               when to say "not sure": see `minicnn.runs.refusal`

and the pictures that `minicnn.pictures` draws at the end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from minicnn.engine.network import Sequential, load_network
from minicnn.runs import checkpoint
from minicnn.runs.settings import Settings, from_config
from minicnn.storage import limits
from minicnn.storage.files import PathLike, make_directory, read_regular, remove_leftovers, write_whole
from minicnn.storage.outputs import CONFIG, METRICS, RUN_FILES

HEADER = "step,loss,training_accuracy,test_accuracy,seconds"

LOCK = ".lock"
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
PATIENCE = 0.5  # seconds to wait for a run directory that another process holds


class RunError(ValueError):
    """A run that cannot be begun or continued. The message is one line: what is wrong, and where."""


class InUse(RunError):  # noqa: N818
    """Another process holds the directory."""


# --- a new run ---


def make_run_directory(settings: Settings, directory: PathLike | None) -> tuple[Path, bool]:
    """A directory for a new run, and whether it was made here."""
    if directory is None:
        return _make_default_directory(settings), True
    path = Path(directory)
    try:
        make_directory(path)
        return path, True
    except FileExistsError:
        if not path.is_dir():
            raise RunError(f"{path}: expected a directory, got a file") from None
        return path, False


def _make_default_directory(settings: Settings) -> Path:
    time_utc = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    name = f"{time_utc}-{settings.model}-seed{settings.seed}"
    attempt = 1
    while True:
        path = Path("runs") / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            make_directory(path)
            return path
        except FileExistsError:
            if not path.is_dir():  # `runs` itself is a file
                raise
            attempt += 1


def expect_no_run(directory: Path) -> None:
    """Raise RunError if there is a file of a run in the directory."""
    with writing(directory):
        if any((directory / name).exists() for name in RUN_FILES):
            raise RunError(
                f"{directory}: already holds a run; continue it with --resume, or choose another directory"
            )


def remove_run(directory: Path) -> None:
    """Remove the files of a run that was not begun after all, as far as possible."""
    with contextlib.suppress(OSError):
        remove_run_leftovers(directory)
        for name in RUN_FILES:
            (directory / name).unlink(missing_ok=True)


def remove_directory(directory: Path) -> None:
    """Remove a directory that was made for a run and is not locked any more, if nothing else is in it."""
    with contextlib.suppress(OSError):
        (directory / LOCK).unlink(missing_ok=True)
        directory.rmdir()


def remove_run_leftovers(directory: Path) -> None:
    """Remove what a killed process left half-written."""
    for name in RUN_FILES:
        remove_leftovers(directory / name)


# --- the lock ---


@contextlib.contextmanager
def alone_in(directory: Path, doing: str = "training this run") -> Iterator[None]:
    """Hold a lock on the directory, which the system lifts whatever becomes of this process.

    Raises InUse, with what another process is `doing`, if it holds the lock, and not just for the moment in
    which it is refused.
    """
    lock = FileLock(directory / LOCK)
    with writing(directory):
        directory.stat()  # a lock would make what is missing
        try:
            lock.acquire(timeout=PATIENCE, poll_interval=0.01)
        except Timeout:
            raise InUse(f"{directory}: another process is {doing}") from None
        except NotImplementedError:  # a file system without locks
            pass
        except OSError as error:  # the same, as network file systems say it
            if error.errno not in WITHOUT_LOCKS:
                raise
    try:
        yield
    finally:
        lock.release()


# --- config.json ---


def read_config(directory: PathLike) -> tuple[Settings, dict[str, Any]]:
    """The settings in the config.json of a run, and all that it says.

    Raises RunError, naming the file, if there is none or something in it is wrong.
    """
    path = Path(directory) / CONFIG
    try:
        config = json.loads(read_regular(path, limits.CONFIG))
        if not isinstance(config, dict):
            raise ValueError("expected names and values")
        return from_config(config), config
    except FileNotFoundError:
        raise RunError(f"{directory}: holds no run (no {CONFIG} in it)") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: {reason(error)}") from None


def write_config(directory: Path, config: dict[str, Any]) -> None:
    """Replace config.json. Raises RunError if it cannot be written."""
    with writing(directory):
        write_whole(directory / CONFIG, f"{json.dumps(config, indent=2)}\n".encode())


# --- metrics.csv ---


def append_metrics(directory: Path, row: str) -> None:
    """Add a row to metrics.csv; durable on return, so that no checkpoint is ahead of it."""
    with writing(directory), open(directory / METRICS, "a", encoding="utf-8", newline="\n") as file:
        file.write(f"{row}\n")
        file.flush()
        os.fsync(file.fileno())


def cut_metrics(directory: Path, settings: Settings, step: int) -> None:
    """Keep the rows of metrics.csv that a run never stopped would have at this step.

    Before a training the file is always written: so what cannot be written is noticed now, not at the
    first save.
    """
    path, text = directory / METRICS, ""
    try:
        text = read_regular(path, limits.METRICS).decode(errors="replace")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({reason(error)}); move it away to go on without it"
        ) from None
    kept = [HEADER, *(line for line in text.split("\n")[1:-1] if _belongs(line, settings, step))]
    wanted = "\n".join(kept) + "\n"
    if wanted != text or step < settings.steps:
        write_whole(path, wanted.encode())


def _belongs(row: str, settings: Settings, reached: int) -> bool:
    try:
        first, *numbers = row.split(",")
        step = int(first)
        fits = len(numbers) == 4 and all(math.isfinite(float(number)) for number in numbers)
    except ValueError:
        fits = False
    if not fits:  # half a row, or a damaged one
        return False
    return 0 < step <= reached and (step % settings.log_every == 0 or step == settings.steps)


# --- the trained network ---


def read_network(directory: PathLike, warn: Callable[[str], None] = lambda line: None) -> Sequential:
    """The trained network of a run, as its newest readable checkpoint has it. Needs no data.

    If the newest file is damaged and the one before is used, `warn` gets one line that says so.
    Raises RunError if there is no run in the directory, ValueError if neither file can be used.
    """
    settings, _ = read_config(directory)
    if not checkpoint.exists(directory):
        raise RunError(f"{directory}: no checkpoint; the run has trained nothing yet")
    newest, previous = Path(directory) / checkpoint.NEWEST, Path(directory) / checkpoint.PREVIOUS
    try:
        return load_network(newest, settings.ops)
    except ValueError as error:
        try:
            network = load_network(previous, settings.ops)
        except ValueError:
            raise error from None
        warn(f"{error}; going back to {previous.name}")
        return network


# --- errors ---


@contextlib.contextmanager
def writing(directory: PathLike) -> Iterator[None]:
    """Turn an OSError into a RunError that names the directory."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{directory}: cannot be written ({reason(error)})") from None


def reason(error: Exception) -> str:
    """What an error says, in a few words."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return (isinstance(error, OSError) and error.strerror) or str(error)
