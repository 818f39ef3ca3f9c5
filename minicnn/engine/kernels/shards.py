"""The gradient of a batch in shards, and the tree in which the shards' gradients are added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect_floats
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.kernels.vector import add, address, copy
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

ENTRIES = 1024  # of the sum in one block of work: its partial sums stay in the nearest cache


@kernel(parallel=True, serial_up_to=16 * 1024)
def _tree_sum(parts, scratch, total):
    """total [size] = the sum of parts [P, size]; scratch [P, size] holds the sums on the way."""
    count, size = parts.shape
    for block in prange((size + ENTRIES - 1) // ENTRIES):
        first = block * ENTRIES
        here = min(size, first + ENTRIES) - first
        for part in range(0, count, 2):
            to = address(scratch, part * size + first)
            copy(address(parts, part * size + first), to, here)
            if part + 1 < count:
                add(address(parts, (part + 1) * size + first), to, here)
        step = 2
        while step < count:
            for part in range(0, count - step, 2 * step):
                source = address(scratch, (part + step) * size + first)
                add(source, address(scratch, part * size + first), here)
            step *= 2
        copy(address(scratch, first), address(total, first), here)


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
