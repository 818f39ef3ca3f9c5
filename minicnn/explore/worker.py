"""The one thread that computes.

Kernels are parallel themselves, and each Python thread that calls them gets a team of threads of its own: so
a second thread that computes would only take the processors from the first. Here one thread does everything.
Between two jobs it does a piece of work in the background, such as a training step, so a job never waits
longer than such a piece. Several such works take turns.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

PATIENCE = 1.0  # seconds


class Superseded(Exception):  # noqa: N818
    """A newer job of the same client has made this one pointless; it was not done."""


class Worker:
    """Does jobs one after the other in a thread of its own, and background work while there are none."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[tuple[Callable[[], Any], Future] | None] = queue.Queue()
        self._background: dict[str, Iterator[None]] = {}  # by name; the first has its turn
        self._newest: dict[str, int] = {}  # the newest number that each client has asked for
        self._numbers = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="explore", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], Any], client: str = "", number: int = 0) -> Any:
        """The result of `job()`, or the exception that it raised.

        Jobs with a `client` are numbered by it: one that has not begun when a higher number arrives raises
        Superseded.
        """
        if self._closed.is_set():
            raise Superseded("closed")
        if client:
            with self._numbers:
                if len(self._newest) > 1000:  # pages that were closed long ago
                    self._newest.clear()
                self._newest[client] = max(number, self._newest.get(client, number))
        future: Future = Future()

        def unless_superseded() -> Any:
            if client and self._newest.get(client, number) > number:
                raise Superseded("a newer request has arrived")
            return job()

        self._jobs.put((unless_superseded, future))
        return future.result()

    def in_background(self, work: Iterator[None], name: str = "") -> None:
        """Let this work be done piece by piece, instead of what was going on under this name, if anything."""
        self.do(lambda: self._background.update({name: work}))

    def close(self) -> None:
        """Stop after the current job, if it ends soon; those that wait raise Superseded."""
        self._closed.set()
        self._jobs.put(None)
        self._thread.join(PATIENCE)  # it may be compiling, and leaves nothing half-written
        while not self._jobs.empty():
            waiting = self._jobs.get_nowait()
            if waiting is not None:
                waiting[1].set_exception(Superseded("closed"))

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                item = self._jobs.get(block=not self._background)
            except queue.Empty:
                self._do_a_piece()
                continue
            if item is None:
                continue
            job, future = item
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

    def _do_a_piece(self) -> None:
        name = next(iter(self._background))
        work = self._background.pop(name)
        if next(work, self) is not self:  # type: ignore[arg-type]  # it has not ended
            self._background[name] = work  # at the end: its next turn comes after all others
