"""One image on its way through a network and back: the output of every layer, and the gradient at each."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from minicnn.engine.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.ops import find_ops

Array = np.ndarray

KINDS: dict[type[Layer], str] = {Conv2D: "conv", ReLU: "relu", MaxPool2D: "pool", Dense: "dense"}
SAME_NUMBERS = (Flatten, Dropout)  # outside training they change no number, so they are no stage
CLASSES = 10


@dataclass(frozen=True)
class Stage:
    """A place where numbers can be looked at: the image, or the output of a layer."""

    name: str
    kind: str  # "image", or one of KINDS
    shape: tuple[int, ...]  # [H, W, C] or [D]
    layer: Layer | None = None


@dataclass(frozen=True)
class Maps:
    """All numbers of one image in one network. `gradients`, if asked for, are dL/d(outputs)."""

    stages: list[Stage]
    outputs: list[Array]  # of the stage's shape
    probabilities: Array  # [10]
    label: int
    loss: float  # -log p[label]
    gradients: list[Array]  # of the stage's shape; empty unless asked for

    def index(self, name: str) -> int:
        """The number of the stage with this name. Raises ValueError if there is none."""
        for index, stage in enumerate(self.stages):
            if stage.name == name:
                return index
        raise ValueError(f"stage: expected one of {', '.join(s.name for s in self.stages)}, got {name!r}")


def unfused(network: Sequential) -> Sequential:
    """A copy in which convolution, ReLU and pool are three layers, so that each output can be seen.

    Raises ValueError for a network that the page cannot show.
    """
    layers: list[Layer] = []
    for layer in network.layers:
        if type(layer) is ConvReLUPool:
            settings = layer.settings()
            layers += [
                Conv2D(**settings, values=layer.arrays(), ops=layer.ops),
                ReLU(name=f"{layer.name}.relu", ops=layer.ops),
                MaxPool2D(name=f"{layer.name}.pool", ops=layer.ops),
            ]
        elif type(layer) in KINDS or type(layer) in SAME_NUMBERS:
            layers.append(copy.deepcopy(layer))
        else:
            raise ValueError(f"{layer.name}: {type(layer).__name__} cannot be explored")
    if network.input_shape != (28, 28, 1) or network.shapes[-1] != (CLASSES,):
        wanted = f"[28, 28, 1] to [{CLASSES}]"
        raise ValueError(
            f"expected a network from {wanted}, got {list(network.input_shape)} to {list(network.shapes[-1])}"
        )
    if type(layers[-1]) is not Dense:
        raise ValueError(f"expected a Dense layer at the end, got {type(layers[-1]).__name__}")
    return Sequential(layers, network.input_shape, network.name)


def stages_of(network: Sequential) -> list[Stage]:
    """The image and the layers of an `unfused` network, without those that change no number."""
    stages = [Stage("image", "image", network.input_shape)]
    for layer, shape in zip(network.layers, network.shapes[1:], strict=True):
        if not isinstance(layer, SAME_NUMBERS):
            stages.append(Stage(layer.name, KINDS[type(layer)], shape, layer))
    return stages


def compute_maps(network: Sequential, x: Array, label: int | None = None, backward: bool = False) -> Maps:
    """All outputs for an image x [28, 28, 1] of the network's dtype, and with `backward` all gradients.

    The loss is -log p[label]; without a label, that of the network's own answer. `backward` leaves the
    gradients of parameters in the network. Raises ValueError for a label that is not a class.
    """
    if label is not None and not 0 <= label < CLASSES:
        raise ValueError(f"label: expected 0 to {CLASSES - 1}, got {label}")
    outputs, y = [x], x[None]
    for layer in network.layers:
        y = layer.forward(y)
        if not isinstance(layer, SAME_NUMBERS):
            outputs.append(y[0])
    ops = network.layers[-1].ops
    probabilities = find_ops(ops).softmax(y)[0]
    label = int(probabilities.argmax()) if label is None else label
    loss = SoftmaxCrossEntropy(ops=ops)
    value = loss.forward(y, np.array([label]))

    gradients: list[Array] = []
    if backward:
        dy = loss.backward()
        for layer in reversed(network.layers):
            if not isinstance(layer, SAME_NUMBERS):
                gradients.append(dy[0])
            dy = layer.backward(dy)
        gradients.append(dy[0])
    return Maps(stages_of(network), outputs, probabilities, label, value, gradients[::-1])
