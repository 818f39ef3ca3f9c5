"""The beginning of a training by several processes: all agree, or none begins.

Process 0 leads: it has the settings and, in the end, the run. The others `follow`.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minicnn.data import Dataset
from minicnn.engine.ops import find_ops
from minicnn.parallel.exchange import Exchange
from minicnn.parallel.split import Split
from minicnn.parallel.team import ProcessTeam
from minicnn.runs.run import Run, data_digest, load_dataset
from minicnn.runs.settings import Settings
from minicnn.runs.signals import StopSignals

PATIENCE = (
    120.0  # seconds in which every process must answer: a measurement, a save, a first step that compiles
)


class Ready(NamedTuple):
    """What a process says before the training: what is wrong, if anything is, and what must be the same."""

    host: str
    problem: str
    data: str = ""
    vectors: str = ""


class Leader:
    """What process 0 does around its run."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._team: ProcessTeam | None = None
        self._run: Run | None = None
        self._told = False

    def agree(self, settings: Settings, data: Dataset) -> ProcessTeam:
        """The team for a run with these settings. Raises ValueError if there can be none, and says why."""
        self.exchange.together(lambda: self.exchange.comm.bcast(dataclasses.asdict(settings), root=0))
        self._told = True
        found = _all_ready(self.exchange, data, _problem(self.exchange, settings))
        if why := disagreement(found):
            raise ValueError(why)
        self._team = ProcessTeam(self.exchange, settings)
        return self._team

    def begin(self, run: Run) -> None:
        """Hand the run out to the others, who train it from here on."""
        assert self._team is not None
        self._run = run
        self.exchange.together(lambda: self.exchange.comm.bcast(True, root=0))
        self._team.hand_out(run)

    def leave(self) -> None:
        """Tell the others that no step will follow, if they wait for one. Raises TeamLost."""
        if self._run is not None and self._team is not None:
            if not (self._run.finished or self._team.stopped or self._team.ended):
                self._team.leave()
        elif not self._told:
            self.exchange.together(lambda: self.exchange.comm.bcast(None, root=0))
        elif self._team is not None:  # they agreed, but the run was not begun
            self.exchange.together(lambda: self.exchange.comm.bcast(False, root=0))


def follow(exchange: Exchange, prepare: Callable[[str], None]) -> None:
    """What every other process does; `prepare` gets ready to compute with the ops of a name.

    Raises Diverged and TeamLost.
    """
    told: dict[str, Any] | None = exchange.together(lambda: exchange.comm.bcast(None, root=0))
    if told is None:
        return
    settings, data, problem = Settings(**told), None, ""
    try:
        problem = _problem(exchange, settings)
        if not problem:
            prepare(settings.ops)
            data = load_dataset(settings)
    except (ValueError, OSError, MemoryError, ImportError) as error:
        problem = str(error)
    if disagreement(_all_ready(exchange, data, problem)):
        return
    assert data is not None
    if not exchange.together(lambda: exchange.comm.bcast(None, root=0)):
        return
    team = ProcessTeam(exchange, settings)
    run = Run(settings, data, "", team)
    team.hand_out(run)
    with StopSignals() as signals, np.errstate(all="ignore"):
        team.heed(signals)
        while not run.finished and team.stopped is None:
            loss = run.train_one_batch()
            if run.step % settings.log_every == 0 or run.finished:
                run.measure(loss)


def _problem(exchange: Exchange, settings: Settings) -> str:
    """Why so many processes cannot train with these settings, or nothing."""
    if not find_ops(settings.ops).compiled:
        return "several processes train with compiled kernels only: leave out mpiexec, or --ops reference"
    try:
        Split(settings.batch_size, settings.shards, exchange.size)
    except ValueError as error:
        return str(error)
    return ""


def _all_ready(exchange: Exchange, data: Dataset | None, problem: str) -> list[Ready]:
    own = Ready(platform.node(), problem)
    if data is not None and not problem:
        from minicnn.engine.kernels.processor import PROCESSOR

        vectors = f"{PROCESSOR.vector_bits}-bit vectors of {platform.machine()}"
        own = Ready(platform.node(), "", data_digest(data), vectors)
    return exchange.together(lambda: exchange.comm.allgather(own))


def disagreement(found: list[Ready]) -> str:
    """Why these processes cannot train together, or nothing."""
    first = found[0]
    for number, one in enumerate(found):
        where = "" if number == 0 else f"process {number} on {one.host}: "
        if one.problem:
            return f"{where}{one.problem}"
        if one.data != first.data:
            return f"{where}its data is not that of process 0 on {first.host}"
        if one.vectors != first.vectors:
            theirs = f"{one.vectors}, process 0 on {first.host} with {first.vectors}"
            return f"{where}computes with {theirs}; set MINICNN_VECTOR_BITS to the smaller for all"
    return ""
