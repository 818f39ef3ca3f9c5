"""minicnn: a convolutional network engine to read, to check gradients with, and to train on a CPU."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from minicnn._version import __version__

if TYPE_CHECKING:
    from minicnn.checks import strategies as strategies
    from minicnn.checks.contract import check_layer
    from minicnn.checks.gradcheck import gradient_check
    from minicnn.checks.many import gradient_check_many
    from minicnn.checks.numerical import numerical_gradient
    from minicnn.data import load_data, load_mnist
    from minicnn.data.loader import Loader
    from minicnn.engine import reference
    from minicnn.engine.layers import (
        AveragePool2D,
        BatchNorm2D,
        Conv2D,
        ConvReLUPool,
        Dense,
        Dropout,
        Flatten,
        GlobalAveragePool2D,
        Layer,
        MaxPool2D,
        ReLU,
        register_layer,
    )
    from minicnn.engine.losses import SoftmaxCrossEntropy
    from minicnn.engine.network import Sequential, load_network
    from minicnn.engine.optimizers import SGD, Adam
    from minicnn.engine.parameters import Parameter
    from minicnn.tutorial import Diverged, softmax_regression, train_step, tutorial_network

if not os.path.exists(__file__):  # the compiler needs the sources as files, and MNIST is a file, too
    _PROBLEM = f"minicnn cannot run from an archive ({__file__}): unpack or install it"
    if sys.argv[:1] == ["-m"]:  # the command is being looked for
        print(f"minicnn: error: {_PROBLEM}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(_PROBLEM)

# Where the public names live. They are imported when first used: `minicnn --version` needs no compiler.
_HOMES = {
    "checks.contract": ["check_layer"],
    "checks.gradcheck": ["gradient_check"],
    "checks.many": ["gradient_check_many"],
    "checks.numerical": ["numerical_gradient"],
    "data": ["load_data", "load_mnist"],
    "data.loader": ["Loader"],
    "engine.layers": [
        "AveragePool2D",
        "BatchNorm2D",
        "Conv2D",
        "ConvReLUPool",
        "Dense",
        "Dropout",
        "Flatten",
        "GlobalAveragePool2D",
        "Layer",
        "MaxPool2D",
        "ReLU",
        "register_layer",
    ],
    "engine.losses": ["SoftmaxCrossEntropy"],
    "engine.network": ["Sequential", "load_network"],
    "engine.optimizers": ["SGD", "Adam"],
    "engine.parameters": ["Parameter"],
    "tutorial": ["Diverged", "softmax_regression", "train_step", "tutorial_network"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "SGD",
    "Adam",
    "AveragePool2D",
    "BatchNorm2D",
    "Conv2D",
    "ConvReLUPool",
    "Dense",
    "Diverged",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Layer",
    "Loader",
    "MaxPool2D",
    "Parameter",
    "ReLU",
    "Sequential",
    "SoftmaxCrossEntropy",
    "__version__",
    "check_layer",
    "gradient_check",
    "gradient_check_many",
    "load_data",
    "load_mnist",
    "load_network",
    "numerical_gradient",
    "reference",
    "register_layer",
    "softmax_regression",
    "train_step",
    "tutorial_network",
]

# Modules that are public as such. `strategies` needs Hypothesis, so `import *` leaves it out.
_MODULES = {"reference": "minicnn.engine.reference", "strategies": "minicnn.checks.strategies"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _HOME_OF:
        raise AttributeError(f"module 'minicnn' has no attribute {name!r}")
    return getattr(import_module(f"minicnn.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
