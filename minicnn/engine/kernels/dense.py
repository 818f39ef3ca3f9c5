"""The dense layer, and the bias gradient that convolution shares with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect, expect_floats
from minicnn.engine.kernels.jit import kernel
from minicnn.engine.kernels.matmul import matmul
from minicnn.engine.kernels.sparse import (
    NARROW,
    WIDE,
    adam_along_product,
    nonzeros_by_image,
    nonzeros_by_unit,
    sparse_input_gradient,
    sparse_weight_gradient,
)
from minicnn.engine.kernels.updates import adam_numbers, adam_update
from minicnn.engine.kernels.vector import add, address
from minicnn.engine.reference import Cache
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous, flat

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
    elif (out.shape, out.dtype, out.flags.c_contiguous) != (shape, dy.dtype, True):
        found = f"{out.dtype} {list(out.shape)}" + ("" if out.flags.c_contiguous else ", strided")
        raise ValueError(f"out: expected C-contiguous {dy.dtype} {list(shape)}, got {found}")
    by_unit = nonzeros_by_unit(dy, WIDE, workspace)
    if by_unit is None:
        return matmul(x.T, dy, out=out, workspace=workspace)
    sparse_weight_gradient(by_unit, x, out, workspace)
    return out


def _input_gradient(dy: np.ndarray, w: np.ndarray, workspace: Workspace) -> np.ndarray:
    dx = workspace.empty("dx", (len(dy), len(w)), dy.dtype)
    by_image = nonzeros_by_image(dy, workspace)
    if by_image is None:
        return matmul(dy, w.T, out=dx, workspace=workspace)
    sparse_input_gradient(by_image, as_contiguous(w), dx, workspace)
    return dx


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
    x, dy = as_contiguous(x), as_contiguous(dy)
    by_unit = nonzeros_by_unit(dy, NARROW, workspace)
    if by_unit is None:
        grad = workspace.empty("dw", value.shape, value.dtype)
        adam_update(value, matmul(x.T, dy, out=grad, workspace=workspace), m, v, *settings)
    else:
        numbers = adam_numbers(value.dtype, *settings)
        adam_along_product(by_unit, flat(value), x, flat(m), flat(v), numbers, workspace)
