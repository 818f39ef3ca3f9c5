"""Where the arrays of a training step live.

A step that allocates spends as much time on page faults as on arithmetic. So kernels ask
`empty(name, shape, dtype)` for every array that they return or work in. Called plainly, they get
fresh memory, like any NumPy function. Inside `with reuse(buffers):`, which is how the layers call
them, they get the same memory at every call, allocated once for the largest shape seen.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np

CACHE_LINE = 64  # bytes; an aligned array lets no vector load straddle two lines

_local = threading.local()


def aligned_empty(size: int, dtype: np.dtype) -> np.ndarray:
    """An uninitialised 1-D array that starts at a cache line."""
    return _aligned(np.empty, size, np.dtype(dtype))


def aligned_zeros(size: int, dtype: np.dtype) -> np.ndarray:
    """Zeros likewise. What is never written takes no memory."""
    return _aligned(np.zeros, size, np.dtype(dtype))


def _aligned(make: Callable[..., np.ndarray], size: int, dtype: np.dtype) -> np.ndarray:
    raw = make(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


class Buffers:
    """Named memory that is reused from call to call."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}
        self._last: dict[str, np.ndarray] = {}  # what was handed out, to be handed out again

    def put(self, name: str, array: np.ndarray) -> None:
        """Let `empty(name, ...)` hand out this C-contiguous array, for results that have a home."""
        self._memory[name] = array.reshape(-1)
        self._last.pop(name, None)

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        last = self._last.get(name)
        if last is not None and last.shape == shape and last.dtype == dtype and last.flags.writeable:
            return last  # unless a caller has locked it
        size = math.prod(shape)
        memory = self._memory.get(name)
        if memory is None or memory.size < size or memory.dtype != dtype:
            memory = self._memory[name] = aligned_empty(size, dtype)
        self._last[name] = memory[:size].reshape(shape)
        return self._last[name]

    @property
    def nbytes(self) -> int:
        return sum(memory.nbytes for memory in self._memory.values())


class reuse:  # noqa: N801  (used like a function)
    """`with reuse(buffers):` lets the kernels that this thread calls take their arrays from `buffers`."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers

    def __enter__(self) -> None:
        self._before = getattr(_local, "buffers", None)
        _local.buffers = self._buffers

    def __exit__(self, *exception: object) -> None:
        _local.buffers = self._before


def empty(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array: from the buffers in use, else fresh."""
    buffers: Buffers | None = getattr(_local, "buffers", None)
    if buffers is None:
        return aligned_empty(math.prod(shape), dtype).reshape(shape)
    return buffers.empty(name, shape, dtype)


def ready(array: np.ndarray) -> np.ndarray:
    """The array as kernels want it: C-contiguous, aligned, writable. Copies only if it must.

    Each other kind of array would be a compilation of its own.
    """
    flags = array.flags
    if flags.c_contiguous and flags.aligned and flags.writeable:
        return array
    return np.require(array, requirements="CAW")
