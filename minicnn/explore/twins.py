"""One of two networks that are trained side by side: what decides its training, and its training.

The network is the tutorial's in small, so that 300 steps take seconds and every layer can be seen. Layers,
loss, optimizer and training step are the engine's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minicnn.data import Split, to_float
from minicnn.data.batches import Batches
from minicnn.engine.initializers import Initializer, as_generator, constant, he_normal, truncated_normal
from minicnn.engine.layers import Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.ops import find_ops
from minicnn.engine.optimizers import SGD, Adam, Optimizer
from minicnn.explore.maps import CLASSES, Array
from minicnn.explore.wrong_gradients import WRONG
from minicnn.tutorial import IMAGE, Diverged, train_step

BATCH = 50

WEIGHTS: dict[str, Initializer] = {
    "truncated": truncated_normal(0.1),
    "he": he_normal,
    "equal": constant(0.01),
    "zero": constant(0),
}
RELUS = ("conv1.relu", "conv2.relu", "relu")


@dataclass(frozen=True)
class Twin:
    """All that decides a training, besides the seed and the data. Raises ValueError for other values."""

    weights: str = "truncated"  # the first ones: one of WEIGHTS
    bias: float = 0.1  # the first one of every filter and unit
    without_relu: tuple[str, ...] = ()  # some of RELUS
    optimizer: str = "adam"  # or "sgd"
    learning_rate: float = 1e-3
    reduction: str = "mean"  # of the loss over the batch, or "sum"
    loss: type[SoftmaxCrossEntropy] = SoftmaxCrossEntropy
    scale: float = 1.0  # of the pixels: from 0 to this
    keep_prob: float = 1.0  # of dropout
    evaluation_dropout: bool = False  # whether it stays on when the network is tested
    wrong_gradient: str = ""  # one of WRONG
    filters: tuple[int, int] = (8, 16)  # of conv1 and conv2
    units: int = 128  # of fc1


def build_network(twin: Twin, seed: int, ops: str) -> Sequential:
    """The tutorial's network with this twin's sizes, first weights, ReLUs and wrong gradient."""
    rng = as_generator(seed)
    common: dict[str, Any] = {
        "weight_init": WEIGHTS[twin.weights],
        "bias_init": constant(twin.bias),
        "rng": rng,
        "ops": ops,
    }
    replaced = dict([WRONG[twin.wrong_gradient]]) if twin.wrong_gradient else {}

    def make(usual: Callable[..., Layer], name: str, *sizes: int, **arguments: Any) -> Layer:
        return replaced.get(name, usual)(*sizes, name=name, **arguments)

    (C1, C2), D = twin.filters, twin.units
    layers = [
        make(Conv2D, "conv1", IMAGE[2], C1, **common),
        make(ReLU, "conv1.relu", ops=ops),
        make(MaxPool2D, "conv1.pool", ops=ops),
        make(Conv2D, "conv2", C1, C2, **common),
        make(ReLU, "conv2.relu", ops=ops),
        make(MaxPool2D, "conv2.pool", ops=ops),
        make(Flatten, "flatten", ops=ops),
        make(Dense, "fc1", 7 * 7 * C2, D, **common),
        make(ReLU, "relu", ops=ops),
        Dropout(twin.keep_prob, rng=rng.spawn(1)[0], ops=ops),
        make(Dense, "fc2", D, CLASSES, **common),
    ]
    return Sequential([layer for layer in layers if layer.name not in twin.without_relu], IMAGE, "twin")


def build_optimizer(twin: Twin, network: Sequential, ops: str) -> Optimizer:
    """The optimizer of a twin."""
    kind = {"adam": Adam, "sgd": SGD}[twin.optimizer]
    return kind(network.parameters(), twin.learning_rate, ops=ops)


def scaled(images: Array, scale: float) -> Array:
    """Pixels from 0 to `scale`: uint8 [N, 28, 28] -> float32 [N, 28, 28, 1]."""
    x = to_float(images)
    return x if scale == 1 else x * np.float32(scale)


class Snapshot(NamedTuple):
    """All of a training that changes: its next steps follow from this, bit for bit."""

    values: Array
    state: dict[str, Array]  # of the optimizer
    steps: int  # made by the optimizer
    random: dict[str, Any]  # state of dropout's generator
    diverged: int | None


class Training:
    """The training of one twin. Which images a step sees depends on the seed and the step alone.

    `diverged` is the step whose loss, or weight, was no finite number. No step is made from there on: the
    weights stay as they were.
    """

    twin: Twin
    seed: int
    network: Sequential
    loss: SoftmaxCrossEntropy
    optimizer: Optimizer
    diverged: int | None

    def __init__(self, twin: Twin, train: Split, seed: int, ops: str = "kernels") -> None:
        self.twin, self.seed, self._train = twin, seed, train
        self.network = build_network(twin, seed, ops)
        self.optimizer = build_optimizer(twin, self.network, ops)
        self.loss = twin.loss(twin.reduction, ops=ops)
        self.diverged = None
        self._batches = Batches(len(train), BATCH, seed)
        self._dropout = next(layer for layer in self.network.layers if isinstance(layer, Dropout))
        self._softmax = find_ops(ops).softmax

    def batch(self, step: int) -> tuple[Array, Array]:
        """The pixels and labels of step 1, 2, ..."""
        chosen = self._batches.indices(step - 1)
        return scaled(self._train.images[chosen], self.twin.scale), self._train.labels[chosen]

    def make_step(self, step: int) -> float:
        """Make step 1, 2, ... and return the mean loss per image of its batch, which may be NaN."""
        x, labels = self.batch(step)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.diverged is None:
                try:
                    loss = train_step(self.network, self.loss, self.optimizer, x, labels)
                except Diverged:
                    self.diverged = step
            if self.diverged is not None:
                loss = self.loss.forward(self.network.forward(x), labels)
        return loss / BATCH if self.twin.reduction == "sum" else loss

    def snapshot(self) -> Snapshot:
        """A copy of everything that a step changes."""
        state = {name: array.copy() for name, array in self.optimizer.state.items()}
        random = dict(self._dropout.rng.bit_generator.state)
        return Snapshot(self.network.values.copy(), state, self.optimizer.steps, random, self.diverged)

    def restore(self, snapshot: Snapshot) -> None:
        """Be again as at this snapshot."""
        self.network.values[...] = snapshot.values
        for name, array in self.optimizer.state.items():
            array[...] = snapshot.state[name]
        self.optimizer.steps, self.diverged = snapshot.steps, snapshot.diverged
        self._dropout.rng.bit_generator.state = snapshot.random

    def outputs(self, images: Array, step: int) -> dict[str, Array]:
        """What each layer answers to images uint8 [N, 28, 28] in a test; under "softmax" probabilities."""
        rng = np.random.default_rng([self.seed, step])  # a test takes no number from the training
        y, found = scaled(images, self.twin.scale), {}
        with np.errstate(over="ignore", invalid="ignore"):
            for layer in self.network.layers:
                if isinstance(layer, Dropout) and self.twin.evaluation_dropout:
                    left_on = Dropout(layer.keep_prob, rng=rng, ops=layer.ops)
                    y = left_on.forward(y, training=True)
                else:
                    y = layer.forward(y)
                found[layer.name] = y
            found["softmax"] = self._softmax(y)
        return found


def different_fields(a: Twin, b: Twin) -> list[str]:
    """The names of the fields in which two twins differ."""
    return [f.name for f in dataclasses.fields(Twin) if getattr(a, f.name) != getattr(b, f.name)]
