"""Filters and units switched off: a network in which they answer 0 to everything."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

from minicnn.engine.network import Sequential
from minicnn.explore.maps import Array

Switch = tuple[str, int]  # a layer with weights, and one of its filters or units
MOST = 500


def parse_switches(text: str) -> tuple[Switch, ...]:
    """The switches in a text such as "conv1.3,fc1.20"; none in an empty one. Raises ValueError for others."""
    if not text:
        return ()
    parts = text.split(",")
    if len(parts) > MOST or not all(re.fullmatch(r"[\w.-]{1,64}\.\d{1,6}", part, re.ASCII) for part in parts):
        raise ValueError(f"off: expected up to {MOST} filters or units, such as conv1.3,fc1.20")
    pairs = (part.rsplit(".", 1) for part in parts)
    return tuple((layer, int(number)) for layer, number in pairs)


def switched_off(network: Sequential, switches: Sequence[Switch]) -> Sequential:
    """A copy in which the weights and the bias of these filters and units are 0.

    Everything else is computed as always, so every number, term and gradient is that of a real network.
    Raises ValueError for what does not exist, or for the scores, which are the answer.
    """
    layers = {layer.name: layer for layer in network.layers[:-1] if layer.parameters}
    chosen: dict[str, list[int]] = {}
    for name, number in switches:
        if name not in layers:
            raise ValueError(f"off: expected one of {', '.join(layers)}, got {name!r}")
        size = layers[name].parameters[-1].value.size
        if number >= size:
            raise ValueError(f"off: expected 0 to {size - 1} of {name}, got {number}")
        chosen.setdefault(name, []).append(number)
    switched = copy.deepcopy(network)
    for layer in switched.layers:
        for parameter in layer.parameters:
            value: Array = parameter.value
            value[..., chosen.get(layer.name, [])] = 0
    return switched
