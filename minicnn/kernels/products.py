"""The matrix product behind convolution and dense layers."""

from __future__ import annotations

import numpy as np

from minicnn.kernels.buffers import empty


def matmul(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a [M, K] @ b [K, N] -> [M, N], in the buffer called `name`."""
    return np.matmul(a, b, out=empty(name, (a.shape[0], b.shape[1]), a.dtype))
