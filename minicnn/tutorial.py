"""The page to read first: the network of TensorFlow's "Deep MNIST for Experts" tutorial.

    image 28 x 28 x 1
      conv1   5x5, 32 filters, ReLU, 2x2 max-pool     14 x 14 x 32
      conv2   5x5, 64 filters, ReLU, 2x2 max-pool      7 x  7 x 64
      fc1     1024 units, ReLU, dropout                1024
      fc2     10 scores, one per digit                   10

and, for comparison, the softmax regression that the earlier tutorial began with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicnn.initializers import as_generator, constant
from minicnn.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from minicnn.network import Sequential

IMAGE = (28, 28, 1)  # rows, columns, channels


def tutorial_network(
    seed: int = 0,
    keep_prob: float = 0.5,
    dtype: np.dtype | type = np.float32,
    fused: bool = True,
    ops: str = "kernels",
) -> Sequential:
    """The tutorial's network, 3,274,634 parameters, with fresh weights drawn from `seed`.

    Weights are truncated normal with stddev 0.1, biases 0.1. With `fused`, convolution, ReLU and
    pool are one layer; without, three: the same parameters, the same results. `dtype` is float32 to
    train, float64 to check. `ops` is "kernels" or "reference".
    """
    rng = as_generator(seed)
    common = {"rng": rng, "dtype": dtype}
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
    zero = {"weight_init": constant(0), "bias_init": constant(0)}
    network = Sequential([Flatten(), Dense(784, 10, name="fc", dtype=dtype, **zero)], IMAGE, "softmax")
    network.use_ops(ops)
    return network


@dataclass(frozen=True)
class Recipe:
    """How to train: all that a run needs to know besides the network and its seed."""

    steps: int
    batch_size: int
    learning_rate: float
    keep_prob: float
    reduction: str = "sum"  # of the loss over the batch
    optimizer: str = "adam"
    log_every: int = 100


RECIPES = {
    "tutorial": Recipe(steps=10_000, batch_size=50, learning_rate=1e-4, keep_prob=0.5),
}

# The baseline as TensorFlow's "MNIST for ML Beginners" trained it: 0.912 to 0.922 over 24 seeds.
SOFTMAX_RECIPE = Recipe(
    steps=1_000, batch_size=100, learning_rate=0.5, keep_prob=1.0, reduction="mean", optimizer="sgd"
)
