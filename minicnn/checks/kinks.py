"""What backward may claim on a kink, where there is no derivative to compare with.

It may return any slope between the two on either side. Where several kinks meet, each may have been given a
side of its own, so what backward claims around the point is looked at, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np

from minicnn.checks.constants import AROUND, POINTS, SAME
from minicnn.checks.slopes import Slope
from minicnn.checks.subject import Arrays, Subject


class Claims(NamedTuple):
    """What backward claims for each entry around a point, and whether it claims more than two values.

    On a single kink there are two, that to the left and that to the right.
    """

    least: np.ndarray
    greatest: np.ndarray
    several: np.ndarray


class AlongLine(Protocol):
    """What reads the slope along a line from a gradient."""

    def of(self, gradient: np.ndarray) -> float:
        """The slope of L along this line if `gradient` is the gradient."""


class Surroundings:
    """What backward claims around the point of the check.

    Looked at when first asked for, which most checks never do.
    """

    def __init__(self, subject: Subject, dy: np.ndarray, seed: int) -> None:
        self._subject, self._dy, self._seed = subject, dy, seed
        self._claims: dict[str, Claims] = {}

    def claims(self, name: str) -> Claims:
        """The claims for the array of that name."""
        for a in self._points(name) if name not in self._claims else ():
            if name not in self._claims:
                self._claims[name] = Claims(a, a.copy(), np.zeros(a.shape, bool))
            least, greatest, several = self._claims[name]
            same = SAME * np.maximum(np.abs(least), np.abs(greatest))
            new = (np.abs(a - least) > same) & (np.abs(a - greatest) > same)
            several |= new & (greatest - least > same)
            np.minimum(least, a, out=least)
            np.maximum(greatest, a, out=greatest)
        return self._claims[name]

    def range_along(self, name: str, line: AlongLine) -> tuple[float, float]:
        """The least and the greatest slope that is claimed along a line."""
        slopes = [line.of(claimed) for claimed in self._points(name)]
        return min(slopes), max(slopes)

    def _points(self, name: str) -> Iterator[np.ndarray]:
        rng, arrays = np.random.default_rng(self._seed), self._subject.arrays
        by = amplitudes(arrays, AROUND)
        for _ in range(POINTS):
            with shaken(arrays, by, rng):
                claimed = self._subject.gradients(self._dy, only=name)[name]
            yield claimed


def amplitudes(arrays: Arrays, size: float) -> Arrays:
    """How far `shaken` moves each entry at most: twice `size`, in units of what is usual in its array."""
    found = {}
    for name, array in arrays.items():
        usual = float(np.linalg.norm(array)) / np.sqrt(max(1, array.size)) or 1.0
        found[name] = np.abs(array)
        np.maximum(found[name], min(1.0, usual), out=found[name])
        found[name] *= 2 * size
    return found


@contextmanager
def shaken(arrays: Arrays, by: Arrays, rng: np.random.Generator) -> Iterator[None]:
    """Within, every entry is moved by a random amount, so that nothing lies exactly on a kink or tie."""
    before = {name: array.copy() for name, array in arrays.items()}
    try:
        for name, array in arrays.items():
            moved = rng.random(array.shape)
            moved *= 2
            moved -= 1
            moved *= by[name]
            np.add(array, moved, out=array, casting="same_kind")
        yield
    finally:
        for name, array in arrays.items():
            array[...] = before[name]


def is_possible(
    claimed: float, kink: Slope, allowed: float, least: float, greatest: float, several: bool
) -> bool:
    """Whether backward may return `claimed` on a kink.

    It may return anything between the slopes on either side. If those bounds also hold for the one or two
    values that it returns around the kink, from `least` to `greatest`, nothing else is possible. If they
    do not, or it returns `several`, more than one kink meets here, each of which has been given a side of
    its own, and the sum may be outside: then it is compared with the values around, which are such sums
    too, and may leave their range by its width.
    """
    low, high = kink.low - allowed, kink.high + allowed
    if low <= claimed <= high:
        return True
    if low <= least and greatest <= high and not several:
        return False
    width = greatest - least
    return least - width - allowed <= claimed <= greatest + width + allowed
