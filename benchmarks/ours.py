"""minicnn as a contestant: the same interface as the peers have, so that all are driven the same way."""

from __future__ import annotations

import importlib
import math
from typing import ClassVar

import numpy as np
from peers import Engine, Parameters


class Minicnn(Engine):
    """minicnn as it comes: convolution, ReLU and pool in one pass."""

    name = "minicnn"
    fused: ClassVar[bool] = True

    @classmethod
    def prepare(cls) -> None:
        importlib.import_module("minicnn.engine.kernels")

    def __init__(
        self, parameters: Parameters, threads: int = 2, keep_prob: float = 0.5, learning_rate: float = 1e-4
    ) -> None:
        import minicnn
        from minicnn.engine.kernels.threads import set_threads

        set_threads(threads)
        self._train_step = minicnn.train_step
        side = 4 * math.isqrt(len(parameters["fc1.weight"]) // 64)
        self.network = minicnn.tutorial_network(
            keep_prob=keep_prob,
            fused=self.fused,
            input_shape=(side, side, parameters["conv1.weight"].shape[2]),
            classes=parameters["fc2.bias"].size,
        )
        self.network.load_values(parameters)
        self.loss = minicnn.SoftmaxCrossEntropy("sum")
        self.optimizer = minicnn.Adam(self.network.parameters(), learning_rate)

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        return self._train_step(self.network, self.loss, self.optimizer, x, labels)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.network.forward(x)

    def parameters(self) -> Parameters:
        return {p.name: p.value.copy() for p in self.network.parameters()}


class MinicnnPlain(Minicnn):
    """minicnn with `--plain`: explicit im2col, and three layers for convolution, ReLU and pool."""

    name = "minicnn --plain"
    fused = False
