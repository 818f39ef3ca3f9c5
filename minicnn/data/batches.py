"""Which images form which batch, and pixels scaled to the range from 0 to 1.

Batches have no state that matters: batch `step` is computed from `(count, batch_size, seed, step)`
alone. A run that is stopped and resumed sees exactly the images it would have seen without the stop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.arguments import integer


class Batches:
    """An endless sequence of shuffled batches over `count` images, every one of them full.

    The epochs, each a fresh shuffle of all images, are laid end to end; batch `step` is the slice from
    `step * batch_size` to `(step + 1) * batch_size`. So every epoch contains every image exactly once,
    and a batch may contain the end of one epoch and the beginning of the next:

        count 5, batch_size 2        3 1 | 4 0 | 2   2 | 0 4 | 3 1 | ...
                                     epoch 0         epoch 1
    """

    count: int
    batch_size: int
    seed: int

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count = integer("count", count, at_least=1)
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        self.seed = integer("seed", seed, at_least=0)
        self._current: tuple[int, np.ndarray] | None = None  # an epoch and its order

    def __repr__(self) -> str:
        return f"Batches({self.count}, batch_size={self.batch_size}, seed={self.seed})"

    def indices(self, step: int) -> np.ndarray:
        """Return the image indices of batch `step` = 0, 1, 2, ...: int64 [batch_size], a new array."""
        start = integer("step", step, at_least=0) * self.batch_size
        batch = np.empty(self.batch_size, np.int64)
        filled = 0
        while filled < self.batch_size:
            epoch, offset = divmod(start + filled, self.count)
            piece = self._order(epoch)[offset : offset + self.batch_size - filled]
            batch[filled : filled + len(piece)] = piece
            filled += len(piece)
        return batch

    def _order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch; the most recent one is kept for the next batch."""
        current = self._current
        if current is None or current[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            self._current = current = epoch, order
        return current[1]


def to_float(images: np.ndarray, dtype: DTypeLike = np.float32, out: np.ndarray | None = None) -> np.ndarray:
    """Return pixels / 255 with a channel axis: uint8 [N, H, W] or [N, H, W, C] -> dtype [N, H, W, C].

    `out`, if given, is an array of that shape and dtype; it is filled and returned.
    """
    dtype = np.dtype(dtype)
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(f"dtype: expected a floating-point type, got {dtype}")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        got = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"images: expected an array of uint8, got {got}")
    if images.ndim not in (3, 4):
        raise ValueError(f"images: expected shape (N, H, W) or (N, H, W, C), got {images.shape}")
    pixels = images[..., np.newaxis] if images.ndim == 3 else images  # [N, H, W, C]
    if out is not None and (out.shape != pixels.shape or out.dtype != dtype):
        raise ValueError(
            f"out: expected {dtype} of shape {pixels.shape}, got {out.dtype} of shape {out.shape}"
        )
    return np.divide(pixels, dtype.type(255), out=out, dtype=dtype)
