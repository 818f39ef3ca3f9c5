"""Two twins in training, step by step, and back to any step.

Going back restores the newest snapshot before the step and makes the steps from there again. Nothing in a
step depends on anything else than the snapshot and the number of the step, so they come out the same, bit
for bit; each loss that is computed again is compared with what it was the first time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minicnn.data import Dataset, Split
from minicnn.explore.maps import Array
from minicnn.explore.twins import RELUS, Snapshot, Training, Twin

STOP = 300  # steps, then a pair stops by itself
LOOK_EVERY = 10  # steps between two tests
KEEP_EVERY = 20  # steps between two snapshots, of 2.5 MB
TESTED = 1000  # test images
TOGETHER = 100  # of them at a time


class Look(NamedTuple):
    """What a test found: of both twins, and of each ReLU in RELUS (-1 where a twin has none)."""

    correct: tuple[int, int]
    dead: Array  # int32 [3, 2]: filters or units that answered 0 to every image, everywhere
    always: Array  # int32 [3, 2]: that answered more than 0 to every image, everywhere


class Pair:
    """Two trainings with one seed, at the same step. `step` is where they are, `furthest` where they were."""

    twins: tuple[Training, Training]
    step: int
    target: int
    losses: list[tuple[float, float]]  # of steps 1 to furthest
    looks: dict[int, Look]
    made_again: int  # steps, after going back
    same: bool  # whether all of them had the same losses as before, bit for bit
    first_filters: list[Array]  # conv1's first weights, of both

    def __init__(self, twins: tuple[Twin, Twin], seed: int, data: Dataset, ops: str = "kernels") -> None:
        a, b = (Training(twin, data.train, seed, ops) for twin in twins)
        self.twins, self.step, self.target = (a, b), 0, 0
        self.losses, self.looks, self.made_again, self.same = [], {}, 0, True
        self.first_filters = [twin.network.arrays()["conv1.weight"].copy() for twin in self.twins]
        self._test = Split(data.test.images[:TESTED], data.test.labels[:TESTED])
        self._snapshots: dict[int, list[Snapshot]] = {}

    @property
    def furthest(self) -> int:
        """The last step that was ever made."""
        return len(self.losses)

    @property
    def running(self) -> bool:
        """Whether it is on its way to another step, or testing the twins there."""
        return self.step != self.target or self.step not in self.looks

    def go(self, target: int, notify: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Go on, or back, to step `target`, piece by piece; the last piece has tested the twins there.

        May be dropped between any two pieces.
        """
        self.target = min(target, STOP)
        return self._pieces(notify)

    def _pieces(self, notify: Callable[[], None]) -> Iterator[None]:
        if self.target < self.step:
            self._restore(self.target)
        if self.step == 0:
            yield from self._look()
        while self.step < self.target:
            self._make_step()
            yield
            if self.step == self.target or self.step % LOOK_EVERY == 0:
                yield from self._look()
            notify()
        yield from self._look()
        notify()

    def pause(self) -> None:
        """Stay here."""
        self.target = self.step

    def newest_look(self) -> tuple[int, Look] | None:
        """The last test at or before this step, and its step; None before the first."""
        steps = [step for step in self.looks if step <= self.step]
        return (max(steps), self.looks[max(steps)]) if steps else None

    def _make_step(self) -> None:
        if self.step % KEEP_EVERY == 0 and self.step not in self._snapshots:
            self._snapshots[self.step] = [twin.snapshot() for twin in self.twins]
        a, b = (twin.make_step(self.step + 1) for twin in self.twins)
        if self.step < self.furthest:
            self.made_again += 1
            self.same &= struct.pack("2d", a, b) == struct.pack("2d", *self.losses[self.step])
        else:
            self.losses.append((a, b))
        self.step += 1

    def _restore(self, step: int) -> None:
        kept = max(number for number in self._snapshots if number <= step)
        for twin, snapshot in zip(self.twins, self._snapshots[kept], strict=True):
            twin.restore(snapshot)
        self.step = kept

    def _look(self) -> Iterator[None]:
        """Test both twins, unless that has been done at this step."""
        if self.step in self.looks:
            return
        correct = [0, 0]
        least = np.full((len(RELUS), 2), None)
        most = np.full((len(RELUS), 2), None)
        for start in range(0, len(self._test), TOGETHER):
            images = self._test.images[start : start + TOGETHER]
            labels = self._test.labels[start : start + TOGETHER]
            for t, twin in enumerate(self.twins):
                outputs = twin.outputs(images, self.step)
                p = outputs["softmax"]
                correct[t] += int(((p.argmax(axis=1) == labels) & np.isfinite(p).all(axis=1)).sum())
                for r, name in enumerate(RELUS):
                    if name not in twin.twin.without_relu:
                        y = outputs[name].reshape(-1, outputs[name].shape[-1])
                        least[r, t] = _both(np.minimum, least[r, t], y.min(axis=0))
                        most[r, t] = _both(np.maximum, most[r, t], y.max(axis=0))
                yield
        dead = [[-1 if m is None else int((m == 0).sum()) for m in row] for row in most]
        always = [[-1 if m is None else int((m > 0).sum()) for m in row] for row in least]
        self.looks[self.step] = Look(
            (correct[0], correct[1]), np.array(dead, np.int32), np.array(always, np.int32)
        )


def _both(which: Callable[..., Array], so_far: Array | None, new: Array) -> Array:
    return new if so_far is None else which(so_far, new)
