"""Training batches as a network wants them: floats, distorted a little where the recipe asks for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from minicnn.data.augmentation import Augmentation
from minicnn.data.batches import Batches, to_float
from minicnn.data.dataset import Split
from minicnn.data.ones import add_flags
from minicnn.engine.ops import find_ops
from minicnn.engine.workspace import Workspace


class Loader:
    """`loader(step)` returns x [N, H, W, C] and labels [N] of step 1, 2, ...

    Images are distorted by `augmentation`; of MNIST's ones, the share `flags` gets a flag before.
    A batch depends on the split, the seed and the step alone. It lies in memory that the next one reuses.
    With `rows`, x is those images of the batch alone; labels are always all.
    """

    batches: Batches

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        *,
        flags: float = 0.0,
        rows: slice = slice(None),
        dtype: DTypeLike = np.float32,
        ops: str = "kernels",
    ) -> None:
        self.batches = Batches(len(split), batch_size, seed)
        self._split, self._seed, self._augmentation = split, seed, augmentation
        self._flags, self._rows = flags, rows
        self._memory = Workspace()
        self._ops = find_ops(ops, Workspace(), "augmentation")
        self._dtype = np.dtype(dtype)

    def __repr__(self) -> str:
        size, count = self.batches.batch_size, self.batches.count
        return f"Loader({count} images, batch_size={size}, seed={self._seed})"

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels of step 1, 2, ..."""
        indices = self.batches.indices(step - 1)
        labels = self._taken("labels", self._split.labels, indices)
        pixels = self._taken("pixels", self._split.images, indices[self._rows])
        if self._flags:
            add_flags(pixels, labels, self._flags, self._seed, step - 1, self._rows)
        if not self._augmentation:
            shape = pixels.shape if pixels.ndim == 4 else (*pixels.shape, 1)
            return to_float(pixels, self._dtype, out=self._memory.empty("x", shape, self._dtype)), labels
        _, H, W, *C = pixels.shape
        drawn = self._augmentation.displacements(len(labels), (H, W), self._seed, step - 1)
        displacements = drawn[self._rows]
        if not C:
            return self._ops.warp(pixels, displacements), labels
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(-1, H, W)  # one by one
        warped = self._ops.warp(planes, np.repeat(displacements, C[0], axis=0))
        x = self._memory.empty("x", pixels.shape, np.float32)
        np.copyto(x, warped.reshape(-1, C[0], H, W).transpose(0, 2, 3, 1))
        return x, labels

    def _taken(self, name: str, array: np.ndarray, indices: np.ndarray) -> np.ndarray:
        out = self._memory.empty(name, (len(indices), *array.shape[1:]), array.dtype)
        # Without mode="clip", take works in a copy of `out`; the indices are in range.
        return np.take(array, indices, axis=0, out=out, mode="clip")
