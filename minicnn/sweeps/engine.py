"""Where workers come from: Dask, here or elsewhere, behind the interface of `concurrent.futures`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import Any, NamedTuple

INSTALL = 'sweep needs more packages: pip install "minicnn[sweep]"'
PATIENCE = 20.0  # seconds for a scheduler to answer, and to have a worker
GRACE = 5.0  # seconds in which workers may end by themselves
LOST_WORKERS = 100  # that a run may cost before it counts as failed: each may have been killed by chance
TOO_LATE = (TimeoutError, asyncio.TimeoutError)  # two before Python 3.11
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class EngineError(ValueError):
    """There are no workers, for the reason in the message."""


class Pool(NamedTuple):
    """What does jobs, and how many it can do at once at this moment."""

    executor: Executor
    slots: Callable[[], int]


def expect_installed() -> None:
    """Raise EngineError, which says what to install, if a package is missing."""
    try:
        import cryptography  # noqa: F401
        import distributed  # noqa: F401
        import scipy  # noqa: F401
    except ImportError:
        raise EngineError(INSTALL) from None


@contextlib.contextmanager
def workers(count: int, threads: int, scheduler: str | None = None) -> Iterator[Pool]:
    """A pool: `count` processes of this machine, or the workers of the Dask scheduler at an address.

    What a worker was doing when it died is done by another one. `threads` are those of each run. On leaving,
    processes of this machine end, whatever they are doing; others finish the job that they have begun.
    Raises EngineError.
    """
    expect_installed()
    import dask
    import distributed

    quiet = {"distributed": "critical", "distributed.nanny": "critical", "bokeh": "critical"}
    settings: dict[str, Any] = {
        "logging": quiet,
        "distributed.scheduler.allowed-failures": LOST_WORKERS,
        # Dask would set the number of OpenMP's threads to 1, which a run chooses by itself.
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(BLAS_THREADS, str(threads)),
        "distributed.deploy.lost-worker-timeout": "1h",  # a killed process is always replaced, however late
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.admin.tick.limit": "1h",
    }
    for name in quiet:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        try:
            where = scheduler if scheduler is not None else stack.enter_context(_processes(count))
            client = stack.enter_context(distributed.Client(where, timeout=PATIENCE, set_as_default=False))
        except (*TOO_LATE, OSError, ValueError, RuntimeError) as error:
            here = scheduler is None
            problem = "the workers do not start" if here else f"--scheduler: no answer from {scheduler}"
            raise EngineError(f"{problem} ({error})") from None
        if scheduler is not None:
            _expect_suitable(client, scheduler)
        yield Pool(client.get_executor(pure=False), lambda: _slots(client))


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Any]:
    """A cluster on this machine. Its connections are encrypted with keys that only these processes have: who
    can talk to a worker can run code in it."""
    import distributed

    options: dict[str, Any] = {
        "n_workers": count,
        "threads_per_worker": 1,
        "processes": True,
        "host": "127.0.0.1",
        "security": distributed.Security.temporary(),
        "memory_limit": 0,  # a worker is not restarted because it needs memory
        "dashboard_address": None,  # which alone leaves a server without pages, at a port that others want
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
        "silence_logs": logging.CRITICAL,
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        with ThreadPoolExecutor(1, initializer=_block_interrupts) as thread:
            cluster = thread.submit(distributed.LocalCluster, local_directory=scratch, **options).result()
        try:
            yield cluster
        finally:
            with contextlib.suppress(*TOO_LATE):  # those that are late are killed when this process ends
                cluster.close(timeout=GRACE)


def _block_interrupts() -> None:
    """Leave Ctrl-C to the main thread: this one, and the processes that it starts, do not get it."""
    if sys.platform != "win32":
        resource_tracker.ensure_running()  # which would lift the block when the first process starts
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _expect_suitable(client: Any, scheduler: str) -> None:
    """Raise EngineError unless there are workers that do one job at a time, as kernels and caches need it."""
    start = f"start them with: dask worker {scheduler} --nworkers N --nthreads 1"
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TOO_LATE:
        raise EngineError(f"--scheduler: {scheduler} has no workers; {start}") from None
    if max(client.nthreads().values()) > 1:
        raise EngineError(f"--scheduler: a worker of {scheduler} does several jobs at once; {start}")


def _slots(client: Any) -> int:
    try:
        return sum(client.nthreads().values())
    except (*TOO_LATE, OSError):
        return 0
