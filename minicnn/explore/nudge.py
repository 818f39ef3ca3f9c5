"""A gradient without any backward pass: move one number, and see how far the loss moves.

The loss is computed in float64 from the same weights, as in every gradient check: in float32 its last digit
is too coarse for a small h. The layers are those of the engine, with the operations of the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minicnn.engine.layers import MaxPool2D
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.reference import max_pool2d_forward
from minicnn.explore.backward import find_parameter
from minicnn.explore.forward import expect_place
from minicnn.explore.maps import Array, Maps, compute_maps

LEAST, MOST = 1e-6, 1.0  # of h


@dataclass(frozen=True)
class Nudged:
    """The loss on either side of a number, and what changed between the two besides the loss."""

    value: float  # of the number itself
    above: float  # L(value + h)
    below: float  # L(value - h)
    h: float
    kinks: int  # ReLUs that opened or closed, and pools that chose another winner: slopes changed there

    @property
    def gradient(self) -> float:
        """(L(value + h) - L(value - h)) / 2h"""
        return (self.above - self.below) / (2 * self.h)


def in_double(network: Sequential) -> Sequential:
    """A copy that computes in float64, with the reference."""
    twin = network.astype(np.float64)
    twin.use_ops("reference")
    return twin


def nudge(network: Sequential, x: Array, label: int, what: str, name: str, place: int, h: float) -> Nudged:
    """Move entry number `place` of a stage's output ("value") or of a "parameter" by h up and down.

    `network` is one of `in_double`; x [28, 28, 1] is the image. Raises ValueError for what does not exist or
    an h outside 1e-6 to 1.
    """
    if not (math.isfinite(h) and LEAST <= h <= MOST):
        raise ValueError(f"h: expected {LEAST:g} to {MOST:g}, got {h:g}")
    maps = compute_maps(network, x.astype(np.float64), label)
    if what == "parameter":
        number = -1
        value, above, below = _nudge_parameter(network, maps, name, place, h)
    else:
        number = maps.index(name)
        value = float(maps.outputs[number].ravel()[expect_place(maps, name, place)])
        above, below = (_outputs_with(network, maps, number, place, value + step) for step in (h, -h))
    kinks = _different_slopes(maps, above, below, number)
    return Nudged(value, _loss(above[-1], label), _loss(below[-1], label), h, kinks)


def _nudge_parameter(
    network: Sequential, maps: Maps, name: str, place: int, h: float
) -> tuple[float, list[Array], list[Array]]:
    """The value of a parameter's entry, and all outputs with h more and with h less."""
    _, parameter = find_parameter(maps, name)
    entries = parameter.value.reshape(-1)
    if not 0 <= place < entries.size:
        raise ValueError(f"place: expected 0 to {entries.size - 1} in {name}, got {place}")
    value, outputs = float(entries[place]), []
    try:
        for step in (h, -h):
            entries[place] = value + step
            outputs.append(compute_maps(network, maps.outputs[0]).outputs)
    finally:
        entries[place] = value
    return value, outputs[0], outputs[1]


def _outputs_with(network: Sequential, maps: Maps, number: int, place: int, value: float) -> list[Array]:
    """All outputs, if that of one stage is changed in one place."""
    changed = maps.outputs[number].copy()
    changed.reshape(-1)[place] = value
    outputs, y, layer = [*maps.outputs[:number], changed], changed[None], maps.stages[number].layer
    shown = {stage.name for stage in maps.stages}
    for above in network.layers[0 if layer is None else network.layers.index(layer) + 1 :]:
        y = above.forward(y)
        if above.name in shown:
            outputs.append(y[0])
    return outputs


def _loss(scores: Array, label: int) -> float:
    return SoftmaxCrossEntropy(ops="reference").forward(scores[None], np.array([label]))


def _different_slopes(maps: Maps, above: list[Array], below: list[Array], number: int) -> int:
    """How many ReLUs and pools beyond stage `number` have another slope on one side than on the other."""
    count = 0
    for index, stage in enumerate(maps.stages[number + 1 :], start=number + 1):
        if stage.kind == "relu":
            count += int(((above[index] > 0) != (below[index] > 0)).sum())
        elif isinstance(stage.layer, MaxPool2D):
            count += int(
                (_winners(stage.layer, above[index - 1]) != _winners(stage.layer, below[index - 1])).sum()
            )
    return count


def _winners(layer: MaxPool2D, x: Array) -> Array:
    _, cache = max_pool2d_forward(x[None], layer.size, layer.stride, layer.padding)
    return cache[1]
