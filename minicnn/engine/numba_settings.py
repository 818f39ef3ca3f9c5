"""What must be known before a kernel runs: whether Numba's settings let it, and how many threads there are.

By default there are as many as processors for this process: its affinity mask, which Numba knows, and the
CPU quota of its container (cgroups, version 1 or 2), which it does not. With a quota of 2 on a machine of
64 processors it would run 64 threads, which take turns.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from minicnn.storage import cgroups
from minicnn.storage.memory import available_addresses

THREADS = "NUMBA_NUM_THREADS"
ADDRESSES = 180 << 20  # bytes that Numba and LLVM take when they are imported


class NumbaSettingsError(ImportError):
    """With the settings of Numba that there are, no kernel can run."""


class NoCompilerError(NumbaSettingsError):
    """There is nothing to repair: the user has set NUMBA_DISABLE_JIT, or Python runs in a browser."""


def import_numba() -> None:
    """Import Numba.

    Raises NumbaSettingsError, in one line, if its settings let no kernel run, ImportError if it is missing.
    """
    chosen = os.environ.get(THREADS, "").strip()
    if chosen and not (chosen.isdecimal() and int(chosen) >= 1):
        raise NumbaSettingsError(f"{THREADS}: expected a number of threads, 1 or more, got {chosen!r}")
    if sys.platform == "emscripten":
        raise NoCompilerError("there is no Numba in a browser")
    left = available_addresses()
    if left is not None and left < ADDRESSES and "numba" not in sys.modules:
        limit = f"the limit on addresses (ulimit -v) leaves {left / 1e6:,.0f} MB"
        raise NumbaSettingsError(f"Numba needs about {ADDRESSES / 1e6:,.0f} MB more, {limit}")
    from numba.core import config

    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise NoCompilerError("NUMBA_DISABLE_JIT is set")


def default_threads(available: int) -> int:
    """How many of the `available` threads kernels run on unless somebody chooses."""
    if os.environ.get(THREADS, "").strip():
        return available
    return max(1, math.ceil(min(available, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """How many processors the control groups of this process allow, infinite without a limit.

    `root` is where proc and sys are. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst, cpu.max;
    Documentation/scheduler/sched-bwc.rst, cpu.cfs_quota_us.
    """
    return min(_quotas(root), default=math.inf)


def _quotas(root: Path) -> Iterator[float]:
    for folder in cgroups.folders("cpu", root):
        yield from _ratio(cgroups.read(folder / "cpu.max").split())
        quota, period = (cgroups.read(folder / f"cpu.cfs_{word}_us") for word in ("quota", "period"))
        yield from _ratio([quota.strip(), period.strip()])


def _ratio(words: list[str]) -> Iterator[float]:
    if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):
        yield int(words[0]) / int(words[1])  # otherwise "max", -1 or nothing: no limit
