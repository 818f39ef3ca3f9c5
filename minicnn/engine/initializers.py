"""First values of parameters.

An initializer is a function of a random generator and a shape. It draws in float64, so that a
float32 network and a float64 network of one seed start from the same weights (but for rounding).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minicnn.engine.arguments import integer

Seed = np.random.Generator | int | None
Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def as_generator(rng: Seed) -> np.random.Generator:
    """A generator as it is, a new one from a seed, or one that nobody can predict for None."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    return np.random.default_rng(integer("seed", rng, 0))


def truncated_normal(stddev: float) -> Initializer:
    """Normal with mean 0; values beyond 2 stddev are drawn again (4.55 % of them), not clipped.

    The resulting standard deviation is 0.8796 stddev. Source: TensorFlow, tf.random.truncated_normal.
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape)
        outside = np.flatnonzero(np.abs(values.ravel()) > 2)
        while outside.size:
            redrawn = rng.standard_normal(outside.size)
            values.ravel()[outside] = redrawn
            outside = outside[np.abs(redrawn) > 2]
        values *= stddev
        return values

    return draw


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with mean 0 and stddev sqrt(2 / fan_in), which keeps the scale through ReLU layers.

    fan_in is the number of inputs of one output, the product of all axes but the last.
    Source: He et al.: Delving Deep into Rectifiers (2015), equation 10.
    """
    return rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[:-1]))


def constant(value: float) -> Initializer:
    """The same number everywhere."""
    return lambda rng, shape: np.full(shape, value)


WEIGHTS = truncated_normal(0.1)  # the tutorial's choices, and the layers' defaults
BIASES = constant(0.1)
