"""train, by several processes that mpiexec started: process 0 does what `train` does, the others follow."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minicnn.cli.common import prepare_kernels
from minicnn.cli.interrupts import answered
from minicnn.cli.terminal import UsageError, fail
from minicnn.parallel import launch

if TYPE_CHECKING:
    from minicnn.parallel.lead import Leader

LOST = 3  # the exit code when another process is lost: the run is saved
GRACE = 30.0  # seconds


def train(args: argparse.Namespace, as_leader: Callable[[argparse.Namespace, Leader], int]) -> int:
    """Train together with the other processes."""
    from minicnn.parallel.exchange import Exchange
    from minicnn.parallel.lead import PATIENCE
    from minicnn.runs.team import TeamLost

    try:
        comm = launch.world()
    except launch.LaunchError as error:
        if launch.first_of_all():
            raise UsageError(error) from None
        return 2
    if args.threads is None:
        args.threads = _threads_each(comm)
    exchange = Exchange(comm, PATIENCE)
    try:
        return _lead(args, exchange, as_leader) if exchange.rank == 0 else _follow(args, exchange)
    except TeamLost as error:
        if exchange.rank == 0:
            fail(str(error), LOST)
        else:
            time.sleep(GRACE)  # process 0 saves the run, says so, and ends all
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        comm.Abort(LOST)  # the end of MPI in good order would wait for those that are lost
        os._exit(LOST)


def _lead(args: argparse.Namespace, exchange: Any, as_leader: Callable[..., int]) -> int:
    from minicnn.parallel.lead import Leader
    from minicnn.runs.team import TeamLost

    leader = Leader(exchange)
    try:
        code = as_leader(args, leader)
    except TeamLost:
        raise
    except BaseException:
        leader.leave()
        raise
    leader.leave()
    return code


def _follow(args: argparse.Namespace, exchange: Any) -> int:
    from minicnn.parallel.lead import follow
    from minicnn.parallel.team import Left
    from minicnn.tutorial import Diverged

    def prepare(ops: str) -> None:
        try:
            prepare_kernels(ops, args.threads, announce=False)
        except UsageError as error:
            raise ValueError(str(error)) from None

    # The leading process says how it ended, by a message and by the exit code. Another code than 0 would let
    # mpiexec end that process at once, before it has saved the run.
    with answered(lambda line: None, lambda: ""), contextlib.suppress(Diverged, Left):
        follow(exchange, prepare)
    return 0


def _threads_each(comm: Any) -> int:
    """The threads of each process, if those of this machine share its processors evenly."""
    from mpi4py import MPI
    from numba.core import config

    from minicnn.engine.numba_settings import default_threads

    here = comm.Split_type(MPI.COMM_TYPE_SHARED).Get_size()
    threads = default_threads(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    return max(1, threads // here)
