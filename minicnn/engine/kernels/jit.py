"""How kernels are compiled, cached and called: the one place that knows Numba's traps.

`@kernel` compiles a whole loop nest that Python calls; `@helper` compiles a piece of one, which is
inlined into the kernels of its file. A kernel never raises and never allocates: arguments are
checked in Python before the call, arrays come from a workspace.

What the wrapper guards against:

- Machine code is cached on disk, in a directory named after a digest of all kernel sources, because
  Numba itself would not notice an edit in another file than the kernel's. No writable place for it,
  or a damaged or deleted cache, costs a compilation and one warning, never a crash.
- An idle virtual processor does not look idle to Linux, which then wakes a worker thread on the
  processor of the thread that waits for it, and leaves it there: each worker is kept on one of its own.
- Numba's fallback threading layer aborts when two threads start parallel kernels at once: a lock.
- After a fork, OpenMP's threads are gone and a parallel kernel would kill the child: the child runs
  the same loops serially. Blocks of work have a fixed size, so the bits are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.core import config, errors, event

# No fast-math flag at all. "nnan" and "ninf" would hide training that diverges; "reassoc" and even
# "contract" let the compiler round differently in the serial and the parallel variant of one kernel,
# and so break the promise of the same bits everywhere. The register tile asks for fused
# multiply-adds by name; the other loops wait for memory, not for arithmetic.
FLAGS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


class _Caller(threading.local):
    """A Python thread that calls kernels: OpenMP has a team of workers for each."""

    workers_placed = False


_caller = _Caller()
_parallel_lock = threading.RLock()
_cache_setting_lock = threading.Lock()  # the setting is global, the directory is not
_forked = False
_noted: list[tuple[_Compiled, tuple]] | None = None

_sched_setaffinity = types.ExternalFunction(
    "sched_setaffinity", types.int32(types.int32, types.uintp, types.uintp)
)


def _after_fork_in_child() -> None:
    global _forked, _parallel_lock, _cache_setting_lock
    _forked, _parallel_lock, _cache_setting_lock = True, threading.RLock(), threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _load_openmp() -> None:
    """Load GNU OpenMP with a short spin: about 0.2 ms, which bridge the gap between two kernels.

    By default an idle thread spins for milliseconds before it sleeps. On a busy machine it thereby keeps
    the processor from the very thread that it waits for. The library reads its settings when it is loaded.
    """
    chosen = "GOMP_SPINCOUNT" not in os.environ
    if chosen:
        os.environ["GOMP_SPINCOUNT"] = "10000"
    with contextlib.suppress(ImportError):  # Numba then has another threading layer
        import numba.np.ufunc.omppool  # noqa: F401
    if chosen:
        del os.environ["GOMP_SPINCOUNT"]  # it is not for the processes that this one starts


_load_openmp()


def _cache_directory() -> str | None:
    """The first writable of: Numba's own setting, beside the sources, the user's cache."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(here.glob("*.py")):
        digest.update(source.read_bytes())
    digest.update(os.environ.get("MINICNN_VECTOR_BITS", "").encode())  # see tile.py
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


def _compile(function: Callable, parallel: bool, directory: str | None) -> Any:
    with _cache_setting_lock:
        before = config.CACHE_DIR
        try:
            config.CACHE_DIR = directory or ""
            return numba.njit(parallel=parallel, cache=directory is not None, **FLAGS)(function)
        finally:
            config.CACHE_DIR = before


class _Compiled:
    """One compiled variant of a kernel, which survives a broken cache."""

    def __init__(self, function: Callable, parallel: bool) -> None:
        self._function, self._parallel = function, parallel
        self._dispatcher: Any = None
        self._directory: str | None = None

    def __call__(self, *args: Any) -> Any:
        if _noted is not None:
            _noted.append((self, tuple(numba.typeof(arg) for arg in args)))
            _fill_with_zeros(args)  # what it would have written: numbers that the caller can go on with
            return 0
        if self._dispatcher is None:
            self._compile(_cache_dir)
        try:
            return self._dispatcher(*args)
        except errors.NumbaError:  # a mistake in the kernel
            raise
        except Exception as error:
            # Kernels do not raise, so this comes from reading or writing the cache.
            if self._directory is None:
                raise
            _warn_uncached(f"the cache in {self._directory} failed ({type(error).__name__}: {error})")
            self._compile(None)
            return self._dispatcher(*args)

    def prepare(self, types: tuple) -> None:
        """Compile for arguments of these types, into the cache, without running."""
        if self._dispatcher is None:
            self._compile(_cache_dir)
        self._dispatcher.compile(types)

    def _compile(self, directory: str | None) -> None:
        if directory is None:
            _warn_uncached("no directory for the cache is writable")
        else:
            # Numba does not tell the two variants apart: each has a directory of its own.
            directory = os.path.join(directory, "parallel" if self._parallel else "serial")
        try:
            self._dispatcher = _compile(self._function, self._parallel, directory)
        except (RuntimeError, OSError) as error:  # the directory went away or filled up
            _warn_uncached(f"the cache in {directory} failed ({error})")
            directory = None
            self._dispatcher = _compile(self._function, self._parallel, None)
        self._directory = directory


def _fill_with_zeros(args: tuple) -> None:
    for arg in args:
        if isinstance(arg, np.ndarray):
            arg[...] = 0
        elif isinstance(arg, tuple):
            _fill_with_zeros(arg)


@contextlib.contextmanager
def noting() -> Iterator[list[tuple[_Compiled, tuple]]]:
    """Within it no kernel runs: each is noted with the types of its arguments, see `_Compiled.prepare`."""
    global _noted
    placed = _caller.workers_placed
    _noted, _caller.workers_placed = [], False
    try:
        yield _noted
    finally:
        _noted, _caller.workers_placed = None, placed


class Kernel:
    """A loop nest that Python calls: `kernel(...)` on all threads, `kernel.serial(...)` on one.

    Both give the same bits, because no sum is split between threads. Small work is done on one thread
    in any case: waking the others takes longer than a few thousand additions.
    """

    def __init__(self, function: Callable, parallel: bool, serial_up_to: int) -> None:
        self.__name__, self.__doc__, self.__wrapped__ = function.__name__, function.__doc__, function
        self.serial = _Compiled(function, parallel=False)
        self._parallel = _Compiled(function, parallel=True) if parallel else None
        self._serial_up_to = serial_up_to

    def __call__(self, *args: Any) -> Any:
        small = self._serial_up_to and args[0].size <= self._serial_up_to
        if self._parallel is None or small or _forked or numba.get_num_threads() == 1:
            return self.serial(*args)
        with _parallel_lock:
            result = self._parallel(*args)
            if not _caller.workers_placed:
                _caller.workers_placed = True  # before the call: it comes back to here
                _place_workers()
            return result


def kernel(*, parallel: bool, serial_up_to: int = 0) -> Callable[[Callable], Kernel]:
    """Compile a loop nest; `parallel=True` makes its `prange` loops run on all threads.

    Unless the work is small: on one thread if the first argument, an array, has no more than
    `serial_up_to` entries.
    """
    return lambda function: Kernel(function, parallel, serial_up_to)


@kernel(parallel=True)
def _keep_on(masks):
    # A row for each thread: the bits of the processors that it may run on.
    for _ in prange(masks.shape[0]):
        thread = numba.get_thread_id()
        if thread > 0:  # 0 is the caller, which stays free: others depend on where it may run
            _sched_setaffinity(0, masks.shape[1], masks[thread].ctypes.data)


def _place_workers() -> None:
    """Keep each worker of this Python thread on a processor of its own, if there is one for each thread."""
    if config.DISABLE_JIT or not hasattr(os, "sched_getaffinity"):
        return
    if _noted is None and numba.threading_layer() != "omp":
        return
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) == numba.get_num_threads():
        masks = np.zeros((len(processors), processors[-1] // 64 + 1), np.uint64)
        for mask, processor in zip(masks, processors, strict=True):
            mask[processor // 64] = 1 << processor % 64
        _keep_on(masks.view(np.uint8))


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


def has_cache() -> bool:
    """Whether there is a directory that keeps what is compiled."""
    return _cache_dir is not None
