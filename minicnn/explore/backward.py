"""One gradient, of a number or of a parameter, as the terms that made it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.engine.layers import Conv2D, Dense, MaxPool2D
from minicnn.engine.parameters import Parameter
from minicnn.explore.forward import as_groups, expect_place, patch_places, take, window_corner
from minicnn.explore.maps import CLASSES, Maps, Stage
from minicnn.explore.trace import OUTSIDE, Array, Factor, Trace


def trace_gradient(maps: Maps, name: str, place: int) -> Trace:
    """The terms of dL/d(output number `place`) of a stage: what comes back from the layer above it.

    Raises ValueError for maps without gradients, or for a stage or a place that does not exist.
    """
    expect_gradients(maps)
    number = maps.index(name)
    value = float(maps.gradients[number].ravel()[expect_place(maps, name, place)])
    if number + 1 == len(maps.stages):
        return _scores(maps, place, value)
    stage, above = maps.stages[number], maps.stages[number + 1]
    dy = maps.gradients[number + 1]
    if isinstance(above.layer, Conv2D):
        return _conv(stage, above, above.layer, dy, place, value)
    if isinstance(above.layer, Dense):
        return _dense(above, above.layer, dy, place, value)
    if isinstance(above.layer, MaxPool2D):
        return _pool(stage, above, above.layer, maps.outputs[number], dy, place, value)
    y = float(maps.outputs[number + 1].ravel()[place])
    left = _single("gradient", above.name, dy, place)
    return Trace("gate", "relu_backward", value, left, facts={"open": bool(y > 0), "output": y})


def trace_parameter(maps: Maps, name: str, place: int) -> Trace:
    """The terms of dL/d(entry number `place`) of a parameter such as "conv1.weight".

    Raises ValueError for maps without gradients, or for a parameter or a place that does not exist.
    """
    expect_gradients(maps)
    number, parameter = find_parameter(maps, name)
    stage, before = maps.stages[number], maps.stages[number - 1]
    size = parameter.value.size
    if not 0 <= place < size:
        raise ValueError(f"place: expected 0 to {size - 1} in {name}, got {place}")
    value = float(parameter.grad.ravel()[place])
    x, dy, layer = maps.outputs[number - 1], maps.gradients[number], stage.layer
    if isinstance(layer, Conv2D):
        if parameter is layer.bias:
            return _conv_bias(stage, dy, place, value)
        return _conv_weight(stage, layer, before, x, dy, place, value)
    assert isinstance(layer, Dense)
    if parameter is layer.bias:
        left, right = _single("gradient", stage.name, dy, place), _ones(1, 1)
        return Trace("sum", "dense_backward.db", value, left, right)
    d, f = divmod(place, layer.bias.value.size)  # dw[d, f] = x[d] * dy[f]: one image, one term
    left, right = _single("value", before.name, x, d), _single("gradient", stage.name, dy, f)
    return Trace("sum", "dense_backward.dw", value, left, right)


def find_parameter(maps: Maps, name: str) -> tuple[int, Parameter]:
    """The number of the stage that owns a parameter, and the parameter. Raises ValueError for none."""
    for number, stage in enumerate(maps.stages):
        for parameter in stage.layer.parameters if stage.layer is not None else ():
            if parameter.name == name:
                return number, parameter
    raise ValueError(f"parameter: expected one of this network, got {name!r}")


def expect_gradients(maps: Maps) -> None:
    """Raise ValueError if the maps have been computed without gradients."""
    if not maps.gradients:
        raise ValueError("maps: expected some with gradients, computed with backward=True")


def _single(what: str, name: str, values: Array, place: int) -> Factor:
    places = np.array(place, np.int32).reshape(1, 1, 1)
    return Factor(what, name, values.ravel()[place].reshape(1, 1, 1), places)


def _ones(rows: int, columns: int) -> Factor:
    shape = (1, rows, columns)
    return Factor("parameter", "", np.ones(shape, np.float32), np.full(shape, OUTSIDE, np.int32))


def _scores(maps: Maps, place: int, value: float) -> Trace:
    places = np.arange(CLASSES, dtype=np.int32).reshape(1, 1, -1)
    left = Factor("value", "softmax", maps.probabilities.reshape(1, 1, -1), places)
    facts: dict[str, Any] = {"index": place, "label": maps.label}
    return Trace("residual", "softmax_cross_entropy_backward", value, left, facts=facts)


def _conv(stage: Stage, above: Stage, layer: Conv2D, dy: Array, place: int, value: float) -> Trace:
    # dx[y, x, c] = sum over u, v, f of dy[i, j, f] * w[u, v, c, f], where s * i + u - top = y, and j likewise
    kh, kw, C, F = layer.weight.value.shape
    Ho, Wo, _ = above.shape
    row, column, c = (int(n) for n in np.unravel_index(place, stage.shape))
    top, left_edge = (-n for n in window_corner(layer, stage.shape, 0, 0))
    i, rows_fit = np.divmod(row + top - np.arange(kh), layer.stride)
    j, columns_fit = np.divmod(column + left_edge - np.arange(kw), layer.stride)
    i, rows_fit = i[:, None], ((rows_fit == 0) & (i >= 0) & (i < Ho))[:, None]
    j, columns_fit = j[None], ((columns_fit == 0) & (j >= 0) & (j < Wo))[None]
    pixels = np.where(rows_fit & columns_fit, i * Wo + j, OUTSIDE)  # [kh, kw]
    places = np.where(pixels == OUTSIDE, OUTSIDE, pixels * F + np.arange(F)[:, None, None]).astype(np.int32)
    weights = np.arange(kh * kw * C * F, dtype=np.int32).reshape(kh, kw, C, F)[:, :, c].transpose(2, 0, 1)
    left = Factor("gradient", above.name, take(dy, places), places)
    right = Factor("parameter", layer.weight.name, take(layer.weight.value, weights), weights)
    return Trace("sum", "conv2d_backward.dx", value, left, right)


def _dense(above: Stage, layer: Dense, dy: Array, place: int, value: float) -> Trace:
    # dx[d] = sum over f of dy[f] * w[d, f]
    F = layer.bias.value.size
    places = np.arange(F, dtype=np.int32).reshape(1, 1, -1)
    weights = place * F + places
    left = Factor("gradient", above.name, take(dy, places), places)
    right = Factor("parameter", layer.weight.name, take(layer.weight.value, weights), weights)
    return Trace("sum", "dense_backward.dx", value, left, right)


def _pool(
    stage: Stage, above: Stage, layer: MaxPool2D, x: Array, dy: Array, place: int, value: float
) -> Trace:
    row, column, c = (int(n) for n in np.unravel_index(place, stage.shape))
    Ho, Wo, C = above.shape
    windows, wins, winners = [], [], []
    for i in range(Ho):
        for j in range(Wo):
            corner = window_corner(layer, stage.shape, i, j)
            if not (0 <= row - corner[0] < layer.size and 0 <= column - corner[1] < layer.size):
                continue
            places = patch_places(stage.shape, corner, layer.size, layer.size)[..., c]
            winner = int(places.ravel()[take(x, places, outside=-np.inf).argmax()])
            windows.append((i * Wo + j) * C + c)
            wins.append(winner == place)
            winners.append(winner)
    shown = np.array(windows, np.int32).reshape(1, 1, -1)
    left = Factor("gradient", above.name, take(dy, shown), shown)
    return Trace("winners", "max_pool2d_backward", value, left, facts={"wins": wins, "winners": winners})


def _conv_weight(
    stage: Stage, layer: Conv2D, before: Stage, x: Array, dy: Array, place: int, value: float
) -> Trace:
    # dw[u, v, c, f] = sum over i, j of xpad[s * i + u, s * j + v, c] * dy[i, j, f]
    u, v, c, f = (int(n) for n in np.unravel_index(place, layer.weight.value.shape))
    Ho, Wo, F = stage.shape
    H, W, C = before.shape
    top, left_edge = window_corner(layer, before.shape, 0, 0)
    rows = (np.arange(Ho) * layer.stride + top + u)[:, None]
    columns = (np.arange(Wo) * layer.stride + left_edge + v)[None]
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    places = np.where(inside, (rows * W + columns) * C + c, OUTSIDE).astype(np.int32)[None]
    there = (np.arange(Ho * Wo, dtype=np.int32) * F + f).reshape(1, Ho, Wo)
    left = Factor("value", before.name, take(x, places), places)
    right = Factor("gradient", stage.name, take(dy, there), there)
    return Trace("sum", "conv2d_backward.dw", value, left, right)


def _conv_bias(stage: Stage, dy: Array, place: int, value: float) -> Trace:
    places = as_groups(np.arange(dy.size, dtype=np.int32), stage.shape)[place : place + 1]
    left = Factor("gradient", stage.name, take(dy, places), places)
    return Trace("sum", "conv2d_backward.db", value, left, _ones(*places.shape[1:]))
