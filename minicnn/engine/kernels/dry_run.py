"""Which kernels a step calls, and when one is compiled: what compiling on a second processor needs to know.

Numba compiles one kernel at a time in a process, and the first run ever waited 34 s for its first log line.
With a second process that compiles the kernels of the same step from the back, into the same cache, it
waited 19 s (`minicnn/runs/warmup.py`).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba.core import event

from minicnn.engine.kernels import cache, jit, threads

Call = tuple[jit.Compiled, tuple[Any, ...]]  # a variant of a kernel, and the types of its arguments


@contextlib.contextmanager
def dry_run() -> Iterator[list[Call]]:
    """Within it no kernel runs: each call is recorded, see `Compiled.prepare`.

    A kernel then fills all its arrays with zeros and returns 0: numbers that its caller can go on with.
    """
    calls: list[Call] = []

    def record(kernel: jit.Compiled, args: tuple) -> int:
        calls.append((kernel, tuple(numba.typeof(arg) for arg in args)))
        _fill_with_zeros(args)
        return 0

    jit.replacement = record
    try:
        threads.place_workers()  # what the first parallel kernel would be followed by
        yield calls
    finally:
        jit.replacement = None
        for kept in jit.constants:  # which hold zeros now
            kept.cache_clear()


def _fill_with_zeros(args: tuple) -> None:
    for arg in args:
        if isinstance(arg, np.ndarray):
            arg[...] = 0
        elif isinstance(arg, tuple):
            _fill_with_zeros(arg)


class _FirstCompilation(event.Listener):
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def on_start(self, event: Any) -> None:
        module = event.data["dispatcher"].py_func.__module__ or ""  # what Numba itself makes has none
        if self.callback is not None and module.startswith("minicnn."):
            callback, self.callback = self.callback, None
            callback()

    def on_end(self, _: Any) -> None:
        pass


def on_first_compilation(callback: Callable[[], None]) -> None:
    """Call `callback` once, just before the first kernel that is not in the cache is compiled."""
    event.register("numba:compile", _FirstCompilation(callback))


class _Stopwatch(event.Listener):
    """Adds up the time of compilations; those that another one needs are part of it."""

    def __init__(self) -> None:
        self.seconds, self._depth, self._began = 0.0, 0, 0.0

    def on_start(self, _: Any) -> None:
        if self._depth == 0:
            self._began = time.monotonic()
        self._depth += 1

    def on_end(self, _: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.monotonic() - self._began


_stopwatch = _Stopwatch()
event.register("numba:compile", _stopwatch)


def compile_seconds() -> float:
    """How long this process has compiled so far."""
    return _stopwatch.seconds


COMPILING = "compiling kernels (first run only, about 20 s)"


def _tell_a_person() -> None:
    """Print that kernels are compiled, if somebody looks at stderr: at a terminal, or in a notebook."""
    stream = sys.stderr
    with contextlib.suppress(Exception):  # a stream of another make; the line is not worth an error
        if stream.isatty() or type(stream).__module__.startswith("ipykernel"):
            print(f"minicnn: {COMPILING}", file=stream, flush=True)


_announcement = _FirstCompilation(_tell_a_person)
event.register("numba:compile", _announcement)


def announce_compilation(callback: Callable[[], None]) -> None:
    """Call `callback` just before the first kernel is compiled, in place of the line on a terminal."""
    _announcement.callback = callback


def has_cache() -> bool:
    """Whether there is a directory that keeps what is compiled."""
    return cache.DIRECTORY is not None
