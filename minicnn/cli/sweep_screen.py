"""What `minicnn sweep` shows while it runs: a line for each run that has ended, and how far the whole is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from minicnn.cli.common import accuracy
from minicnn.cli.terminal import is_terminal, progress_bar, say, tell, warn

if TYPE_CHECKING:
    from minicnn.sweeps.cell import CellOutcome
    from minicnn.sweeps.grid import Cell
    from minicnn.sweeps.sweep import Progress

LINE_EVERY = 60.0  # seconds between two lines of progress where there is no terminal


class SweepScreen:
    """A line on stdout for each run that has ended. On stderr, how far the whole is: a progress bar at a
    terminal, elsewhere a plain line now and then."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._bar: Any = None
        self._last_line = time.monotonic()

    def __enter__(self) -> SweepScreen:
        if not self.quiet and is_terminal(sys.stderr):
            self._bar = progress_bar(1, bar_format="{desc} {bar:-3} {percentage:3.0f} %")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def ended(self, cell: Cell, outcome: CellOutcome) -> None:
        """Print how a run has ended."""
        if outcome.failure:
            warn(f"{cell.name} failed: {outcome.failure}")
        elif not self.quiet:
            say(f"{cell.name}  {accuracy(outcome.correct, outcome.tested)}")

    def look(self, progress: Progress) -> None:
        """Show how far the whole is."""
        if self._bar is not None:
            self._bar.total = max(1, progress.made + progress.left)
            self._bar.n = progress.made
            self._bar.set_description_str(summary(progress))
        elif not self.quiet and time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            tell(summary(progress))


def summary(progress: Progress) -> str:
    """How far a sweep is, in words."""
    words = [f"{progress.done} done", f"{progress.running} running", f"{progress.waiting} waiting"]
    if progress.failed:
        words.append(f"{len(progress.failed)} failed")
    if not (progress.running or progress.done or progress.failed):
        words.append("preparing")
    elif progress.made and progress.left:
        words.append(f"about {duration(progress.seconds_left)} left")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Seconds as "40 s", "12 min" or "3 h 20 min"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
