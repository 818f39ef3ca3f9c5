"""Which images make up which batch, and their pixels as numbers between 0 and 1.

Batches hold no state that matters: batch `step` is computed from `(count, batch_size, seed, step)`
alone. A run that is stopped and resumed goes on with the very images it would have seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.arguments import integer


class Batches:
    """An endless sequence of shuffled batches over `count` images, every one of them full.

    Pass after pass over the images, each in a fresh order, is laid end to end; batch `step` is the
    piece from `step * batch_size` to `(step + 1) * batch_size`. So every pass shows every image
    exactly once, and a batch may hold the end of one pass and the beginning of the next:

        count 5, batch_size 2        3 1 | 4 0 | 2   2 | 0 4 | 3 1 | ...
                                     pass 0          pass 1
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count = integer("count", count, at_least=1)
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        self.seed = integer("seed", seed, at_least=0)
        self._current: tuple[int, np.ndarray] | None = None  # a pass and its order

    def indices(self, step: int) -> np.ndarray:
        """Return the images of batch `step` = 0, 1, 2, ...: int64 [batch_size], a new array."""
        start = integer("step", step, at_least=0) * self.batch_size
        batch = np.empty(self.batch_size, np.int64)
        filled = 0
        while filled < self.batch_size:
            pass_number, offset = divmod(start + filled, self.count)
            piece = self._order(pass_number)[offset : offset + self.batch_size - filled]
            batch[filled : filled + len(piece)] = piece
            filled += len(piece)
        return batch

    def _order(self, pass_number: int) -> np.ndarray:
        """Return the order of a pass; the last one asked for is kept for the next batch."""
        current = self._current
        if current is None or current[0] != pass_number:
            order = np.random.default_rng([self.seed, pass_number]).permutation(self.count)
            self._current = current = pass_number, order
        return current[1]


def to_float(images: np.ndarray, dtype: DTypeLike = np.float32, out: np.ndarray | None = None) -> np.ndarray:
    """Return pixels / 255 as a network wants them: uint8 [N, H, W] -> dtype [N, H, W, 1].

    `out`, if given, is an array of that shape and dtype: it is filled and returned.
    """
    dtype = np.dtype(dtype)
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(f"dtype: expected a floating-point type, got {dtype}")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        got = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"images: expected an array of uint8, got {got}")
    if images.ndim != 3:
        raise ValueError(f"images: expected shape (N, H, W), got {images.shape}")
    pixels = images[..., np.newaxis]  # [N, H, W, 1]
    if out is not None and (out.shape != pixels.shape or out.dtype != dtype):
        raise ValueError(
            f"out: expected {dtype} of shape {pixels.shape}, got {out.dtype} of shape {out.shape}"
        )
    return np.divide(pixels, dtype.type(255), out=out, dtype=dtype)
