"""Arrays put together from all processes, each of which has some of their rows; no wait without an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn.engine.workspace import Workspace
from minicnn.runs.team import TeamLost

Array = np.ndarray

EAGER = 0.002  # seconds in which a process that waits only steps aside; after that it sleeps between looks
NAP = 0.0001  # seconds


class Gathering:
    """Rows on their way to all processes. `finish` waits for them and returns the whole array."""

    def __init__(self, exchange: Exchange, request: Any, kept: Array, whole: Array) -> None:
        self._exchange, self._request, self._kept, self._whole = exchange, request, kept, whole

    def finish(self) -> Array:
        """The rows of all processes, those of process 0 first. Raises TeamLost."""
        self._exchange.wait(self._request)
        return self._whole


class Exchange:
    """Gathers rows by MPI. Raises TeamLost where another process does not answer for `patience` seconds."""

    comm: Any
    patience: float
    rank: int
    size: int

    def __init__(self, comm: Any, patience: float) -> None:
        self.comm, self.patience = comm, patience
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._memory = Workspace()

    def start(self, name: str, own: Array, counts: Sequence[int]) -> Gathering:
        """Begin to gather own rows [counts[rank], ...]; what arrives lies in memory called `name`."""
        from mpi4py import MPI

        own = np.ascontiguousarray(own)
        whole = self._memory.empty(name, (sum(counts), *own.shape[1:]), own.dtype)
        row = own.dtype.itemsize * int(np.prod(own.shape[1:], dtype=int))
        lengths = [count * row for count in counts]
        places = [0, *np.cumsum(lengths[:-1]).tolist()]
        send = [own.reshape(-1).view(np.uint8), MPI.BYTE]
        receive = [whole.reshape(-1).view(np.uint8), (lengths, places), MPI.BYTE]
        try:
            request = self.comm.Iallgatherv(send, receive)
        except MPI.Exception as error:
            raise TeamLost(_reason(error)) from None
        return Gathering(self, request, own, whole)

    def gather(self, name: str, own: Array, counts: Sequence[int]) -> Array:
        """The rows of all processes, at once."""
        return self.start(name, own, counts).finish()

    def wait(self, request: Any) -> None:
        """Wait for a request. Raises TeamLost."""
        from mpi4py import MPI

        began = time.monotonic()
        try:
            while not request.Test():
                waited = time.monotonic() - began
                if waited > self.patience:
                    raise TeamLost(f"another process has not answered for {self.patience:g} seconds")
                time.sleep(0 if waited < EAGER else NAP)
        except MPI.Exception as error:
            raise TeamLost(_reason(error)) from None

    def together(self, call: Callable[[], Any]) -> Any:
        """What a collective call that blocks returns, once all processes are there. Raises TeamLost."""
        from mpi4py import MPI

        try:
            self.wait(self.comm.Ibarrier())
            return call()
        except MPI.Exception as error:
            raise TeamLost(_reason(error)) from None

    def shrink(self) -> None:
        """Work without the processes that are lost. Raises TeamLost if this MPI library cannot do that.

        Also if process 0, which leads, is among them.
        Source: MPI Forum: MPI 4.1 with User-Level Failure Mitigation, MPIX_Comm_shrink.
        """
        from mpi4py import MPI

        try:
            self.comm.Revoke()  # whoever still waits for the lost ones hears of it
            comm = self._in_time(self.comm.Shrink)  # Open MPI 5.0 has an Ishrink that fails
            leads = comm.bcast(self.rank, root=0)
        except (MPI.Exception, NotImplementedError) as error:
            raise TeamLost(_reason(error)) from None
        if leads != 0:
            raise TeamLost("process 0, which writes the run, is lost")
        self.comm, self.rank, self.size = comm, comm.Get_rank(), comm.Get_size()

    def _in_time(self, call: Callable[[], Any]) -> Any:
        """What a call returns that has no end of its own. Raises TeamLost if it takes too long."""
        results: list[Any] = []
        errors: list[BaseException] = []

        def make() -> None:
            try:
                results.append(call())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        thread.join(self.patience)
        if errors:
            raise errors[0]
        if not results:
            raise TeamLost(f"the processes that are left have not answered for {self.patience:g} seconds")
        return results[0]


def _reason(error: Exception) -> str:
    return f"another process is lost ({str(error).splitlines()[0]})"
