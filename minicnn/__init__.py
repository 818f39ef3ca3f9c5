"""minicnn: a convolutional network engine to read, to check gradients with, and to train on a CPU."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minicnn._version import __version__

if TYPE_CHECKING:
    from minicnn.checks.gradcheck import gradient_check
    from minicnn.data import load_mnist
    from minicnn.engine.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, MaxPool2D, ReLU
    from minicnn.engine.losses import SoftmaxCrossEntropy
    from minicnn.engine.network import Sequential, load_network
    from minicnn.engine.optimizers import SGD, Adam
    from minicnn.tutorial import softmax_regression, tutorial_network

# Where the public names live. They are imported when first used: `minicnn --version` needs no compiler.
_HOMES = {
    "SGD": "engine.optimizers",
    "Adam": "engine.optimizers",
    "Conv2D": "engine.layers",
    "ConvReLUPool": "engine.layers",
    "Dense": "engine.layers",
    "Dropout": "engine.layers",
    "Flatten": "engine.layers",
    "MaxPool2D": "engine.layers",
    "ReLU": "engine.layers",
    "Sequential": "engine.network",
    "SoftmaxCrossEntropy": "engine.losses",
    "gradient_check": "checks.gradcheck",
    "load_mnist": "data",
    "load_network": "engine.network",
    "softmax_regression": "tutorial",
    "tutorial_network": "tutorial",
}

__all__ = [
    "SGD",
    "Adam",
    "Conv2D",
    "ConvReLUPool",
    "Dense",
    "Dropout",
    "Flatten",
    "MaxPool2D",
    "ReLU",
    "Sequential",
    "SoftmaxCrossEntropy",
    "__version__",
    "gradient_check",
    "load_mnist",
    "load_network",
    "softmax_regression",
    "tutorial_network",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'minicnn' has no attribute {name!r}")
    return getattr(import_module(f"minicnn.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
