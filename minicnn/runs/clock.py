"""How long a run has computed: what is compiled once, on the first run ever, does not count."""

from __future__ import annotations

import time

from minicnn.engine.ops import find_ops


class Clock:
    """Counts the seconds from now on, beginning with those of an earlier part of the run."""

    def __init__(self, ops: str, seconds: float = 0.0) -> None:
        self._kernels = find_ops(ops).compiled
        self._began = time.monotonic() - self._compiling() - seconds

    def seconds(self) -> float:
        """The seconds so far, without those in which kernels were compiled in this process."""
        return time.monotonic() - self._compiling() - self._began

    def _compiling(self) -> float:
        if not self._kernels:
            return 0.0
        from minicnn.engine.kernels.dry_run import compile_seconds  # imports Numba

        return compile_seconds()
