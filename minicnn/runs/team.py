"""Who trains a run: one process, which does everything itself. `minicnn.parallel` has a team of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.optimizers import Optimizer
from minicnn.runs.signals import StopSignals
from minicnn.tutorial import train_step

if TYPE_CHECKING:
    from minicnn.runs.run import Run


class TeamLost(Exception):  # noqa: N818
    """Another process of the team does not answer. The weights are those before the step."""


class Team:
    """A team of one. The processes of a larger one call the same methods at the same steps."""

    processes: int = 1

    @property
    def rows(self) -> slice:
        """Which images of each batch this process computes with."""
        return slice(None)

    def learn(
        self,
        network: Sequential,
        loss: SoftmaxCrossEntropy,
        optimizer: Optimizer,
        x: np.ndarray,
        labels: np.ndarray,
    ) -> float:
        """`train_step`, from this process's images of a batch and all of its labels.

        Raises as that does, and TeamLost; either leaves the network as it was.
        """
        return train_step(network, loss, optimizer, x, labels)

    def predict_batch(self, network: Sequential, x: np.ndarray) -> np.ndarray:
        """Probabilities for all images of a batch, of which x are this process's."""
        return network.predict(x)

    def predict(self, network: Sequential, images: np.ndarray) -> np.ndarray:
        """`network.predict`, of images that every process has."""
        return network.predict(images)

    def recover(self, run: Run, doing: str) -> str:
        """Without processes that were lost, give all that are left the state of the one that leads.

        `doing` is what this process was doing. Returns what the leading one was. Raises TeamLost if there is
        no way to go on.
        """
        raise TeamLost(doing)

    def heed(self, signals: StopSignals) -> None:
        """Stop all processes after the step in which one of them got a stop signal."""
        self._signals = signals

    @property
    def stopped(self) -> int | None:
        """The stop signal after which no step may follow, if there was one."""
        return self._signals.received
