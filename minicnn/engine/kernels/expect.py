"""Checks of arguments: compiled code has none, and would read and write beyond an array that is too small.

Every function here that Python can import, and whose name does not begin with an underscore, makes them.

A check that passes costs about half a microsecond; a training step makes some sixty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def expect(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype | type) -> None:
    """Raise TypeError or ValueError unless the array has this dtype and shape."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(f"{name}: expected an array of {np.dtype(dtype)}, got {_kind(array)}")
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(array.shape)}")


def expect_floats(name: str, array: np.ndarray, axes: int | None = None) -> None:
    """Raise TypeError or ValueError unless it is a float array with so many axes, none of them empty."""
    if not isinstance(array, np.ndarray) or array.dtype not in FLOATS:
        raise TypeError(f"{name}: expected an array of float32 or float64, got {_kind(array)}")
    if array.size == 0 or (axes is not None and array.ndim != axes):
        wanted = "at least one entry" if axes is None else f"{axes} axes, none of them empty"
        raise ValueError(f"{name}: expected {wanted}, got shape {list(array.shape)}")


def expect_contiguous(**arrays: np.ndarray) -> None:
    """Raise ValueError unless the arrays are C-contiguous and aligned."""
    for name, array in arrays.items():
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise ValueError(f"{name}: expected a C-contiguous array, got a strided or unaligned one")


def expect_changeable(**arrays: np.ndarray) -> None:
    """Raise ValueError unless kernels can change the arrays in place."""
    expect_contiguous(**arrays)
    for name, array in arrays.items():
        if not array.flags.writeable:
            raise ValueError(f"{name}: expected an array that can be written, got a read-only one")


def expect_window(**sizes: int) -> None:
    """Raise TypeError or ValueError unless the sides and the stride of a window are integers from 1."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)):
            raise TypeError(f"{name}: expected an integer, got {size!r}")
        if size < 1:
            raise ValueError(f"{name}: expected 1 or more, got {size}")


def expect_convolution(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int) -> None:
    """Raise unless x [N, H, W, C], w [kh, kw, C, F] and b [F] belong together."""
    expect_floats("x", x, 4)
    expect_floats("w", w, 4)
    expect("w", w, (*w.shape[:2], x.shape[3], w.shape[3]), x.dtype)
    expect("b", b, w.shape[3:], x.dtype)
    expect_window(stride=stride)


def expect_sizes(sizes: Sequence[int], N: int) -> None:
    """Raise ValueError unless the sizes are those of shards of N images, none of them empty."""
    if not sizes or min(sizes) < 1 or sum(sizes) != N:
        raise ValueError(f"sizes: expected shards of {N} images in all, none empty, got {list(sizes)}")


def _kind(array: object) -> str:
    return str(array.dtype) if isinstance(array, np.ndarray) else type(array).__name__
