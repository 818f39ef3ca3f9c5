"""The control groups of this process (cgroups, version 1 or 2): where a container's limits are written.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def folders(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """The folders whose files limit this process: its group's, and those of the groups around it.

    `controller` is "cpu" or "memory"; `root` is where proc and sys are. In a container the outer ones are
    not there.
    """
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers == "":  # version 2
            yield from _upwards(root / "sys/fs/cgroup", group)
        elif controller in controllers.split(","):
            for name in {controller, controllers}:
                yield from _upwards(root / "sys/fs/cgroup" / name, group)


def _upwards(mounted: Path, group: str) -> Iterator[Path]:
    parts = [part for part in group.split("/") if part not in ("", ".", "..")]
    for count in range(len(parts), -1, -1):
        yield mounted.joinpath(*parts[:count])


def read(file: Path) -> str:
    """The text of a file of the system, nothing if it is not there."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError):
        return ""
