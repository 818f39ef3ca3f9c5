"""What is settled before Numba is imported: whether its settings let kernels run, and how many threads.

By default as many as there are processors for this process: its affinity mask and the CPU quota of its
container (cgroups, version 1 or 2) count. Numba itself knows the mask alone, and in a container with a
quota of 2 on a machine of 64 would start 64 threads, which take turns.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

THREADS = "NUMBA_NUM_THREADS"


class JitDisabledError(ImportError):
    """NUMBA_DISABLE_JIT is set: there are no kernels, by the user's wish."""


def import_numba() -> None:
    """Import Numba, with the default number of threads.

    Raises ImportError, in one line, if its settings let no kernel run.
    """
    chosen = os.environ.get(THREADS)
    if chosen is not None and not (chosen.strip().isdecimal() and int(chosen) >= 1):
        raise ImportError(f"{THREADS}: expected a number of threads, 1 or more, got {chosen!r}")
    if chosen is None and "numba" not in sys.modules:
        os.environ[THREADS] = str(default_threads())  # Numba reads it once, when it is imported
    try:
        from numba.core import config
    finally:
        if chosen is None:
            os.environ.pop(THREADS, None)  # it is not for the processes that this one starts
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise JitDisabledError("NUMBA_DISABLE_JIT is set")


def default_threads() -> int:
    """The number of processors that this process may use at once."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, math.ceil(min(processors, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """How many processors the control groups of this process allow, infinite without a limit.

    `root` is where proc and sys are. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst, cpu.max;
    Documentation/scheduler/sched-bwc.rst, cpu.cfs_quota_us.
    """
    return min(_quotas(root), default=math.inf)


def _quotas(root: Path) -> Iterator[float]:
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers == "":  # version 2
            for folder in _upwards(root / "sys/fs/cgroup", group):
                yield from _ratio(_read(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for name in {"cpu", controllers}:
                for folder in _upwards(root / "sys/fs/cgroup" / name, group):
                    quota, period = (_read(folder / f"cpu.cfs_{word}_us") for word in ("quota", "period"))
                    yield from _ratio([quota.strip(), period.strip()])


def _upwards(mounted: Path, group: str) -> Iterator[Path]:
    """The folders of a group and of those that it is in. In a container the upper ones are not there."""
    parts = [part for part in group.split("/") if part not in ("", ".", "..")]
    for count in range(len(parts), -1, -1):
        yield mounted.joinpath(*parts[:count])


def _ratio(words: list[str]) -> Iterator[float]:
    if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):
        yield int(words[0]) / int(words[1])  # otherwise "max", -1 or nothing: no limit


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""
