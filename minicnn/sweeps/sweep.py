"""All cells of a sweep, to the end."""

from __future__ import annotations

import dataclasses
import os
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

from minicnn.engine.numba_settings import default_threads
from minicnn.storage.files import PathLike
from minicnn.sweeps.cell import CellOutcome, compile_for, train_cell
from minicnn.sweeps.directory import is_complete, step_of
from minicnn.sweeps.engine import Pool
from minicnn.sweeps.grid import Cell

LOOK_EVERY = 1.0  # seconds
LOOK_SHARE = 0.02  # of the time, at most, goes into looking: with thousands of runs the interval grows
HEED_EVERY = 0.2  # seconds in which a request to stop is noticed


@dataclass
class Progress:
    """How far a sweep is, in this call of it."""

    waiting: int
    running: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # the names of cells, and why
    made: int = 0  # steps, by the last log lines
    left: int = 0  # steps of the cells that run or wait
    seconds: float = 0.0  # since the first of them began

    @property
    def seconds_left(self) -> float:
        """How long the rest takes, if a step takes as long as it did so far; infinite before the first."""
        return self.seconds * self.left / self.made if self.made else float("inf")


def conduct(
    directory: PathLike,
    cells: Sequence[Cell],
    pool: Pool,
    threads: int,
    ended: Callable[[Cell, CellOutcome], None] = lambda cell, outcome: None,
    look: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train these cells, none of them complete, each on so many `threads`. A failure does not stop the rest.

    `ended` is called after each cell, `look` about once a second. Returns how far it came, which is less than
    all only if `stopped` says so.
    """
    path = os.path.abspath(directory)
    progress = Progress(waiting=len(cells))
    kinds = {_kind(cell): dataclasses.asdict(cell.settings) for cell in cells}
    compiling = pool.executor.submit(compile_for, list(kinds.values()), threads)
    while not compiling.done() and not stopped():  # an error that this meets is met, and told, by the cells
        look(progress)
        time.sleep(HEED_EVERY)
    if stopped():
        return progress

    finished: queue.SimpleQueue[Future[CellOutcome]] = queue.SimpleQueue()
    pending = {}
    for cell in cells:
        settings = dataclasses.asdict(cell.settings)
        future = pool.executor.submit(train_cell, os.path.join(path, cell.name), settings, threads)
        pending[future] = cell
        future.add_done_callback(finished.put)
    before = {cell.name: step_of(path, cell) for cell in cells}
    reached = dict(before)
    began = look_next = time.monotonic()
    while pending and not stopped():
        try:
            future = finished.get(timeout=HEED_EVERY)
        except queue.Empty:
            pass
        else:
            cell = pending.pop(future)
            outcome = _outcome(future)
            if not outcome.failure and not is_complete(path, cell):
                outcome = CellOutcome(
                    0, 0, f"not complete in {path}: written elsewhere, or damaged (then remove it)"
                )
            if outcome.failure:
                progress.failed[cell.name] = outcome.failure
            else:
                progress.done += 1
                reached[cell.name] = cell.settings.steps
            ended(cell, outcome)
        now = time.monotonic()
        if now < look_next and pending:
            continue
        reached |= {cell.name: step_of(path, cell) for cell in pending.values()}
        progress.running = min(len(pending), pool.slots())
        progress.waiting = len(pending) - progress.running
        progress.made = sum(reached.values()) - sum(before.values())
        progress.left = sum(cell.settings.steps - reached[cell.name] for cell in pending.values())
        progress.seconds = now - began
        look(progress)
        look_next = now + max(LOOK_EVERY, (time.monotonic() - now) / LOOK_SHARE)
    return progress


def _kind(cell: Cell) -> tuple[object, ...]:
    """What decides which kernels a cell needs, roughly: too many kinds only cost time."""
    settings = cell.settings
    names = ("model", "ops", "plain", "optimizer", "reduction", "data", "size", "recipe")
    return tuple(getattr(settings, name) for name in names)


def _outcome(future: Future[CellOutcome]) -> CellOutcome:
    try:
        return future.result()
    except CancelledError:
        return CellOutcome(0, 0, "the scheduler is gone")
    except Exception as error:
        return CellOutcome(0, 0, f"{type(error).__name__}: {error}")


def cores() -> int:
    """How many processors this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return default_threads(there or 1)


def share(cores: int, runs: int, at_once: int | None, threads: int | None) -> tuple[int, int]:
    """Runs at once, and threads of each, so that runs x threads is about the number of cores.

    Where nothing is given: as many runs as cores, each on one thread, because that makes most steps a second.
    """
    at_once = min(runs, at_once if at_once is not None else max(1, cores // (threads or 1)))
    return at_once, threads or max(1, cores // at_once)
