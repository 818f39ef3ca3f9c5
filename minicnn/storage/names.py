"""Names from files and file systems, which may contain anything: how they are printed."""

from __future__ import annotations


def printable(name: object) -> str:
    """The name as one line of text, with control characters and bytes that are no text spelled out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))
