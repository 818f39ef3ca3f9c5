"""Locks that are free in a forked process, whoever held them in its parent.

A fork copies a lock that another thread holds, but not the thread: in the child nobody would ever release it.
"""

from __future__ import annotations

import os
import threading
import weakref


class Lock:
    """A lock for `with`. The thread that holds it may take it again."""

    def __init__(self) -> None:
        self._renew()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.RLock()


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_locks):
        lock._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
