"""A small layer of each kind, and inputs for it: for the contract, the gradient checks and tests.

A new layer class is entered in `EXAMPLES`, once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from minicnn.engine import layers as our_layers
from minicnn.engine.layers import Layer

Make = Callable[..., Any]  # make(dtype) -> a new layer, with the same values every time

# By class: arguments of the constructor, and the shape of one input. Sizes differ from each other and
# leave remainders; windows overlap.
EXAMPLES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "AveragePool2D": ({"size": 3, "stride": 2}, (6, 5, 2)),
    "BatchNorm2D": ({"channels": 2}, (6, 5, 2)),
    "Conv2D": ({"in_channels": 2, "filters": 3, "kernel_size": (3, 2), "stride": 2}, (6, 5, 2)),
    "ConvReLUPool": ({"in_channels": 2, "filters": 3, "kernel_size": (3, 2)}, (6, 5, 2)),
    "Dense": ({"in_features": 6, "out_features": 4}, (6,)),
    "Dropout": ({"keep_prob": 0.6}, (6, 5, 2)),
    "Flatten": ({}, (6, 5, 2)),
    "GlobalAveragePool2D": ({}, (6, 5, 2)),
    "MaxPool2D": ({"size": 3, "stride": 2}, (6, 5, 2)),
    "ReLU": ({}, (6, 5, 2)),
}


def small_layers(
    rng: np.random.Generator, ops: str = "kernels", layers: ModuleType = our_layers
) -> dict[str, tuple[Make, np.ndarray]]:
    """By name of the class: `make`, and a batch x [3, ...] in float64.

    `make(dtype=np.float64)` returns a new layer, always with the same values and random numbers. No
    input is near a kink or tie. Raises ValueError for an exported layer class without an example.
    """
    return {name: small_layer(kind, rng, ops) for name, kind in layer_classes(layers).items()}


def small_layer(kind: type, rng: np.random.Generator, ops: str = "kernels") -> tuple[Make, np.ndarray]:
    """`make` and x for one class, or for a subclass whose constructor takes the same arguments."""
    name = next((base.__name__ for base in kind.__mro__ if base.__name__ in EXAMPLES), None)
    if name is None:
        raise ValueError(f"{kind.__name__}: enter a small layer of this class in EXAMPLES ({__file__})")
    settings, shape = EXAMPLES[name]
    seed = int(rng.integers(2**32))
    knows = inspect.signature(kind).parameters

    def make(dtype: np.dtype | type = np.float64) -> Any:
        options = {"rng": seed, "dtype": dtype}
        return kind(**settings, ops=ops, **{k: v for k, v in options.items() if k in knows})

    return make, separated(rng, 3, *shape)


def layer_classes(layers: ModuleType = our_layers) -> dict[str, type[Layer]]:
    """The layer classes that a package exports, by name."""
    base: type[Layer] = layers.Layer
    classes = {}
    for name in layers.__all__:
        exported: Any = getattr(layers, name)
        if inspect.isclass(exported) and issubclass(exported, base) and exported is not base:
            classes[name] = exported
    return classes


def separated(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Shuffled values of about -1 to 1, all at least 0.4 / size from each other and from 0.

    So none is near the kink of a ReLU or tied in a pool window.
    """
    size = int(np.prod(shape))
    steps = np.arange(size) - size // 2 + 0.3 + rng.uniform(-0.1, 0.1, size)  # distances of 0.8 or more
    return (rng.permutation(steps) * 2 / size).reshape(shape)


def upstream(y: np.ndarray, seed: int = 1) -> np.ndarray:
    """A dy for y: of either sign, none near 0, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)).astype(y.dtype)
