"""The pairs of twins of all open pages, and what a page is told of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from minicnn.data import Dataset
from minicnn.explore.answer import Answer
from minicnn.explore.differences import DIFFERENCES, as_facts, twins_of
from minicnn.explore.maps import Array
from minicnn.explore.pair import STOP, TESTED, Pair
from minicnn.explore.twins import RELUS, Twin, build_network
from minicnn.explore.worker import Worker
from minicnn.explore.wrong_gradients import WRONG, check

MOST = 4  # pairs are kept, each with up to 40 MB of snapshots; a page that comes back begins anew
TELL_EVERY = 0.1  # seconds


class Pairs:
    """Pairs by client: begun, moved and looked at. Everything is computed by the worker, in small pieces.

    `publish(client, facts)` tells the page called `client` that its pair has moved.
    """

    def __init__(
        self, data: Dataset, ops: str, worker: Worker, publish: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._data, self._ops, self._worker, self._publish = data, ops, worker, publish
        self._pairs: dict[str, Pair] = {}

    def about(self) -> dict[str, Any]:
        """What the page needs to know once."""
        return {
            "differences": as_facts(),
            "stop": STOP,
            "tested": min(TESTED, len(self._data.test)),
            "layers": list(RELUS),
            "sizes": [*Twin.filters, Twin.units],
        }

    def begin(self, client: str, difference: str, a: str, b: str, seed: int) -> None:
        """A new pair for this client, in place of its old one. Raises ValueError for unknown names."""
        twins = twins_of(difference, a, b)

        def make() -> None:
            self._pairs.pop(client, None)
            while len(self._pairs) >= MOST:
                del self._pairs[next(iter(self._pairs))]
            self._pairs[client] = Pair(twins, seed, self._data, self._ops)

        self._worker.do(make)
        self.go(client, 0)

    def go(self, client: str, step: int) -> None:
        """Go on, or back, to a step, instead of where it was going. Raises ValueError without a pair."""
        pair, told = self._pair(client), 0.0

        def notify() -> None:
            nonlocal told
            if not pair.running or time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                self._publish(client, {"step": pair.step, "running": pair.running})

        self._worker.in_background(pair.go(step, notify), f"twins {client}")

    def pause(self, client: str) -> None:
        """Stay at this step, and test there. Raises ValueError without a pair."""
        pair = self._pair(client)
        self._worker.do(pair.pause)
        self.go(client, pair.step)

    def look(self, client: str, image: Array) -> Answer:
        """All that is known of a pair, and its answers to an image uint8 [28, 28].

        To be called by the worker. Raises ValueError without a pair.
        """
        pair = self._pair(client)
        outputs = [twin.outputs(image[None], pair.step) for twin in pair.twins]
        filters = np.stack([twin.network.arrays()["conv1.weight"] for twin in pair.twins])
        tested = sorted(pair.looks)
        newest = pair.newest_look()
        arrays = {
            "losses": np.array(pair.losses, np.float32).reshape(-1, 2),
            "looks": np.array(tested, np.int32),
            "correct": np.array([pair.looks[step].correct for step in tested], np.int32).reshape(-1, 2),
            "probabilities": np.concatenate([output["softmax"] for output in outputs]),
            "filters": filters,
            "change": filters - np.stack(pair.first_filters),
        }
        if newest is not None:
            arrays |= {"dead": newest[1].dead, "always": newest[1].always}
        facts = {
            "step": pair.step,
            "target": pair.target,
            "furthest": pair.furthest,
            "running": pair.running,
            "looked_at": None if newest is None else newest[0],
            "diverged": [twin.diverged for twin in pair.twins],
            "made_again": pair.made_again,
            "same": pair.same,
        }
        return Answer(arrays, facts)

    def _pair(self, client: str) -> Pair:
        if client not in self._pairs:
            raise ValueError("twins: begin a pair first")
        return self._pairs[client]


@cache
def check_of(wrong: str) -> dict[str, Any]:
    """What the gradient check says of the layer with this wrong gradient, and of the right one in its place.

    Raises ValueError for a name that does not exist.
    """
    if wrong not in WRONG:
        raise ValueError(f"gradient: expected one of {', '.join(WRONG)}, got {wrong!r}")
    position, _ = WRONG[wrong]
    facts: dict[str, Any] = {"layer": position}
    for key, twin in (("right", Twin()), ("wrong", DIFFERENCES["gradient"].twin(wrong))):
        network = build_network(twin, seed=0, ops="reference")
        names = [layer.name for layer in network.layers]
        report = check(network.layers[names.index(position)], network.shapes[names.index(position)])
        facts[key] = {"ok": report.ok, "verdict": report.verdict, "says": report.diagnoses}
    return facts
