"""minicnn: a convolutional network engine to read, to check gradients with, and to train on a CPU."""

from minicnn._version import __version__
from minicnn.data import load_mnist
from minicnn.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, MaxPool2D, ReLU
from minicnn.losses import SoftmaxCrossEntropy
from minicnn.network import Sequential, load_network
from minicnn.optimizers import SGD, Adam
from minicnn.tutorial import softmax_regression, tutorial_network



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
    "load_mnist",
    "load_network",
    "softmax_regression",
    "tutorial_network",
]
