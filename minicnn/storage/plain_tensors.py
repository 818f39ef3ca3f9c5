"""Reads a safetensors file with NumPy alone, for browsers, for which the package safetensors is not built.

Only the numbers that minicnn writes: integers and floats that NumPy has. Source of the format: the README of
safetensors, "Format".
"""

from __future__ import annotations

import json
import math

import numpy as np


def load(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in the bytes of a safetensors file, as copies.

    Raises ValueError, TypeError, KeyError, AttributeError or RecursionError if they are none.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    arrays, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype = np.dtype(f"<{_kind(entry['dtype'])}")
        shape, (begin, stop) = tuple(entry["shape"]), entry["data_offsets"]
        count = math.prod(shape)
        if begin != end or stop != begin + count * dtype.itemsize or min(shape, default=0) < 0:
            raise ValueError(f"{name}: its bytes do not lie where they should")
        arrays[name] = np.frombuffer(data[start + begin : start + stop], dtype).reshape(shape).copy()
        end = stop
    if start + end != len(data):
        raise ValueError(f"expected {start + end:,} bytes, got {len(data):,}")
    return arrays


def _kind(dtype: str) -> str:
    """NumPy's short name: "f4" for "F32"."""
    kind, bits = dtype[:1].lower(), int(dtype[1:])
    if kind not in "fiu" or bits not in (8, 16, 32, 64):
        raise ValueError(f"expected integers or floats, got {dtype}")
    return f"{kind}{bits // 8}"
