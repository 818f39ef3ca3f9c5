"""Layers: each owns its parameters, their gradients and the buffers it works in."""

from minicnn.engine.layers.activation import Dropout, ReLU
from minicnn.engine.layers.base import Layer, Parameter
from minicnn.engine.layers.convolution import Conv2D, ConvReLUPool
from minicnn.engine.layers.dense import Dense, Flatten
from minicnn.engine.layers.pooling import MaxPool2D

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
