"""The training images that are nearest to a digit as the network sees it.

Near are images with nearly the same inputs of the last layer (fc1 after ReLU, 1,024 numbers), by Euclidean
distance. Those of all 55,000 training images would take 225 MB, so each image is remembered by 64 random
projections of them (14 MB), which keep distances roughly. With these, candidates are found; then their
distances are computed exactly.

Source: Johnson, Lindenstrauss: Extensions of Lipschitz mappings into a Hilbert space (1984); Achlioptas:
Database-friendly random projections (2003), for signs as projections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minicnn.engine.network import Sequential
from minicnn.explore.maps import Array
from minicnn.runs.features import features_of

DIMENSIONS = 64
TOGETHER = 100  # images at a time
CANDIDATES = 200  # whose distances are computed exactly


class Nearest(NamedTuple):
    """Images, the nearest first; of equally near ones that with the lowest number."""

    numbers: Array
    distances: Array  # float32
    predicted: Array  # what each of them is taken for


class Features:
    """Of all images seen so far, projections of what reaches the last layer; and which are nearest to one."""

    projected: Array  # float32 [N, 64], filled for as many images as have been seen
    seen: int

    def __init__(self, network: Sequential, images: Array, seed: int = 0) -> None:
        self._network, self._images = network, images
        size = network.layers[-1].parameters[0].value.shape[0]
        signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), (size, DIMENSIONS))
        self._signs = signs / np.float32(np.sqrt(DIMENSIONS))
        self.seen = 0
        self.projected = np.zeros((len(images), DIMENSIONS), np.float32)

    def compute(self) -> Iterator[None]:
        """See all images, piece by piece."""
        for start in range(0, len(self._images), TOGETHER):
            features, _ = self.of(self._images[start : start + TOGETHER])
            self.projected[start : start + TOGETHER] = features @ self._signs
            self.seen = start + len(features)
            yield

    def of(self, images: Array) -> tuple[Array, Array]:
        """What reaches the last layer [N, D], and the scores [N, 10], for images uint8 [N, 28, 28]."""
        return features_of(self._network, images)

    def candidates(self, image: Array) -> Array:
        """The numbers of the images whose projections are nearest to those of image uint8 [28, 28]."""
        features, _ = self.of(image[None])
        distances = ((self.projected - features @ self._signs) ** 2).sum(axis=1)
        count = min(CANDIDATES, len(distances))
        return np.sort(np.argpartition(distances, count - 1)[:count])

    def distances(self, image: Array, numbers: Array) -> tuple[Array, Array]:
        """How far images with these numbers are from image uint8 [28, 28], and what they are taken for."""
        features, scores = self.of(np.concatenate([image[None], self._images[numbers]]))
        return np.sqrt(((features[1:] - features[0]) ** 2).sum(axis=1)), scores[1:].argmax(axis=1)


def nearest(features: Features, image: Array, count: int, do: Callable[[Callable[[], Any]], Any]) -> Nearest:
    """The `count` images nearest to image uint8 [28, 28], of up to CANDIDATES.

    `do` computes a job, such as `Worker.do`: there are several, so that others come in between.
    """
    candidates: Array = do(lambda: features.candidates(image))
    pieces = [candidates[start : start + TOGETHER] for start in range(0, len(candidates), TOGETHER)]
    found = [do(partial(features.distances, image, piece)) for piece in pieces]
    distances, predicted = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.lexsort((candidates, distances))[:count]
    return Nearest(candidates[order], distances[order], predicted[order])
