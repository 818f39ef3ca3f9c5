"""Max-pooling, the fast twin of the reference's."""

from __future__ import annotations

import numpy as np
from numba import prange

from minicnn.kernels.buffers import empty, ready
from minicnn.kernels.jit import kernel
from minicnn.reference import Cache, window_geometry


@kernel(parallel=True)
def _max_pool(x, y, winner, size, stride, top, left):
    N, H, W, C = x.shape
    _, Ho, Wo, _ = y.shape
    for row in prange(N * Ho):
        n, i = row // Ho, row % Ho
        for j in range(Wo):
            empty_so_far = True
            for u in range(size):
                r = i * stride + u - top
                for v in range(size):
                    s = j * stride + v - left
                    if r < 0 or r >= H or s < 0 or s >= W:
                        continue
                    k = np.uint8(u * size + v)
                    if empty_so_far:
                        empty_so_far = False
                        for c in range(C):
                            y[n, i, j, c] = x[n, r, s, c]
                            winner[n, i, j, c] = k
                    else:
                        for c in range(C):
                            value, best = x[n, r, s, c], y[n, i, j, c]
                            # Strictly larger: of equal values the first wins. A NaN wins once.
                            if value > best or (value != value and best == best):
                                y[n, i, j, c] = value
                                winner[n, i, j, c] = k


@kernel(parallel=True)
def _max_pool_backward(dy, winner, dx, size, stride, top, left):
    N, H, W, C = dx.shape
    _, Ho, Wo, _ = dy.shape
    for n in prange(N):  # windows may overlap, so one thread owns the whole image
        dx[n] = 0
        for i in range(Ho):
            for j in range(Wo):
                for u in range(size):
                    r = i * stride + u - top
                    for v in range(size):
                        s = j * stride + v - left
                        if 0 <= r < H and 0 <= s < W:
                            k = np.uint8(u * size + v)
                            for c in range(C):
                                # y = x[winner]
                                if winner[n, i, j, c] == k:
                                    dx[n, r, s, c] += dy[n, i, j, c]


def max_pool2d_forward(
    x: np.ndarray, size: int = 2, stride: int = 2, padding: str = "same"
) -> tuple[np.ndarray, Cache]:
    """See `minicnn.reference.max_pool2d_forward`."""
    N, H, W, C = x.shape
    Ho, top, _ = window_geometry(H, size, stride, padding)
    Wo, left, _ = window_geometry(W, size, stride, padding)
    y = empty("y", (N, Ho, Wo, C), x.dtype)
    winner = empty("winner", (N, Ho, Wo, C), np.uint8)
    _max_pool(ready(x), y, winner, size, stride, top, left)
    return y, (x.shape, winner, size, stride, padding)


def max_pool2d_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """See `minicnn.reference.max_pool2d_backward`."""
    x_shape, winner, size, stride, padding = cache
    _, top, _ = window_geometry(x_shape[1], size, stride, padding)
    _, left, _ = window_geometry(x_shape[2], size, stride, padding)
    dx = empty("dx", x_shape, dy.dtype)
    _max_pool_backward(ready(dy), winner, dx, size, stride, top, left)
    return dx
