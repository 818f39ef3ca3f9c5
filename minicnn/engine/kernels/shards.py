"""The gradient of a batch in shards, and the tree in which the shards' gradients are added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect_floats
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

ENTRIES = 1024  # of the sum in one block of work


@kernel(parallel=True, serial_up_to=16 * 1024)
def _tree_sum(parts, scratch, total):
    """total [size] = the sum of parts [P, size], in place in scratch [P, size]."""
    count, size = parts.shape
    for block in prange((size + ENTRIES - 1) // ENTRIES):
        first, last = block * ENTRIES, min(size, (block + 1) * ENTRIES)
        for part in range(count):
            for i in range(first, last):
                scratch[part, i] = parts[part, i]
        step = 1
        while step < count:
            for part in range(0, count - step, 2 * step):
                for i in range(first, last):
                    scratch[part, i] += scratch[part + step, i]
            step *= 2
        for i in range(first, last):
            total[i] = scratch[0, i]


def tree_sum(parts: np.ndarray, *, workspace: Workspace = FRESH) -> np.ndarray:
    """See `minicnn.engine.reference.tree_sum`."""
    expect_floats("parts", parts)
    if len(parts) == 1:
        return parts[0]
    rows = as_contiguous(parts).reshape(len(parts), -1)
    total = workspace.empty("sum of parts", parts.shape[1:], parts.dtype)
    scratch = workspace.empty("parts", rows.shape, parts.dtype)
    _tree_sum(rows, scratch, total.reshape(-1))
    return total


def starts_of(sizes: Sequence[int]) -> np.ndarray:
    """Where shards of these sizes begin, and where the last one ends."""
    return np.cumsum([0, *sizes])
