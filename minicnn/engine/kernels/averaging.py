"""The moving average of weights, the fast twin of the reference's: one pass over memory."""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.engine.kernels.jit import kernel
from minicnn.engine.workspace import FRESH, Workspace, flat

BLOCK = 16384  # entries


@kernel(parallel=True)
def _average(averages, values, share, block):
    size = values.size
    for part in prange((size + block - 1) // block):
        here = slice(part * block, min(size, (part + 1) * block))
        average, value = averages[here], values[here]
        for i in range(value.size):
            average[i] += share * (value[i] - average[i])


def average_update(
    average: np.ndarray, value: np.ndarray, decay: float, *, workspace: Workspace = FRESH
) -> None:
    """See `minicnn.engine.reference.average_update`. The arrays must be C-contiguous."""
    _average(flat(average), flat(value), average.dtype.type(1 - decay), BLOCK)
