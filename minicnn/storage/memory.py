"""How much memory this process may still take, and giving back what it has freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from minicnn.storage import cgroups


def available_memory(root: Path = Path("/")) -> int | None:
    """How many bytes this process can still allocate, None where that cannot be known.

    The least of what the system has available, what the control groups of this process (its container) leave,
    and what RLIMIT_AS leaves. `root` is where proc and sys are.
    """
    left = [*_left(root), available_addresses(root)]
    return min((max(0, count) for count in left if count is not None), default=None)


def available_addresses(root: Path = Path("/")) -> int | None:
    """How many bytes of addresses RLIMIT_AS (`ulimit -v`) leaves, None without such a limit.

    Libraries and threads take many more of them than of memory. Compiled code that gets none ends the
    process: so it is to be asked beforehand.
    """
    if sys.platform != "win32":
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = cgroups.read(root / "proc/self/statm").split()[:1]
        if allowed != resource.RLIM_INFINITY and pages:
            return max(0, allowed - int(pages[0]) * os.sysconf("SC_PAGE_SIZE"))
    return None


def _left(root: Path) -> Iterator[int]:
    if found := re.search(r"^MemAvailable:\s*(\d+) kB", cgroups.read(root / "proc/meminfo"), re.MULTILINE):
        yield 1024 * int(found[1])
    for folder in cgroups.folders("memory", root):
        for limit, used, cached in (  # versions 2 and 1
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = (cgroups.read(folder / name).strip() for name in (limit, used))
            if most.isdecimal() and now.isdecimal():
                statistics = cgroups.read(folder / "memory.stat")
                given_back = re.search(rf"^{cached} (\d+)", statistics, re.MULTILINE)
                yield int(most) - int(now) + (int(given_back[1]) if given_back else 0)


def give_back() -> None:
    """Return memory that was freed to the system, which else happens when the C library thinks fit."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
