"""Why one digit and not another: the lead of its score as a sum, what hides it, and what its units like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minicnn.engine.layers import Dense
from minicnn.engine.network import Sequential
from minicnn.explore.forward import as_groups, take
from minicnn.explore.maps import CLASSES, Array, Maps
from minicnn.explore.trace import OUTSIDE, Factor, Trace
from minicnn.runs.features import features_of

PAPER = 5  # rows and columns of what is moved over the image
TOGETHER = 98  # images at a time
FAVOURITES = 9  # images of each unit


def trace_lead(maps: Maps, a: int, b: int) -> Trace:
    """The terms of z[a] - z[b], the lead of digit a over digit b: one for each input of the last layer.

        z[a] - z[b] = b[a] - b[b] + sum over d of x[d] * (w[d, a] - w[d, b])

    Raises ValueError unless both are digits.
    """
    for digit in (a, b):
        if not 0 <= digit < CLASSES:
            raise ValueError(f"digit: expected 0 to {CLASSES - 1}, got {digit}")
    layer, before = maps.stages[-1].layer, maps.stages[-2]
    assert isinstance(layer, Dense)
    w, bias, x = layer.weight.value, layer.bias.value, maps.outputs[-2]
    places = as_groups(np.arange(x.size, dtype=np.int32), before.shape)
    left = Factor("value", before.name, take(x, places), places)
    differences = (w[:, a] - w[:, b])[places]
    right = Factor("difference", layer.weight.name, differences, np.full_like(places, OUTSIDE))
    value = float(maps.outputs[-1][a]) - float(maps.outputs[-1][b])
    return Trace("sum", "dense_forward", value, left, right, float(bias[a]) - float(bias[b]))


def occlusion(network: Sequential, x: Array, a: int, b: int) -> Array:
    """How much the lead of a over b changes when 5 x 5 pixels of paper cover each place: float32 [28, 28].

    x [28, 28, 1]. Below 0: what is covered speaks for a.
    Source: Zeiler, Fergus: Visualizing and Understanding Convolutional Networks (2014), section 4.2.
    """
    H, W, _ = x.shape
    reach, covered = PAPER // 2, np.repeat(x[None], H * W, axis=0)
    for place, image in enumerate(covered):
        row, column = divmod(place, W)
        image[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = 0
    pieces = [network.forward(covered[i : i + TOGETHER]) for i in range(0, H * W, TOGETHER)]
    scores, whole = np.concatenate(pieces), network.forward(x[None])[0]
    return (scores[:, a] - scores[:, b] - (whole[a] - whole[b])).reshape(H, W)


class Favourites:
    """Of all images seen so far, those that excite each input of the last layer most."""

    values: Array  # the highest first
    images: Array  # their numbers

    def __init__(self, network: Sequential) -> None:
        self._network = network
        size = network.layers[-1].parameters[0].value.shape[0]
        self.values = np.full((size, FAVOURITES), -np.inf, np.float32)
        self.images = np.full((size, FAVOURITES), OUTSIDE, np.int32)

    def look_at(self, images: Array, first: int) -> None:
        """See images uint8 [N, 28, 28], whose numbers are `first`, `first` + 1, ..."""
        features, _ = features_of(self._network, images)
        numbers = np.arange(first, first + len(images), dtype=np.int32)
        values = np.concatenate([self.values, features.T], axis=1)
        known = np.concatenate([self.images, np.broadcast_to(numbers, (len(values), len(numbers)))], axis=1)
        best = np.argsort(-values, axis=1, kind="stable")[:, :FAVOURITES]
        self.values = np.take_along_axis(values, best, axis=1)
        self.images = np.take_along_axis(known, best, axis=1)

    def look_at_all(self, images: Array) -> Iterator[None]:
        """The same, piece by piece."""
        for start in range(0, len(images), TOGETHER):
            self.look_at(images[start : start + TOGETHER], start)
            yield
