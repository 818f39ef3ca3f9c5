"""A team of several processes: a training step, and a measurement, by all of them together.

In a step each process computes its share of the batch, then all put together

- the scores of all images, so that each has the whole loss and its gradient;
- the terms that the gradients are sums of, as soon as a layer has them: while they travel, the layers below
  compute. Of a dense layer these are the factors x and dy of dw = x.T @ dy, of a convolution its sums over
  the shards of a process.

From these each process computes every gradient to the same bits, and moves its own copy of the weights.
"""

from __future__ import annotations

import warnings

import numpy as np

from minicnn.engine.layers import Layer
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.ops import OpsMemory
from minicnn.engine.optimizers import Optimizer
from minicnn.engine.shards import Share, Terms, even_ranges
from minicnn.parallel.exchange import Exchange, Gathering
from minicnn.parallel.split import Split
from minicnn.runs.run import Run
from minicnn.runs.settings import Settings
from minicnn.runs.team import Team
from minicnn.tutorial import Diverged, raise_if_diverged

Array = np.ndarray

NEWS = 2  # numbers that each process tells the others in a step: its stop signal, and whether it leaves
OWN, LEAVES = 0, 1


class Left(Exception):  # noqa: N818
    """The process that leads has ended, and said so."""


class ProcessTeam(Team):
    """This process and the others of a communicator, training a run with these settings.

    Raises ValueError if there are more processes than shards.
    """

    processes: int
    split: Split
    share: Share
    ended: bool  # for all, by themselves: the training has diverged

    def __init__(self, exchange: Exchange, settings: Settings) -> None:
        self.exchange = exchange
        self._memory: dict[str, OpsMemory] = {}
        self._agreed: int | None = None
        self.ended = False
        self._share_out(settings)

    def _share_out(self, settings: Settings) -> None:
        self.processes = self.exchange.size
        self.split = Split(settings.batch_size, settings.shards, self.processes)
        self.share = self.split.share(self.exchange.rank)
        self._kept = [len(self.split.kept(process)) for process in range(self.processes)]

    @property
    def rows(self) -> slice:
        return self.share.rows

    @property
    def stopped(self) -> int | None:
        return self._agreed

    # --- a step ---

    def learn(
        self,
        network: Sequential,
        loss: SoftmaxCrossEntropy,
        optimizer: Optimizer,
        x: Array,
        labels: Array,
    ) -> float:
        before = {name: g.bit_generator.state for name, g in network.generators().items()}
        try:
            logits = self._gather_scores(network.forward(x, training=True, share=self.share))
            value = loss.forward(logits, labels)
            raise_if_diverged(value, network, optimizer.steps + 1)
            travelling: list[tuple[Layer, Terms, list[Gathering]]] = []
            network.backward_terms(
                loss.backward()[self.rows],
                lambda layer, terms: travelling.append((layer, terms, self._send(layer, terms))),
            )
            for layer, terms, gatherings in travelling:
                self._add_up(layer, terms, gatherings)
        except BaseException as error:  # also Ctrl-C: the step has not been made
            self.ended = self.ended or isinstance(error, Diverged)
            for name, generator in network.generators().items():
                generator.bit_generator.state = before[name]
            raise
        optimizer.step()
        return value

    def _gather_scores(self, own: Array) -> Array:
        """The scores of all images. On the way, what each process has to tell."""
        news = np.array([self._signals.received or 0, 0], own.dtype)
        return self._with_news(own, news)

    def _with_news(self, own: Array, news: Array) -> Array:
        K = own.shape[1]
        rows = np.zeros((len(own) + 1, K), own.dtype)
        rows[0, :NEWS], rows[1:] = news, own
        counts = [images + 1 for images in self.split.images]
        found = self.exchange.gather("scores", rows, counts)
        firsts = [0, *np.cumsum(counts[:-1]).tolist()]
        told = found[firsts]
        if told[:, LEAVES].any():
            raise Left("the leading process has ended")
        self._agreed = int(told[:, OWN].max()) or None
        return np.delete(found, firsts, axis=0)

    def _send(self, layer: Layer, terms: Terms) -> list[Gathering]:
        start, rank = self.exchange.start, self.exchange.rank
        sent = [
            start(f"{layer.name} {i}", array, self.split.images) for i, array in enumerate(terms.by_image)
        ]
        for i, parts in enumerate(terms.by_shard):
            sent.append(start(f"{layer.name} shards {i}", self.split.add_own(rank, parts), self._kept))
        return sent

    def _add_up(self, layer: Layer, terms: Terms, gatherings: list[Gathering]) -> None:
        found = [gathering.finish() for gathering in gatherings]
        images = len(terms.by_image)
        sums = tuple(self.split.add_all(array) for array in found[images:])
        memory = self._memory.setdefault(layer.name, OpsMemory(f"{layer.name}, all"))
        layer.add_up(memory.ops(layer.ops), Terms(tuple(found[:images]), sums))

    # --- a measurement ---

    def predict_batch(self, network: Sequential, x: Array) -> Array:
        return self.exchange.gather("batch", network.predict(x), self.split.images)

    def predict(self, network: Sequential, images: Array) -> Array:
        ranges = even_ranges(len(images), self.processes)
        counts = [last - first for first, last in ranges]
        own = images[slice(*ranges[self.exchange.rank])]
        classes = network.shapes[-1][0]
        found = network.predict(own) if len(own) else np.empty((0, classes), network.dtype)
        return self.exchange.gather("predictions", found, counts).copy()

    # --- begin and end ---

    def hand_out(self, run: Run, doing: str = "") -> str:
        """Give every process the state of the leading one's run, and what it is `doing`. Raises TeamLost."""
        self._classes = run.model.shapes[-1][0]
        facts = run.step, run.seconds, run.random_states(), doing
        step, seconds, states, doing = self.exchange.together(lambda: self.exchange.comm.bcast(facts, root=0))
        self.exchange.together(lambda: [self.exchange.comm.Bcast(a, root=0) for a in run.arrays().values()])
        if self.exchange.rank != 0:
            run.continue_at(step, seconds, states)
        return doing

    def recover(self, run: Run, doing: str) -> str:
        before = self.processes
        self.exchange.shrink()
        self._share_out(run.settings)
        if self.exchange.rank == 0:
            lost = f"{before - self.processes} of {before} processes lost; {self.processes} train on"
            warnings.warn(lost, RuntimeWarning, stacklevel=2)
        return self.hand_out(run, doing)

    def leave(self) -> None:
        """Tell the others, who wait for the next step, that none will follow. Raises TeamLost."""
        own = np.zeros((self.split.images[self.exchange.rank], self._classes), np.float32)
        try:
            self._with_news(own, np.array([0, 1], np.float32))
        except Left:
            pass
