"""The tutorial's network, computed by twelve functions: the learner's, or ours in their place.

    conv1, ReLU, pool, conv2, ReLU, pool, fc1, ReLU, dropout, fc2, softmax cross-entropy

What is no exercise is here: the two fully connected layers (y = x @ w + b) and the order of it all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minicnn.engine.network import Sequential
from minicnn.engine.reference import dense_backward, dense_forward
from minicnn.tutorial import tutorial_network

Array = np.ndarray
Functions = Mapping[str, Callable[..., Any]]

KEEP_PROB = 0.5
LEARNING_RATE = 1e-3
CHUNK = 250  # images that are classified together


class Network:
    """Parameters, Adam's moments, and the way through the layers and back."""

    layers: Sequential  # minicnn's, which hold the parameters: to save them
    parameters: list[Array]  # w and b of conv1, conv2, fc1, fc2

    def __init__(self, functions: Functions, shape: tuple[int, int, int], classes: int, seed: int) -> None:
        self.functions = functions
        self.layers = tutorial_network(
            seed, KEEP_PROB, ops="reference", init="he", input_shape=shape, classes=classes
        )
        self.parameters = [p.value for p in self.layers.parameters()]
        self._m = [np.zeros_like(p) for p in self.parameters]
        self._v = [np.zeros_like(p) for p in self.parameters]
        self._rng = np.random.default_rng(seed)
        self._step = 0

    def train_step(self, x: Array, labels: Array) -> float:
        """Learn a batch, x [N, H, W, C] and labels [N]; return its loss."""
        f = self.functions
        logits, caches, dropped = self._forward(x, self._rng)
        loss, cache = f["softmax_cross_entropy_forward"](logits, labels)
        gradients = self._backward(f["softmax_cross_entropy_backward"](cache), caches, dropped)
        self._step += 1
        for value, grad, m, v in zip(self.parameters, gradients, self._m, self._v, strict=True):
            f["adam_update"](value, grad, m, v, self._step, LEARNING_RATE)
        return float(loss)

    def correct(self, images: Array, labels: Array) -> int:
        """How many images x [N, H, W, C] are classified correctly, without dropout."""
        count = 0
        for first in range(0, len(images), CHUNK):
            logits, _, _ = self._forward(images[first : first + CHUNK], None)
            count += int((logits.argmax(axis=1) == labels[first : first + CHUNK]).sum())
        return count

    def _forward(self, x: Array, rng: np.random.Generator | None) -> tuple[Array, list[Any], Any]:
        f, caches, dropped = self.functions, [], None
        w1, b1, w2, b2, w3, b3, w4, b4 = self.parameters
        for w, b in (w1, b1), (w2, b2):
            x, conv = f["conv2d_forward"](x, w, b)
            x, relu = f["relu_forward"](x)
            x, pool = f["max_pool2d_forward"](x)
            caches += [conv, relu, pool]
        caches.append(x.shape)
        x, dense = dense_forward(x.reshape(len(x), -1), w3, b3)
        x, relu = f["relu_forward"](x)
        caches += [dense, relu]
        if rng is not None:
            x, dropped = f["dropout_forward"](x, KEEP_PROB, rng)
        x, dense = dense_forward(x, w4, b4)
        return x, [*caches, dense], dropped

    def _backward(self, dy: Any, caches: list[Any], dropped: Any) -> list[Array]:
        f = self.functions
        dy, dw4, db4 = dense_backward(dy, caches.pop())
        dy = f["dropout_backward"](dy, dropped)
        dy = f["relu_backward"](dy, caches.pop())
        dy, dw3, db3 = dense_backward(dy, caches.pop())
        dy = dy.reshape(caches.pop())
        gradients: list[Any] = [dw3, db3, dw4, db4]
        for _ in range(2):
            pool, relu, conv = caches.pop(), caches.pop(), caches.pop()
            dy = f["max_pool2d_backward"](dy, pool)
            dy = f["relu_backward"](dy, relu)
            dy, dw, db = f["conv2d_backward"](dy, conv)
            gradients = [dw, db, *gradients]
        return gradients
