"""The dense layer, and the bias gradient that convolution shares with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from minicnn.engine.kernels.buffers import empty, ready
from minicnn.engine.kernels.elementwise import SMALL
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.kernels.matmul import matmul
from minicnn.engine.kernels.sparse import (
    NARROW,
    adam_along_product,
    nonzeros_by_image,
    nonzeros_by_unit,
    sparse_input_gradient,
    sparse_weight_gradient,
)
from minicnn.engine.kernels.updates import adam_numbers, adam_update, flat
from minicnn.engine.kernels.vector import add, address
from minicnn.engine.reference import Cache


@kernel(parallel=True)
def _sum_rows(dy, db):
    # Each block owns some columns and walks down the rows: the same order for any thread count.
    M, F = dy.shape
    block = 16
    for part in prange((F + block - 1) // block):
        start, stop = part * block, min(F, (part + 1) * block)
        db[start:stop] = 0
        for i in range(M):
            add(address(dy, i * F + start), address(db, start), stop - start)


def sum_rows(dy: np.ndarray) -> np.ndarray:
    """dy [M, F] -> db [F]."""
    db = empty("db", (dy.shape[1],), dy.dtype)
    run = _sum_rows.serial if dy.size <= SMALL else _sum_rows
    run(dy, db)
    return db


def dense_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.dense_forward`."""
    x = ready(x)
    return matmul("y", x, w, b), (x, w)


def dense_backward(
    dy: np.ndarray, cache: Cache, input_gradient: bool = True, weight_gradient: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
    """See `minicnn.engine.reference.dense_backward`."""
    x, w = cache
    dy = ready(dy)
    # y = x @ w + b
    db = sum_rows(dy)
    dx = dw = None
    if weight_gradient:
        by_unit = nonzeros_by_unit(dy)
        dw = matmul("dw", x.T, dy) if by_unit is None else sparse_weight_gradient(by_unit, x)
    if input_gradient:
        by_image = nonzeros_by_image(dy)
        dx = matmul("dx", dy, w.T) if by_image is None else sparse_input_gradient(by_image, ready(w))
    return dx, dw, db


def adam_product_update(
    value: np.ndarray, x: np.ndarray, dy: np.ndarray, m: np.ndarray, v: np.ndarray, *settings: Any
) -> None:
    """See `minicnn.engine.reference.adam_product_update`. value, m and v must be C-contiguous."""
    x, dy = ready(x), ready(dy)
    by_unit = nonzeros_by_unit(dy, NARROW)
    if by_unit is None:
        adam_update(value, matmul("dw", x.T, dy), m, v, *settings)
    else:
        adam_along_product(by_unit, flat(value), x, flat(m), flat(v), adam_numbers(value.dtype, *settings))


def dense_weight_gradient(x, dy, out=None):
    by_unit = nonzeros_by_unit(dy)
    dw = matmul("dw", x.T, dy) if by_unit is None else sparse_weight_gradient(by_unit, x)
    if out is None:
        return dw
    out[...] = dw
    return out
