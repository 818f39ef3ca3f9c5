"""Networks that were trained on normalized images: the normalization becomes their first layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minicnn.engine.layers import BatchNorm2D
from minicnn.engine.network import Sequential

EPSILON = 1e-12  # which batch normalization adds to the variance


def with_normalization(network: Sequential, mean: Sequence[float], std: Sequence[float]) -> Sequential:
    """The network for images of pixels / 255, of one that expects (pixels / 255 - mean) / std.

    `mean` and `std` are numbers for each channel. The new first layer is a batch normalization with these
    statistics. Raises ValueError if they do not fit.
    """
    if len(network.input_shape) != 3:
        raise ValueError(f"mean and std: expected a network for images, got {list(network.input_shape)}")
    C = network.input_shape[2]
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != C:
            raise ValueError(f"{name}: expected {C} numbers, one for each channel, got {len(values)}")
        if not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name}: expected finite numbers, got {list(values)}")
    if min(std) < 1e-3:
        raise ValueError(f"std: expected numbers of at least 0.001, got {list(std)}")
    dtype = network.dtype
    arrays = {
        "scale": np.ones(C, dtype),
        "shift": np.zeros(C, dtype),
        "running_mean": np.array(mean, dtype),
        "running_variance": np.square(np.array(std, dtype)),
    }
    first = BatchNorm2D(C, epsilon=EPSILON, name="normalize", dtype=dtype, values=arrays)
    return Sequential([first, *network.layers], network.input_shape, network.name)
