"""How many threads kernels run on, and where: three settings, with what was measured.

- **The spin.** An OpenMP thread without work spins for milliseconds before it sleeps; on a busy machine it
  thereby keeps the processor from the very thread that it waits for. A spin of 10,000 rounds, about 0.2 ms,
  bridges the gap between two kernels and no more.
- **The place.** An idle virtual processor does not look idle to Linux: after any pause it woke the worker
  on the processor of the thread that waited for it, and left it there. On two processors a step of one
  image then took 12 ms instead of 4, one of 50 images 17 instead of 14. With a processor for each worker,
  both are as before the pause, and two trainings at once still share the machine evenly.
- **The number**, `set_threads`; the default is in `minicnn/engine/numba_settings.py`. It changes no bit of
  any result.
"""

from __future__ import annotations

import contextlib
import os

import numba
import numpy as np
from numba import prange, types
from numba.core import config

from minicnn.engine.kernels import jit
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.numba_settings import NumbaSettingsError

SPIN = "10000"  # rounds
LAYER_SETTINGS = ("NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY")

_sched_setaffinity = types.ExternalFunction(
    "sched_setaffinity", types.int32(types.int32, types.uintp, types.uintp)
)


def set_threads(count: int) -> None:
    """Use `count` threads from here on. Raises ValueError outside 1..available."""
    most = config.NUMBA_NUM_THREADS
    if not 1 <= count <= most:
        raise ValueError(f"threads: expected 1 to {most}, got {count}")
    jit.set_thread_count(count)


def _load_openmp() -> None:
    """Load GNU OpenMP with a short spin: the library reads its settings when it is loaded."""
    chosen = "GOMP_SPINCOUNT" not in os.environ
    if chosen:
        os.environ["GOMP_SPINCOUNT"] = SPIN
    with contextlib.suppress(ImportError):  # Numba then has another threading layer
        import numba.np.ufunc.omppool  # noqa: F401
    if chosen:
        del os.environ["GOMP_SPINCOUNT"]  # it is not for the processes that this one starts


@kernel(parallel=True)
def _keep_on(masks):
    # A row for each thread: the bits of the processors that it may run on.
    for _ in prange(masks.shape[0]):
        thread = numba.get_thread_id()
        if thread > 0:  # 0 is the caller, which stays free: others depend on where it may run
            _sched_setaffinity(0, masks.shape[1], masks[thread].ctypes.data)


def place_workers() -> None:
    """Keep each worker of this Python thread on a processor of its own, if there is one for each thread."""
    if config.DISABLE_JIT or not hasattr(os, "sched_setaffinity"):
        return
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) == jit.thread_count() > 1:
        masks = np.zeros((len(processors), processors[-1] // 64 + 1), np.uint64)
        for mask, processor in zip(masks, processors, strict=True):
            mask[processor // 64] = 1 << processor % 64
        _keep_on(masks.view(np.uint8))


def _place_openmp_workers() -> None:
    if numba.threading_layer() == "omp":
        place_workers()


def _expect_threading_layer() -> None:
    """Raise NumbaSettingsError, in one line, if the chosen threading layer cannot be loaded."""
    chosen = [f"{name}={os.environ[name]}" for name in LAYER_SETTINGS if os.environ.get(name)]
    if not chosen:  # Numba then has one that works
        return
    try:
        jit.thread_count()  # starts the threads
    except ValueError as error:
        raise NumbaSettingsError(f"{' '.join(chosen)}: {str(error).splitlines()[0]}") from None


_load_openmp()
_expect_threading_layer()
jit.on_new_team.append(_place_openmp_workers)
