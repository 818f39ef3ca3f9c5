"""The page to read first: the network of TensorFlow's "Deep MNIST for Experts" tutorial.

    image 28 x 28 x 1
      conv1   5x5, 32 filters, ReLU, 2x2 max-pool     14 x 14 x 32
      conv2   5x5, 64 filters, ReLU, 2x2 max-pool      7 x  7 x 64
      fc1     1024 units, ReLU, dropout                1024
      fc2     10 scores, one per digit                   10

and, for comparison, the softmax regression that the earlier tutorial began with. Below the networks stand
the recipes that train them, one training step, and the loop that makes it again and again.

    network = tutorial_network()
    loss, optimizer = SoftmaxCrossEntropy("sum"), Adam(network.parameters(), 1e-4)
    train_step(network, loss, optimizer, x, labels)      # x [50, 28, 28, 1], labels [50]

What the layers compute stands in `minicnn.engine.reference`, operation by operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.averaging import MovingAverage
from minicnn.engine.initializers import as_generator, constant, he_normal, truncated_normal
from minicnn.engine.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.optimizers import Optimizer
from minicnn.engine.parameters import neighbours, values_of

IMAGE = (28, 28, 1)  # rows, columns, channels

INITIALIZATIONS: dict[str, dict[str, Any]] = {
    "tutorial": {"weight_init": truncated_normal(0.1), "bias_init": constant(0.1)},
    "he": {"weight_init": he_normal, "bias_init": constant(0)},
}


def tutorial_network(
    seed: int = 0,
    keep_prob: float = 0.5,
    dtype: DTypeLike = np.float32,
    fused: bool = True,
    ops: str = "kernels",
    init: str = "tutorial",
    input_shape: tuple[int, int, int] = IMAGE,
    classes: int = 10,
    shards: int = 1,
) -> Sequential:
    """The tutorial's network, 3,274,634 parameters, with fresh weights drawn from `seed`.

    For images of another `input_shape`, or another number of `classes`, it has the same layers, and fc1 and
    fc2 have as many inputs and outputs as that needs.
    Weights are truncated normal with stddev 0.1, biases 0.1; with `init` "he" weights have the stddev
    that keeps the scale from layer to layer, and biases are 0. With `fused`, convolution, ReLU and
    pool are one layer; without, three: the same parameters, the same results. `dtype` is float32 to
    train, float64 to check. `ops` is "kernels" or "reference", `shards` that of `Sequential`.
    """
    if init not in INITIALIZATIONS:
        raise ValueError(f"init: expected one of {', '.join(INITIALIZATIONS)}, got {init!r}")
    rng = as_generator(seed)
    common = {"rng": rng, "dtype": dtype, "ops": ops, **INITIALIZATIONS[init]}
    block = _fused_block if fused else _plain_block
    H, W, C = input_shape
    pooled = math.ceil(H / 4) * math.ceil(W / 4) * 64  # 7 * 7 * 64 = 3136
    layers = [
        *block("conv1", C, 32, common),  # 28 x 28 x 1  -> 14 x 14 x 32
        *block("conv2", 32, 64, common),  # 14 x 14 x 32 -> 7 x 7 x 64
        Flatten(ops=ops),
        Dense(pooled, 1024, name="fc1", **common),
        ReLU(name="relu", ops=ops),
        Dropout(keep_prob, rng=rng.spawn(1)[0], ops=ops),
        Dense(1024, classes, name="fc2", **common),
    ]
    return Sequential(layers, input_shape, "tutorial", shards=shards)


def _fused_block(name: str, C: int, F: int, common: dict) -> list[Layer]:
    return [ConvReLUPool(C, F, kernel_size=5, name=name, **common)]


def _plain_block(name: str, C: int, F: int, common: dict) -> list[Layer]:
    return [
        Conv2D(C, F, kernel_size=5, name=name, **common),
        ReLU(name=f"{name}.relu", ops=common["ops"]),
        MaxPool2D(name=f"{name}.pool", ops=common["ops"]),
    ]


def softmax_regression(
    seed: int = 0,
    dtype: DTypeLike = np.float32,
    ops: str = "kernels",
    input_shape: tuple[int, int, int] = IMAGE,
    classes: int = 10,
) -> Sequential:
    """The baseline: ten scores, each a weighted sum of the 784 pixels. 7,850 parameters.

    Starts at zero, as the tutorial did: the loss is convex, so nothing needs to be broken by chance.
    `seed` is accepted for symmetry and changes nothing.
    """
    zero: dict[str, Any] = {"weight_init": constant(0), "bias_init": constant(0)}
    dense = Dense(math.prod(input_shape), classes, name="fc", rng=seed, dtype=dtype, ops=ops, **zero)
    return Sequential([Flatten(ops=ops), dense], input_shape, "softmax")


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
    label_smoothing: float = 0.0  # see minicnn.engine.losses
    log_every: int = 100

    init: str = "tutorial"  # of the weights: see INITIALIZATIONS
    warmup: float = 0.0  # fraction of the steps in which the learning rate rises linearly from 0
    schedule: str = "constant"  # after that; "linear" and "cosine" let it fall until the end
    min_lr_ratio: float = 0.0  # the fraction of the learning rate at which it ends
    ema_decay: float = 0.0  # per step, of a moving average of the weights that replaces them in use

    shift: float = 0.0  # how far training images are distorted: see minicnn.data.augmentation
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    flags: float = 0.0  # the share of the ones that are drawn with a flag: see minicnn.data.ones

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of step 1, 2, ... `steps`."""
        rising = int(self.warmup * self.steps)
        if step <= rising:
            return self.learning_rate * step / rising
        left = (self.steps + 1 - step) / (self.steps - rising)  # falls from 1 to almost 0
        factors = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
        return self.learning_rate * (self.min_lr_ratio + (1 - self.min_lr_ratio) * factors[self.schedule])


RECIPES = {
    "tutorial": Recipe(steps=10_000, batch_size=50, learning_rate=1e-4, keep_prob=0.5),
    "fast": Recipe(  # 99.2 % as soon as possible: 1.3 epochs
        steps=715,
        batch_size=100,
        learning_rate=3e-3,
        keep_prob=0.75,
        reduction="mean",
        beta2=0.99,
        log_every=240,
        init="he",
        warmup=0.1,
        schedule="linear",
        min_lr_ratio=0.1,
        ema_decay=0.99,
        shift=1.0,
        rotation=8.0,
        scale=0.08,
        shear=0.08,
        elastic=0.7,
    ),
    "best": Recipe(  # as accurate as this network gets: 27 epochs
        steps=15_000,
        batch_size=100,
        learning_rate=1e-3,
        keep_prob=0.5,
        reduction="mean",
        beta2=0.99,
        weight_decay=0.1,
        label_smoothing=0.1,
        log_every=1000,
        init="he",
        warmup=0.02,
        schedule="cosine",
        ema_decay=0.999,
        shift=2.0,
        rotation=10.0,
        scale=0.1,
        shear=0.1,
        elastic=1.0,
        flags=0.5,
    ),
}

# The baseline as TensorFlow's "MNIST for ML Beginners" trained it: 0.912 to 0.922 over 24 seeds.
SOFTMAX_RECIPE = Recipe(
    steps=1_000, batch_size=100, learning_rate=0.5, keep_prob=1.0, reduction="mean", optimizer="sgd"
)


class Diverged(Exception):  # noqa: N818
    """The numbers of a training left the range of floats. `step` says when."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"training diverged at step {step}: {what}")
        self.step = step


def train_step(
    network: Sequential,
    loss: SoftmaxCrossEntropy,
    optimizer: Optimizer,
    x: np.ndarray,
    labels: np.ndarray,
) -> float:
    """Learn one batch, x [N, H, W, C] and labels [N]; return its loss from before the weights moved.

    Raises Diverged, leaving the weights as they are, if the loss or a weight is not finite.
    """
    logits = network.forward(x, training=True)  # [N, 10]
    value = loss.forward(logits, labels)
    raise_if_diverged(value, network, optimizer.steps + 1)
    network.backward(loss.backward(), input_gradient=False)  # nobody asks for dL/d(pixels)
    optimizer.step()
    return value


def training_steps(
    network: Sequential,
    loss: SoftmaxCrossEntropy,
    optimizer: Optimizer,
    recipe: Recipe,
    batch: Callable[[int], tuple[np.ndarray, np.ndarray]],
    average: MovingAverage | None = None,
    learn: Callable[..., float] = train_step,
) -> Iterator[tuple[int, float]]:
    """Train until the recipe's last step, and yield the number of each step and its loss.

    `batch(step)` returns the x and labels of step 1, 2, ..., from which `learn` learns. The steps go on where
    the optimizer is.
    """
    for step in range(optimizer.steps + 1, recipe.steps + 1):
        x, labels = batch(step)
        optimizer.learning_rate = recipe.learning_rate_at(step)
        value = learn(network, loss, optimizer, x, labels)
        if average is not None:
            average.update(step)
        yield step, value


def raise_if_diverged(loss: float, network: Sequential, step: int) -> None:
    """Raise Diverged unless the loss and all weights are finite."""
    if not math.isfinite(loss):
        raise Diverged(step, f"the loss is {loss}")
    for group in neighbours(network.parameters()):
        # A NaN or +inf reaches the loss. Minus infinity is the one bad number that a ReLU can hide from it.
        if not values_of(group).min() > -math.inf:
            raise Diverged(step, "a weight is not finite")
