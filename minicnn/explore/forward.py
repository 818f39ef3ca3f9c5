"""One output of a layer as the terms that made it."""

from __future__ import annotations

import numpy as np

from minicnn.engine.layers import Conv2D, Dense, MaxPool2D
from minicnn.engine.reference import window_geometry
from minicnn.explore.maps import CLASSES, Maps, Stage
from minicnn.explore.trace import OUTSIDE, Array, Factor, Trace


def trace_output(maps: Maps, name: str, place: int) -> Trace:
    """The terms of output number `place` (in the flat array) of a stage, of "softmax", or of the "loss".

    Raises ValueError for a stage or a place that does not exist, and for the image, which nothing made.
    """
    if name in ("softmax", "loss"):
        return _head(maps, name, place)
    number = maps.index(name)
    stage, value = maps.stages[number], float(maps.outputs[number].ravel()[expect_place(maps, name, place)])
    if stage.kind == "image":
        raise ValueError("stage: the image is where the terms end")
    before, x = maps.stages[number - 1], maps.outputs[number - 1]
    if isinstance(stage.layer, Conv2D):
        return _conv(stage, stage.layer, before, x, place, value)
    if isinstance(stage.layer, Dense):
        return _dense(stage.layer, before, x, place, value)
    if isinstance(stage.layer, MaxPool2D):
        return _pool(stage, stage.layer, before, x, place, value)
    one = np.array(place, np.int32).reshape(1, 1, 1)
    left = Factor("value", before.name, x.ravel()[place].reshape(1, 1, 1), one)
    return Trace("relu", "relu_forward", value, left)


def expect_place(maps: Maps, name: str, place: int) -> int:
    """The place, if the stage has it. Raises ValueError otherwise."""
    size = maps.outputs[maps.index(name)].size
    if not 0 <= place < size:
        raise ValueError(f"place: expected 0 to {size - 1} in {name}, got {place}")
    return place


def patch_places(shape: tuple[int, ...], corner: tuple[int, int], kh: int, kw: int) -> Array:
    """Where the numbers of a window lie in a flat map [H, W, C]: int32 [kh, kw, C], OUTSIDE in the padding.

    `corner` is the row and column of the window's first pixel, negative in the padding.
    """
    H, W, C = shape
    rows, columns = corner[0] + np.arange(kh)[:, None, None], corner[1] + np.arange(kw)[None, :, None]
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    return np.where(inside, (rows * W + columns) * C + np.arange(C), OUTSIDE).astype(np.int32)


def take(values: Array, places: Array, outside: float = 0.0) -> Array:
    """The numbers at these places of an array; `outside` where there are none."""
    return np.where(places == OUTSIDE, values.dtype.type(outside), values.ravel()[np.maximum(places, 0)])


def window_corner(layer: Conv2D | MaxPool2D, shape: tuple[int, ...], i: int, j: int) -> tuple[int, int]:
    """The row and column of the first pixel of window (i, j) on a map [H, W, C]."""
    kh, kw = window_size(layer)
    _, top, _ = window_geometry(shape[0], kh, layer.stride, layer.padding)
    _, left, _ = window_geometry(shape[1], kw, layer.stride, layer.padding)
    return i * layer.stride - top, j * layer.stride - left


def window_size(layer: Conv2D | MaxPool2D) -> tuple[int, int]:
    """Rows and columns of a layer's window."""
    if isinstance(layer, MaxPool2D):
        return layer.size, layer.size
    return layer.weight.value.shape[0], layer.weight.value.shape[1]


def _conv(stage: Stage, layer: Conv2D, before: Stage, x: Array, place: int, value: float) -> Trace:
    # y[i, j, f] = b[f] + sum over u, v, c of xpad[s * i + u, s * j + v, c] * w[u, v, c, f]
    kh, kw, C, F = layer.weight.value.shape
    i, j, f = (int(n) for n in np.unravel_index(place, stage.shape))
    places = patch_places(before.shape, window_corner(layer, before.shape, i, j), kh, kw).transpose(2, 0, 1)
    weights = np.arange(kh * kw * C * F, dtype=np.int32).reshape(kh, kw, C, F)[..., f].transpose(2, 0, 1)
    left = Factor("value", before.name, take(x, places), places)
    right = Factor("parameter", layer.weight.name, take(layer.weight.value, weights), weights)
    facts = {"bias": layer.bias.name, "bias_place": f}
    return Trace("sum", "conv2d_forward", value, left, right, float(layer.bias.value[f]), facts)


def _dense(layer: Dense, before: Stage, x: Array, place: int, value: float) -> Trace:
    # y[f] = b[f] + sum over d of x[d] * w[d, f]
    D, F = layer.weight.value.shape
    places = as_groups(np.arange(D, dtype=np.int32), before.shape)
    weights = places * F + place
    left = Factor("value", before.name, take(x, places), places)
    right = Factor("parameter", layer.weight.name, take(layer.weight.value, weights), weights)
    facts = {"bias": layer.bias.name, "bias_place": place}
    return Trace("sum", "dense_forward", value, left, right, float(layer.bias.value[place]), facts)


def as_groups(values: Array, shape: tuple[int, ...]) -> Array:
    """A flat array of this shape as [groups, rows, columns]: maps [H, W, C] one by one, a row [D] in one."""
    if len(shape) == 3:
        return values.reshape(shape).transpose(2, 0, 1)
    return values.reshape(1, 1, -1)


def _pool(stage: Stage, layer: MaxPool2D, before: Stage, x: Array, place: int, value: float) -> Trace:
    i, j, c = (int(n) for n in np.unravel_index(place, stage.shape))
    corner = window_corner(layer, before.shape, i, j)
    places = patch_places(before.shape, corner, layer.size, layer.size)[..., c][None]
    values = take(x, places, outside=-np.inf)
    largest = values == values.max()
    facts = {"winner": int(values.argmax()), "ties": int(largest.sum())}  # argmax: the first, row by row
    left = Factor("value", before.name, values, places)
    return Trace("max", "max_pool2d_forward", value, left, facts=facts)


def _head(maps: Maps, name: str, place: int) -> Trace:
    scores = maps.outputs[-1].reshape(1, 1, -1)
    left = Factor("value", maps.stages[-1].name, scores, np.arange(CLASSES, dtype=np.int32).reshape(1, 1, -1))
    if name == "softmax":
        if not 0 <= place < CLASSES:
            raise ValueError(f"place: expected 0 to {CLASSES - 1} in softmax, got {place}")
        return Trace("softmax", "softmax", float(maps.probabilities[place]), left, facts={"index": place})
    code = "softmax_cross_entropy_forward"
    return Trace("loss", code, maps.loss, left, facts={"label": maps.label})
