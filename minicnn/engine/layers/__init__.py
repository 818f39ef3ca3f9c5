"""Layers: each declares its parameters and its state, and differentiates what it computes."""

from minicnn.engine.layers.activation import Dropout, ReLU
from minicnn.engine.layers.base import Layer, register_layer
from minicnn.engine.layers.convolution import Conv2D, ConvReLUPool
from minicnn.engine.layers.dense import Dense, Flatten
from minicnn.engine.layers.normalization import BatchNorm2D
from minicnn.engine.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D

__all__ = [
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
]
