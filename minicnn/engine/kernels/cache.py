"""Where machine code is kept, so that only the first run ever compiles.

Numba keys its cache by the file of a function and would not notice an edit in another one that the
function uses. So the directory is named after a digest of all that the kernels are compiled from: these
sources, the memory layout that they rely on, and the width of vectors.

No writable place, or a damaged or deleted cache, costs a compilation and one warning, never a crash.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config

from minicnn.engine.locks import Lock

_setting_lock = Lock()  # Numba's setting is global, the directory is not

LONGEST = 150  # characters of the names that Numba makes in the directory, with a margin
MOST = 259  # characters of a whole path on Windows, unless its owner has allowed more


def _find_directory() -> str | None:
    """The first writable of: Numba's own setting, beside the sources, the user's cache.

    On Windows, of those whose path is short enough.

    If a place that comes before it is full of kernels but cannot be written, as in a read-only
    installation, they are copied: Numba reads only where it can write. Failing all, into a directory that
    lasts as long as this process.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted([*here.glob("*.py"), here.parent / "workspace.py"]):
        digest.update(source.read_bytes())
    digest.update(os.environ.get("MINICNN_VECTOR_BITS", "").encode())  # see processor.py
    name = f"minicnn-kernels-{digest.hexdigest()[:12]}"
    places = [here / "__pycache__"]
    try:
        user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        places.append(user / "minicnn")
    except RuntimeError:  # no home directory
        pass
    if config.CACHE_DIR:
        places.insert(0, Path(config.CACHE_DIR))
    filled = None
    for directory in (place / name for place in places):
        if sys.platform == "win32" and len(str(directory)) + LONGEST > MOST:
            continue
        try:
            if filled is not None and not directory.exists():
                _copy(filled, directory)
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return str(directory)
        except OSError:
            with contextlib.suppress(OSError):
                if filled is None and any(directory.rglob("*.nbi")):
                    filled = directory
    if filled is not None:
        with contextlib.suppress(OSError):
            directory = Path(tempfile.mkdtemp(prefix="minicnn-kernels-"))
            atexit.register(_remove, directory, os.getpid())
            shutil.copytree(filled, directory, dirs_exist_ok=True)
            return str(directory)
    return None


def _copy(filled: Path, directory: Path) -> None:
    """Copy a cache to where none is. Another process may do so at the same time."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
    try:
        shutil.copytree(filled, beside, dirs_exist_ok=True)
        beside.rename(directory)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)


def _remove(directory: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not a forked child
        shutil.rmtree(directory, ignore_errors=True)


DIRECTORY = _find_directory()
_warned = False


def warn_uncached(reason: str) -> None:
    """Say, once in a process, that machine code is not kept."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"kernels are compiled anew in every process: {reason}; "
            "set NUMBA_CACHE_DIR to a writable directory",
            RuntimeWarning,
            stacklevel=5,
        )


def compiled(function: Callable, directory: str | None, **options: Any) -> tuple[Any, str | None]:
    """Numba's dispatcher of `function`, and the directory that it keeps its code in, if any."""
    if directory is None:
        warn_uncached("no directory for the cache is writable")
    else:
        # Numba does not tell the two variants apart: each has a directory of its own.
        directory = os.path.join(directory, "parallel" if options["parallel"] else "serial")
        try:
            return _compile(function, directory, options), directory
        except (RuntimeError, OSError) as error:  # the directory went away or filled up
            warn_uncached(f"the cache in {directory} failed ({error})")
    return _compile(function, None, options), None


def _compile(function: Callable, directory: str | None, options: dict[str, Any]) -> Any:
    with _setting_lock:
        before = config.CACHE_DIR
        try:
            config.CACHE_DIR = directory or ""
            return numba.njit(cache=directory is not None, **options)(function)
        finally:
            config.CACHE_DIR = before
