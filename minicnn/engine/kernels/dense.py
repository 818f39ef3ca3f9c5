"""The dense layer, and the bias gradient that convolution shares with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect, expect_changeable, expect_floats
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.kernels.matmul import matmul
from minicnn.engine.kernels.sparse import adam_along_product, sparse_input_gradient, sparse_weight_gradient
from minicnn.engine.kernels.updates import adam_numbers, adam_update
from minicnn.engine.kernels.vector import add, address
from minicnn.engine.reference import Cache
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous

COLUMNS = 16  # of dy in a block of work of the bias gradient


@kernel(parallel=True, serial_up_to=128 * 1024)
def _sum_rows(dy, db):
    # Each block owns some columns and walks down the rows: the same order for any thread count.
    M, F = dy.shape
    for part in prange((F + COLUMNS - 1) // COLUMNS):
        start, stop = part * COLUMNS, min(F, (part + 1) * COLUMNS)
        db[start:stop] = 0
        for i in range(M):
            add(address(dy, i * F + start), address(db, start), stop - start)


def sum_rows(dy: np.ndarray, workspace: Workspace) -> np.ndarray:
    """dy [M, F] -> db [F]."""
    expect_floats("dy", dy, 2)
    dy = as_contiguous(dy)
    db = workspace.empty("db", (dy.shape[1],), dy.dtype)
    _sum_rows(dy, db)
    return db


def dense_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, *, workspace: Workspace = FRESH
) -> tuple[np.ndarray, Cache]:
    """See `minicnn.engine.reference.dense_forward`."""
    expect_floats("x", x, 2)
    expect_floats("w", w, 2)
    expect("w", w, (x.shape[1], w.shape[1]), x.dtype)
    expect("b", b, w.shape[1:], x.dtype)
    x = as_contiguous(x)
    y = workspace.empty("y", (len(x), w.shape[1]), x.dtype)
    return matmul(x, w, b, out=y, workspace=workspace), (x, w)


def dense_backward(
    dy: np.ndarray,
    cache: Cache,
    input_gradient: bool = True,
    weight_gradient: bool = True,
    *,
    workspace: Workspace = FRESH,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
    """See `minicnn.engine.reference.dense_backward`."""
    x, w = cache
    expect_floats("x", x, 2)
    expect_floats("w", w, 2)
    expect("w", w, (x.shape[1], w.shape[1]), x.dtype)
    expect("dy", dy, (len(x), w.shape[1]), x.dtype)
    dy = as_contiguous(dy)
    # y = x @ w + b
    db = sum_rows(dy, workspace)
    dw = dense_weight_gradient(x, dy, workspace=workspace) if weight_gradient else None
    return _input_gradient(dy, w, workspace) if input_gradient else None, dw, db


def dense_weight_gradient(
    x: np.ndarray, dy: np.ndarray, out: np.ndarray | None = None, *, workspace: Workspace = FRESH
) -> np.ndarray:
    """See `minicnn.engine.reference.dense_weight_gradient`. out must be C-contiguous."""
    expect_floats("x", x, 2)
    expect_floats("dy", dy, 2)
    expect("dy", dy, (len(x), dy.shape[1]), x.dtype)
    x, dy = as_contiguous(x), as_contiguous(dy)
    shape = x.shape[1], dy.shape[1]
    if out is None:
        out = workspace.empty("dw", shape, dy.dtype)
    expect("out", out, shape, dy.dtype)
    expect_changeable(out=out)
    if sparse_weight_gradient(dy, x, out, workspace):
        return out
    return matmul(x.T, dy, out=out, workspace=workspace)


def _input_gradient(dy: np.ndarray, w: np.ndarray, workspace: Workspace) -> np.ndarray:
    dx = workspace.empty("dx", (len(dy), len(w)), dy.dtype)
    if sparse_input_gradient(dy, w, dx, workspace):
        return dx
    return matmul(dy, w.T, out=dx, workspace=workspace)


def adam_product_update(
    value: np.ndarray,
    x: np.ndarray,
    dy: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    *settings: Any,
    workspace: Workspace = FRESH,
) -> None:
    """See `minicnn.engine.reference.adam_product_update`. value, m and v must be C-contiguous."""
    expect_floats("x", x, 2)
    expect_floats("dy", dy, 2)
    expect("dy", dy, (len(x), dy.shape[1]), x.dtype)
    for name, array in (("value", value), ("m", m), ("v", v)):
        expect(name, array, (x.shape[1], dy.shape[1]), x.dtype)
    expect_changeable(value=value, m=m, v=v)
    x, dy = as_contiguous(x), as_contiguous(dy)
    if not adam_along_product(value, x, dy, m, v, adam_numbers(value.dtype, *settings), workspace):
        grad = workspace.empty("dw", value.shape, value.dtype)
        adam_update(value, matmul(x.T, dy, out=grad, workspace=workspace), m, v, *settings)
