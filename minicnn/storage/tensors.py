"""The arrays and texts in a safetensors file, a claim of which is never believed.

Read by the package safetensors, which checks that every array lies within the file. Checked here: that
the header has a usual size, and that the numbers are numbers. In a browser, for which the package has not
been built, `plain_tensors` reads the file.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping

import numpy as np

from minicnn.storage.limits import HEADER

# What a file that is not one leads to; NumPy has no name for some types of numbers.
_UNREADABLE: tuple[type[Exception], ...] = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
if sys.platform == "emscripten":
    from minicnn.storage.plain_tensors import load
else:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    _UNREADABLE += (SafetensorError,)

_MARGIN = 1 << 20  # bytes that the package needs besides the arrays


def parse_tensors(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata in the bytes of a safetensors file.

    Raises ValueError if they are none, or if a number in them is not finite, and MemoryError. The message
    is one line.
    """
    length = header_length(data[:8], len(data))
    np.empty(len(data) + _MARGIN, np.uint8)  # MemoryError, where the package would panic and hang
    try:
        arrays = load(data)
        texts = dict(json.loads(data[8 : 8 + length]).get("__metadata__") or {})
    except _UNREADABLE as error:
        raise ValueError(f"not a safetensors file that can be read ({error!r})") from None
    expect_finite(arrays)
    return arrays, texts


def header_length(start: bytes, size: int) -> int:
    """The length of the header of a safetensors file of `size` bytes, from its first 8.

    Raises ValueError for a file that cannot have such a header, or should not.
    """
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise ValueError(f"not a safetensors file, or damaged: its header claims to have {length:,} bytes")
    if length > HEADER:
        raise ValueError(f"too large a header: expected at most {HEADER:,} bytes, got {length:,}")
    return length


def expect_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError, naming the array, if one of them has a number that is NaN or infinite."""
    for name, array in arrays.items():
        if not is_finite_array(array):
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinite ones")


def name_some(names: Iterable[str], most: int = 8) -> str:
    """The first names in order, and how many more there are: a file may hold any number of arrays."""
    names = sorted(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def is_finite_array(array: np.ndarray) -> bool:
    """Whether all numbers of an array are finite; takes no memory."""
    return array.size == 0 or (array.min() > -math.inf and array.max() < math.inf)  # false for NaN, too
