"""Whether mpiexec started this process, and MPI itself, which is imported only then."""

from __future__ import annotations

import os
import warnings
from typing import Any

INSTALL = 'mpiexec needs more packages here: pip install "minicnn[mpi]"'

# What mpiexec, or the scheduler of a cluster, tells each process: the number of processes, and its own.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "MPI_LOCALRANKID")


class LaunchError(Exception):
    """mpiexec started this process, but MPI cannot be used. The message is one line."""


def started_by_mpiexec() -> bool:
    """Whether this process is one of several that mpiexec started."""
    return _number(SIZES, 1) > 1


def first_of_all() -> bool:
    """Whether this is process 0, as far as the environment says: who speaks, if MPI cannot be imported."""
    return _number(RANKS, 0) == 0


def world() -> Any:
    """The communicator of all processes. Raises LaunchError if MPI cannot be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an mpiexec of another MPI: that is said below
            from mpi4py import MPI
    except ImportError as error:
        raise LaunchError(f"{INSTALL} ({error})") from None
    except RuntimeError as error:  # no MPI library, or one that it does not know
        raise LaunchError(f"{INSTALL} ({str(error).splitlines()[0]})") from None
    started = _number(SIZES, 1)
    if MPI.COMM_WORLD.Get_size() == 1:
        library = MPI.Get_library_version().split(",")[0].splitlines()[0].strip()
        wrong = f"mpiexec started {started} processes, but {library} here sees one"
        raise LaunchError(f"{wrong}: mpiexec must be of the same MPI as the one that mpi4py uses")
    return MPI.COMM_WORLD.Dup()


def _number(names: tuple[str, ...], otherwise: int) -> int:
    for name in names:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return otherwise
