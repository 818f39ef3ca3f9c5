"""Whether a training fits into the memory of this process, which is told before it begins."""

from __future__ import annotations

import math

from minicnn.data.room import SMALL
from minicnn.engine.network import Sequential
from minicnn.engine.ops import find_ops
from minicnn.runs.directory import RunError
from minicnn.runs.settings import Settings
from minicnn.storage.memory import available_addresses, available_memory

# Bytes of addresses that a training with kernels takes besides its arrays, measured: the compiler, the
# kernels and Matplotlib; for each thread its stack.
KERNELS, STACK = 470 << 20, 8 << 20


def expect_room(settings: Settings, network: Sequential) -> None:
    """Raise RunError if a step with these settings takes more memory than this process can have.

    What it takes is rough, and at most what a step really does: every output of a layer, and its gradient.
    """
    outputs = sum(math.prod(shape) for shape in network.shapes[1:])
    arrays = 2 * settings.batch_size * outputs * network.dtype.itemsize
    memory = available_memory()
    if memory is not None and arrays > max(memory, SMALL):
        wanted = f"steps of {settings.batch_size} images take {arrays / 1e6:,.0f} MB or more"
        raise RunError(f"not enough memory: {wanted}, got {memory / 1e6:,.0f} MB; try a smaller --batch-size")
    if not find_ops(settings.ops).compiled:
        return  # NumPy raises MemoryError; compiled code would crash
    from numba.core import config

    needed = arrays + KERNELS + STACK * config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    addresses = available_addresses()
    if addresses is not None and addresses < needed:
        limit = f"the limit on addresses (ulimit -v) leaves {addresses / 1e6:,.0f} MB"
        raise RunError(f"not enough memory: the training needs about {needed / 1e6:,.0f} MB more, {limit}")
