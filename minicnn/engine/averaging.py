"""A moving average of the weights, which classifies better than the weights of the last step alone."""

from __future__ import annotations

import numpy as np

from minicnn.engine.network import Sequential
from minicnn.engine.ops import Ops, find_ops


class MovingAverage:
    """`network` follows `model`: after each step, network = decay * network + (1 - decay) * model.

    In the first steps, whose weights are still far off, the decay is smaller: (1 + step) / (10 + step).
    Saved state that is not trained, such as running statistics, is averaged likewise; generators are not.
    Source: Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging (1992); of the first
    steps: TensorFlow, tf.train.ExponentialMovingAverage, num_updates.
    """

    network: Sequential
    model: Sequential
    decay: float
    ops: Ops

    def __init__(self, network: Sequential, model: Sequential, decay: float, ops: str = "kernels") -> None:
        self.network, self.model, self.decay, self.ops = (
            network,
            model,
            decay,
            find_ops(ops, user="moving average"),
        )

    def __repr__(self) -> str:
        return f"MovingAverage({self.network.name!r} follows {self.model.name!r}, decay={self.decay:g})"

    def update(self, step: int) -> None:
        """Follow the model after its step number `step` = 1, 2, ..."""
        decay = min(self.decay, (1 + step) / (10 + step))
        self.ops.average_update(self.network.values, self.model.values, decay)
        learned = self.model.state()
        for name, kept in self.network.state().items():
            if isinstance(kept, np.ndarray):
                self.ops.average_update(kept, learned[name], decay)
