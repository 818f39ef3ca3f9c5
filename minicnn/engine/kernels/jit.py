"""How kernels are compiled and called: the one place that knows Numba's traps.

`@kernel` compiles a whole loop nest that Python calls; `@helper` compiles a piece of one. A kernel never
raises and never allocates: arguments are checked in Python before the call, arrays come from a workspace.

What the wrapper guards against:

- Numba's fallback threading layer aborts when two threads start parallel kernels at once: a lock.
- After a fork, OpenMP's threads are gone and a parallel kernel would kill the child: the child runs
  the same loops serially. No sum is split between threads, so the bits are the same.
- A fork in the middle of a compilation, or of a question to Numba, would leave the child with a lock that
  nobody releases: a fork waits until no other thread is there.
- A cache of machine code that cannot be read or written: see `cache.py`.

What happens around the calls has files of its own: `threads.py` and `dry_run.py`.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.core import config, errors
from numba.core.compiler_lock import global_compiler_lock

from minicnn.engine.kernels import cache
from minicnn.engine.locks import Lock
from minicnn.engine.numba_settings import default_threads

# No fast-math flag at all. "nnan" and "ninf" would hide training that diverges; "reassoc" and even
# "contract" let the compiler round differently in the serial and the parallel variant of one kernel,
# and so break the promise of the same bits everywhere. The register tile asks for fused
# multiply-adds by name; the other loops wait for memory, not for arithmetic.
FLAGS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


class _Caller(threading.local):
    """A Python thread that calls kernels: OpenMP has a team of workers for each."""

    has_team = False
    has_chosen = False  # how many threads


_caller = _Caller()
_parallel_lock = Lock()
_asking_numba = threading.Lock()  # for what Numba locks within
_forked = False
on_new_team: list[
    Callable[[], None]
] = []  # called once in each Python thread, after its first parallel kernel
replacement: Callable[[Compiled, tuple], Any] | None = None  # called instead of every kernel, see dry_run.py


def _before_fork() -> None:
    global_compiler_lock.acquire()
    _asking_numba.acquire()


def _after_fork() -> None:
    _asking_numba.release()
    global_compiler_lock.release()


def _after_fork_in_child() -> None:
    global _forked
    _forked = True
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def thread_count() -> int:
    """How many threads a parallel kernel runs on, for this Python thread."""
    if _forked:
        return 1
    with _asking_numba:
        count = numba.get_num_threads()
        if _caller.has_chosen:
            return count
        _caller.has_chosen = True
        if count == config.NUMBA_NUM_THREADS and default_threads(count) < count:  # nobody else has chosen
            numba.set_num_threads(default_threads(count))
        return numba.get_num_threads()


def set_thread_count(count: int) -> None:
    """Run parallel kernels on so many threads, for this Python thread."""
    with _asking_numba:
        _caller.has_chosen = True
        numba.set_num_threads(count)


class Compiled:
    """One compiled variant of a kernel, which survives a broken cache."""

    function: Callable[..., Any]

    def __init__(self, function: Callable, parallel: bool) -> None:
        self.function, self._parallel = function, parallel
        self._dispatcher: Any = None
        self._directory: str | None = None

    def __call__(self, *args: Any) -> Any:
        if replacement is not None:
            return replacement(self, args)
        if self._dispatcher is None:
            self._compile(cache.DIRECTORY)
        try:
            return self._dispatcher(*args)
        except errors.NumbaError:  # a mistake in the kernel
            raise
        except Exception as error:
            # Kernels do not raise, so this comes from reading or writing the cache.
            if self._directory is None:
                raise
            cache.warn_uncached(f"the cache in {self._directory} failed ({type(error).__name__}: {error})")
            self._compile(None)
            return self._dispatcher(*args)

    def prepare(self, types: tuple[Any, ...]) -> None:
        """Compile for arguments of these types, into the cache, without running."""
        if self._dispatcher is None:
            self._compile(cache.DIRECTORY)
        self._dispatcher.compile(types)

    def _compile(self, directory: str | None) -> None:
        options = FLAGS | {"parallel": self._parallel}
        self._dispatcher, self._directory = cache.compiled(self.function, directory, **options)


class Kernel:
    """A loop nest that Python calls: `kernel(...)` on all threads, `kernel.serial(...)` on one.

    Both give the same bits, because no sum is split between threads. Small work is done on one thread
    in any case: waking the others takes longer than a few thousand additions.
    """

    __name__: str
    __wrapped__: Callable[..., Any]
    serial: Compiled

    def __init__(self, function: Callable, parallel: bool, serial_up_to: int) -> None:
        self.__name__, self.__doc__, self.__wrapped__ = function.__name__, function.__doc__, function
        self.serial = Compiled(function, parallel=False)
        self._parallel = Compiled(function, parallel=True) if parallel else None
        self._serial_up_to = serial_up_to

    def __call__(self, *args: Any) -> Any:
        small = self._serial_up_to and args[0].size <= self._serial_up_to
        if self._parallel is None or small or thread_count() == 1:
            return self.serial(*args)
        with _parallel_lock:
            result = self._parallel(*args)
            if not _caller.has_team and replacement is None:
                _caller.has_team = True  # before the calls: they may come back to here
                for call in on_new_team:
                    call()
            return result


def kernel(*, parallel: bool, serial_up_to: int = 0) -> Callable[[Callable], Kernel]:
    """Compile a loop nest; `parallel=True` makes its `prange` loops run on all threads.

    Unless the work is small: on one thread if the first argument, an array, has no more than
    `serial_up_to` entries.
    """
    return lambda function: Kernel(function, parallel, serial_up_to)


constants: list[Any] = []  # the functions that `constant` has wrapped


def constant(function: Callable) -> Any:
    """Compute an array that kernels read once, and keep it: like `functools.cache`.

    A dry run, which fills the arrays of every kernel with zeros, has them forgotten at its end.
    """
    cached = functools.cache(function)
    constants.append(cached)
    return cached


def helper(function: Callable) -> Any:
    """Compile a piece of a kernel. Call it only from the kernels of the same package."""
    return numba.njit(inline="never", **FLAGS)(function)
