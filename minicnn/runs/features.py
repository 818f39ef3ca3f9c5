"""What a network makes of images before its last layer decides: the features by which images are compared."""

from __future__ import annotations

import numpy as np

from minicnn.data.batches import to_float
from minicnn.engine.network import Sequential

TOGETHER = 500  # images at a time


def features_of(network: Sequential, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inputs [N, D] and the outputs [N, K] of the last layer, for uint8 [N, H, W] or [N, H, W, C]."""
    features, outputs = [], []
    for first in range(0, len(images), TOGETHER):
        x = to_float(images[first : first + TOGETHER], network.dtype)
        for layer in network.layers[:-1]:
            x = layer.forward(x)
        features.append(x.reshape(len(x), -1))
        outputs.append(network.layers[-1].forward(x))
    return np.concatenate(features), np.concatenate(outputs)
