"""Layers: each owns its parameters, their gradients and the buffers it works in."""

from minicnn.layers.activation import Dropout, ReLU
from minicnn.layers.base import Layer, Parameter
from minicnn.layers.convolution import Conv2D, ConvReLUPool
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.pooling import MaxPool2D

__all__ = [
    "Conv2D",
    "ConvReLUPool",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "MaxPool2D",
    "Parameter",
    "ReLU",
]
