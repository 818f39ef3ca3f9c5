"""What a network makes of images before its last layer decides: the features by which images are compared."""

from __future__ import annotations

import math

import numpy as np

from minicnn.data.batches import to_float
from minicnn.engine.network import Sequential

TOGETHER = 50  # images at a time, which take no more memory than a training step


def features_of(network: Sequential, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inputs [N, D] and the outputs [N, K] of the last layer, for uint8 [N, H, W] or [N, H, W, C]."""
    N, (before, after) = len(images), network.shapes[-2:]
    features = np.empty((N, math.prod(before)), network.dtype)
    outputs = np.empty((N, *after), network.dtype)
    for first in range(0, N, TOGETHER):
        piece = slice(first, first + TOGETHER)
        x = to_float(images[piece], network.dtype)
        for layer in network.layers[:-1]:
            x = layer.forward(x)
        features[piece] = x.reshape(len(x), -1)
        outputs[piece] = network.layers[-1].forward(x)
    return features, outputs
