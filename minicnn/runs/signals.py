"""Ctrl-C, SIGTERM, SIGHUP and Ctrl-Break: noted while something must not be left half done."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

# What asks a program to stop: Ctrl-C, the system, and a terminal that was closed; on Windows, Ctrl-Break.
STOPPING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if name in signal.Signals.__members__
)


def handled() -> list[signal.Signals]:
    """The stop signals that arrive here: not those that `nohup` or a shell told this process to ignore."""
    return [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]


class StopSignals:
    """While in use, the first stop signal is noted in `received` instead of ending the process.

    The second does what it always did. Outside the main thread, where Python allows no handlers,
    signals are left alone.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in handled():
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
