"""How kernels are compiled, cached and called: the one place that knows Numba's traps.

`@kernel` compiles a whole loop nest that Python calls; `@helper` compiles a piece of one, which is
inlined into the kernels of its file. A kernel never raises and never allocates: arguments are
checked in Python before the call, arrays come from `buffers.empty`.

What the wrapper guards against:

- Machine code is cached on disk, in a directory named after a digest of all kernel sources, so that
  an edit in one file never runs stale code from another. No writable place for it, or a damaged or
  deleted cache, costs a compilation and one warning, never a crash.
- Numba's fallback threading layer aborts when two threads start parallel kernels at once: a lock.
- After a fork, OpenMP's threads are gone and a parallel kernel would kill the child: the child runs
  the same loops serially. Blocks of work have a fixed size, so the bits are the same.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config, event

# Fusing a * b + c into one rounding is the only liberty taken. "nnan" and "ninf" would break the
# detection of training that diverges, "reassoc" the promise of the same bits everywhere.
FLAGS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}

_parallel_lock = threading.RLock()
_forked = False


def _after_fork_in_child() -> None:
    global _forked, _parallel_lock
    _forked, _parallel_lock = True, threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _cache_directory() -> str | None:
    """The first writable of: Numba's own setting, beside the sources, the user's cache."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(here.glob("*.py")):
        digest.update(source.read_bytes())
    name = f"minicnn-kernels-{digest.hexdigest()[:12]}"
    places = [here / "__pycache__"]
    try:
        user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        places.append(user / "minicnn")
    except RuntimeError:  # no home directory
        pass
    if config.CACHE_DIR:
        places.insert(0, Path(config.CACHE_DIR))
    for place in places:
        try:
            directory = place / name
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return str(directory)
        except OSError:
            continue
    return None


_cache_dir = _cache_directory()
_warned = False


def _warn_uncached(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"kernels are compiled anew in every process: {reason}; "
            "set NUMBA_CACHE_DIR to a writable directory",
            RuntimeWarning,
            stacklevel=4,
        )


def _compile(function: Callable, parallel: bool, cache: bool) -> Any:
    if not cache:
        return numba.njit(parallel=parallel, **FLAGS)(function)
    before = config.CACHE_DIR
    try:
        config.CACHE_DIR = _cache_dir
        return numba.njit(parallel=parallel, cache=True, **FLAGS)(function)
    finally:
        config.CACHE_DIR = before


class Kernel:
    """A compiled function that survives a broken cache, threads and forks."""

    def __init__(self, function: Callable, parallel: bool) -> None:
        self.__name__, self.__doc__, self.__wrapped__ = function.__name__, function.__doc__, function
        self.parallel = parallel
        self._compiled: Any = None
        self._cached = False
        self._serial: Any = None

    def __call__(self, *args: Any) -> Any:
        if not self.parallel:
            return self._run(*args)
        if _forked:
            if self._serial is None:
                self._serial = _compile(self.__wrapped__, parallel=False, cache=False)
            return self._serial(*args)
        with _parallel_lock:
            return self._run(*args)

    def _run(self, *args: Any) -> Any:
        if self._compiled is None:
            self._compile()
        try:
            return self._compiled(*args)
        except Exception as error:
            # Kernels do not raise, so this comes from reading or writing the cache (or is a mistake
            # in the types, which the second compilation reports again).
            if not self._cached:
                raise
            _warn_uncached(f"the cache in {_cache_dir} failed ({type(error).__name__}: {error})")
            self._compiled, self._cached = _compile(self.__wrapped__, self.parallel, False), False
            return self._compiled(*args)

    def _compile(self) -> None:
        self._cached = _cache_dir is not None
        if not self._cached:
            _warn_uncached("no directory for the cache is writable")
        try:
            self._compiled = _compile(self.__wrapped__, self.parallel, self._cached)
        except (RuntimeError, OSError) as error:  # the directory went away or filled up
            _warn_uncached(f"the cache in {_cache_dir} failed ({error})")
            self._compiled, self._cached = _compile(self.__wrapped__, self.parallel, False), False


def kernel(*, parallel: bool) -> Callable[[Callable], Kernel]:
    """Compile a loop nest; `parallel=True` makes its `prange` loops run on all threads."""
    return lambda function: Kernel(function, parallel)


def helper(function: Callable) -> Any:
    """Compile a piece of a kernel. Call it only from the kernels of the same package."""
    return numba.njit(inline="never", **FLAGS)(function)


def set_threads(count: int) -> None:
    """Use `count` threads from here on. Raises ValueError outside 1..available."""
    most = config.NUMBA_NUM_THREADS
    if not 1 <= count <= most:
        raise ValueError(f"threads: expected 1 to {most}, got {count}")
    numba.set_num_threads(count)


class _FirstCompilation(event.Listener):
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def on_start(self, _: Any) -> None:
        if self.callback is not None:
            callback, self.callback = self.callback, None
            callback()

    def on_end(self, _: Any) -> None:
        pass


def on_first_compilation(callback: Callable[[], None]) -> None:
    """Call `callback` once, just before the first kernel that is not in the cache is compiled."""
    event.register("numba:compile", _FirstCompilation(callback))
