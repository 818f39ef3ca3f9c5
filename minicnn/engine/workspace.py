"""Where the arrays of a training step live.

A step that allocates spends as much time on page faults as on arithmetic. So every kernel takes a
`workspace`, and asks it for each array that it returns or works in. `FRESH`, the default, hands out
new memory, like any NumPy function. A `Workspace` hands out the same memory at every call, allocated
once for the largest shape seen: what a call returns is then valid until the next one.

A workspace serves one caller, such as a layer. Two kernels that use one name in the same workspace
share that memory, so a name belongs to one array at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

CACHE_LINE = 64  # bytes; an aligned array lets no vector load straddle two lines


def aligned_empty(size: int, dtype: np.dtype | type) -> np.ndarray:
    """An uninitialised 1-D array that starts at a cache line."""
    return _aligned(np.empty, size, np.dtype(dtype))


def aligned_zeros(size: int, dtype: np.dtype | type) -> np.ndarray:
    """Zeros likewise. What is never written takes no memory."""
    return _aligned(np.zeros, size, np.dtype(dtype))


def _aligned(make: Callable[..., np.ndarray], size: int, dtype: np.dtype) -> np.ndarray:
    raw = make(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


class Workspace:
    """Named memory that is reused from call to call."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}
        self._last: dict[str, np.ndarray] = {}  # what was handed out, to be handed out again

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An uninitialised array, in the memory called `name`."""
        last = self._last.get(name)
        if last is not None and last.shape == shape and last.dtype == dtype and last.flags.writeable:
            return last  # unless a caller has locked it
        size = math.prod(shape)
        memory = self._memory.get(name)
        if memory is None or memory.size < size or memory.dtype != dtype:
            memory = self._memory[name] = aligned_empty(size, dtype)
        self._last[name] = memory[:size].reshape(shape)
        return self._last[name]

    def __reduce__(self) -> tuple[Any, ...]:
        return Workspace, ()  # a copy has memory of its own

    @property
    def nbytes(self) -> int:
        return sum(memory.nbytes for memory in self._memory.values())


class _Fresh(Workspace):
    """New memory for every array."""

    def __reduce__(self) -> str:  # type: ignore[override]  # there is only one
        return "FRESH"

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        return aligned_empty(math.prod(shape), dtype).reshape(shape)


FRESH: Workspace = _Fresh()


def as_contiguous(array: np.ndarray) -> np.ndarray:
    """The array as kernels want it: C-contiguous, aligned, writable. Copies only if it must.

    Each other kind of array would be a compilation of its own.
    """
    flags = array.flags
    if flags.c_contiguous and flags.aligned and flags.writeable:
        return array
    return np.require(array, requirements=["C", "A", "W"])


def flat(array: np.ndarray) -> np.ndarray:
    """A 1-D view; a copy would swallow what is written, so it is refused."""
    view = array.view()
    view.shape = (array.size,)
    return view
