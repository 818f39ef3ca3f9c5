"""Compiling kernels on a second processor, so that the first run ever need not wait as long.

Numba compiles one kernel at a time in a process. So while the training compiles what its first step
needs, another process goes through a step in which kernels are not run but noted, and compiles them
into the cache on disk, the last one first. Where the two meet, the training finds the rest compiled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from minicnn.data import Dataset, Split
from minicnn.engine.network import CHUNK
from minicnn.runs.run import Run, build_network
from minicnn.runs.settings import Settings


@contextlib.contextmanager
def compiling_ahead(settings: Settings, data: Dataset) -> Iterator[None]:
    """If kernels must be compiled within it, let another process help, as long as it lasts.

    Without a cache, or with one thread only, nobody helps. What a helper fails to do is left to the caller.
    """
    from minicnn.engine.kernels.dry_run import has_cache, on_first_compilation
    from minicnn.engine.kernels.jit import thread_count

    threads, helpers = thread_count(), []
    wanted = has_cache() and threads > 1 and bool(sys.executable)

    def start() -> None:
        if not wanted:
            return
        # The same path as here, and nothing else that could bring in other code.
        code = f"import sys; sys.path[:] = {sys.path}; from minicnn.runs.warmup import help_out; help_out()"
        facts = json.dumps([dataclasses.asdict(settings), data.shape, len(data.classes), threads])
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with contextlib.suppress(OSError):
            helpers.append(subprocess.Popen([*_isolated_python(), "-c", code, facts], **pipes))

    on_first_compilation(start)
    try:
        yield
    finally:
        wanted = False
        for helper in helpers:
            helper.terminate()
            helper.communicate()


def _isolated_python() -> list[str]:
    """This Python, without what its environment and the user's own packages would bring in.

    It may be stricter than its parent, which runs with or without -I, -E and -s, but is never laxer.
    """
    command = [sys.executable, "-I"]
    if sys.flags.no_site:
        command.append("-S")
    if sys.dont_write_bytecode:
        command.append("-B")
    if sys.pycache_prefix is not None:
        command.append(f"-Xpycache_prefix={sys.pycache_prefix}")
    return command


def help_out() -> None:
    """What the other process does: `compile_step`, until its parent ends and so closes the pipe on stdin."""

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    settings, shape, classes, threads = json.loads(sys.argv[1])
    compile_step(Settings(**settings), tuple(shape), classes, threads)


def compile_step(settings: Settings, shape: tuple[int, int, int], classes: int, threads: int) -> None:
    """Compile the kernels of a training step with these settings, the last one first."""
    from minicnn.engine.kernels.dry_run import dry_run
    from minicnn.engine.kernels.threads import set_threads

    set_threads(threads)
    with dry_run() as noted, np.errstate(all="ignore"):
        _step(settings, shape, classes)
    for kernel, types in reversed(noted):
        kernel.prepare(types)


def _step(settings: Settings, shape: tuple[int, int, int], classes: int) -> None:
    """What a run does in a step and in a measurement, to blank images."""
    network = build_network(settings, shape, classes)
    H, W, C = shape
    stored = (H, W) if C == 1 else shape
    network.predict(np.zeros((CHUNK, *stored), np.uint8))  # first: the training compiles this on its way
    N = settings.batch_size
    blank = Split(np.zeros((N, *stored), np.uint8), np.zeros(N, np.uint8))
    names = tuple(map(str, range(classes)))
    run = Run(settings, Dataset(blank, blank, blank, names), "")
    run.train_one_batch()
