"""The page to read first: the network of TensorFlow's "Deep MNIST for Experts" tutorial.

    image 28 x 28 x 1
      conv1   5x5, 32 filters, ReLU, 2x2 max-pool     14 x 14 x 32
      conv2   5x5, 64 filters, ReLU, 2x2 max-pool      7 x  7 x 64
      fc1     1024 units, ReLU, dropout                1024
      fc2     10 scores, one per digit                   10

and, for comparison, the softmax regression that the earlier tutorial began with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.engine.initializers import as_generator, constant, he_normal, truncated_normal
from minicnn.engine.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from minicnn.engine.network import Sequential

IMAGE = (28, 28, 1)  # rows, columns, channels

FIRST_WEIGHTS: dict[str, dict[str, Any]] = {
    "tutorial": {"weight_init": truncated_normal(0.1), "bias_init": constant(0.1)},
    "he": {"weight_init": he_normal, "bias_init": constant(0)},
}


def tutorial_network(
    seed: int = 0,
    keep_prob: float = 0.5,
    dtype: np.dtype | type = np.float32,
    fused: bool = True,
    ops: str = "kernels",
    weights: str = "tutorial",
) -> Sequential:
    """The tutorial's network, 3,274,634 parameters, with fresh weights drawn from `seed`.

    Weights are truncated normal with stddev 0.1, biases 0.1; with `weights` "he" they have the stddev
    that keeps the scale from layer to layer, and biases are 0. With `fused`, convolution, ReLU and
    pool are one layer; without, three: the same parameters, the same results. `dtype` is float32 to
    train, float64 to check. `ops` is "kernels" or "reference".
    """
    if weights not in FIRST_WEIGHTS:
        raise ValueError(f"weights: expected one of {', '.join(FIRST_WEIGHTS)}, got {weights!r}")
    rng = as_generator(seed)
    common = {"rng": rng, "dtype": dtype, **FIRST_WEIGHTS[weights]}
    block = _fused_block if fused else _plain_block
    layers = [
        *block("conv1", 1, 32, common),  # 28 x 28 x 1  -> 14 x 14 x 32
        *block("conv2", 32, 64, common),  # 14 x 14 x 32 -> 7 x 7 x 64
        Flatten(),  # 7 * 7 * 64 = 3136
        Dense(7 * 7 * 64, 1024, name="fc1", **common),
        ReLU(name="relu"),
        Dropout(keep_prob, rng=rng.spawn(1)[0]),
        Dense(1024, 10, name="fc2", **common),
    ]
    network = Sequential(layers, IMAGE, "tutorial")
    network.use_ops(ops)
    return network


def _fused_block(name: str, C: int, F: int, common: dict) -> list[Layer]:
    return [ConvReLUPool(C, F, kernel_size=5, name=name, **common)]


def _plain_block(name: str, C: int, F: int, common: dict) -> list[Layer]:
    return [
        Conv2D(C, F, kernel_size=5, name=name, **common),
        ReLU(name=f"{name}.relu"),
        MaxPool2D(name=f"{name}.pool"),
    ]


def softmax_regression(
    seed: int = 0, dtype: np.dtype | type = np.float32, ops: str = "kernels"
) -> Sequential:
    """The baseline: ten scores, each a weighted sum of the 784 pixels. 7,850 parameters.

    Starts at zero, as the tutorial did: the loss is convex, so nothing needs to be broken by chance.
    `seed` is accepted for symmetry and changes nothing.
    """
    zero = constant(0)
    dense = Dense(784, 10, name="fc", weight_init=zero, bias_init=zero, dtype=dtype)
    network = Sequential([Flatten(), dense], IMAGE, "softmax")
    network.use_ops(ops)
    return network


@dataclass(frozen=True)
class Recipe:
    """How to train: all that a run needs to know besides the network and its seed."""

    steps: int
    batch_size: int
    learning_rate: float  # with a schedule: the highest
    keep_prob: float
    reduction: str = "sum"  # of the loss over the batch
    optimizer: str = "adam"
    beta2: float = 0.999  # of Adam
    weight_decay: float = 0.0  # of Adam
    smoothing: float = 0.0  # of the labels: see minicnn.engine.losses
    log_every: int = 100

    weights: str = "tutorial"  # the first ones: see FIRST_WEIGHTS
    warm_up: float = 0.0  # part of the steps in which the learning rate rises, in a line from 0
    schedule: str = "constant"  # then; "linear" and "cosine" let it fall until the end
    floor: float = 0.0  # the part of the learning rate at which it ends
    average: float = 0.0  # a moving average of the weights replaces them in use; its decay a step

    shift: float = 0.0  # how far training images are distorted: see minicnn.data.augmentation
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0

    def rate(self, step: int) -> float:
        """The learning rate of step 1, 2, ... `steps`."""
        rising = int(self.warm_up * self.steps)
        if step <= rising:
            return self.learning_rate * step / rising
        left = (self.steps + 1 - step) / (self.steps - rising)  # falls from 1 to almost 0
        factors = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
        return self.learning_rate * (self.floor + (1 - self.floor) * factors[self.schedule])


RECIPES = {
    "tutorial": Recipe(steps=10_000, batch_size=50, learning_rate=1e-4, keep_prob=0.5),
    "fast": Recipe(  # 99.2 % as soon as possible: 1.3 passes over the images
        steps=715,
        batch_size=100,
        learning_rate=3e-3,
        keep_prob=0.75,
        reduction="mean",
        beta2=0.99,
        log_every=240,
        weights="he",
        warm_up=0.1,
        schedule="linear",
        floor=0.1,
        average=0.99,
        shift=1.0,
        rotation=8.0,
        scale=0.08,
        shear=0.08,
        elastic=0.7,
    ),
    "best": Recipe(  # as right as this network gets: 27 passes over the images
        steps=15_000,
        batch_size=100,
        learning_rate=1e-3,
        keep_prob=0.5,
        reduction="mean",
        beta2=0.99,
        weight_decay=0.1,
        smoothing=0.1,
        log_every=1000,
        weights="he",
        warm_up=0.02,
        schedule="cosine",
        average=0.999,
        shift=2.0,
        rotation=10.0,
        scale=0.1,
        shear=0.1,
        elastic=1.0,
    ),
}

# The baseline as TensorFlow's "MNIST for ML Beginners" trained it: 0.912 to 0.922 over 24 seeds.
SOFTMAX_RECIPE = Recipe(
    steps=1_000, batch_size=100, learning_rate=0.5, keep_prob=1.0, reduction="mean", optimizer="sgd"
)
