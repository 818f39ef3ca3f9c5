"""Names from files and file systems, which may be anything: how they are printed, and where they lead."""

from __future__ import annotations

from pathlib import PurePath


def printable(name: object) -> str:
    """The name as one line of text, with control characters and bytes that are no text spelled out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))


def is_bare(name: str, system: type[PurePath] = PurePath) -> bool:
    """Whether a name can only be that of a file in the directory at hand: no path, no drive.

    `system` is the kind of paths of another system than this one.
    """
    return name not in ("", "..") and system(name).name == name
