"""One number of a gradient check: the slope of L along a line, and whether it can be trusted.

L = sum(dy * output). Central differences err where L is not smooth within the step:

    at a kink or tie    a ReLU at 0, two equal numbers in a pool window. There is no derivative: the slopes
                        to the left and to the right differ, at every step, and n is their mean.
    near one            likewise, until the step is smaller than the distance.
    by curvature        n errs by O(h^2); the difference of the two slopes is halved with the step.
    by rounding         n errs by about 1e-16 |L| / h, more with every halving, and scatters.

So the step is halved until it is clear which. An error of backward remains the same throughout, and only
an error that remains is held against backward.

On a kink backward may return any slope between the two, and is not compared with either. What it returns
must still be possible, see `is_possible`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minicnn.checks.constants import AROUND, HALVINGS, POINTS, ROUNDING, SAME, STAYS
from minicnn.checks.subjects import Arrays, Subject

Move = Callable[[float], float]  # moves an array by about t from where it was, returns how far


@dataclass(frozen=True)
class Slope:
    """What finite differences say: a derivative, a kink with a slope on either side, or nothing certain.

    An error of up to `rounding` proves nothing. low and high bound what backward may return on a kink:
    each entry of the output may take its slope from the left or from the right.
    """

    kind: str  # "smooth", "kink", "unclear"
    numerical: float
    rounding: float
    low: float
    high: float


class Line:
    """L along a straight line through the present values of a subject's arrays."""

    evaluate: Callable[[], np.ndarray]
    dy: np.ndarray
    y: np.ndarray
    move: Move

    def __init__(self, subject: Subject, dy: np.ndarray, y: np.ndarray, move: Move) -> None:
        self.evaluate, self.dy, self.y, self.move = subject.evaluate, dy, y, move

    def differences(self, t: float) -> tuple[np.ndarray, float]:
        """dy * (y(t) - y(0)) / t for each entry of the output, and the error that rounding can cause."""
        t = self.move(t)
        try:
            moved = self.evaluate()
        finally:
            self.move(0.0)
        change = moved - self.y
        # Entries of the output that do not depend on the array cancel exactly: their rounding does not count.
        rounding = ROUNDING * float(np.linalg.norm((self.dy * moved)[change != 0])) / abs(t)
        return self.dy * change / t, rounding

    def at_step(self, h: float) -> tuple[float, float, Slope]:
        """The central difference, the slope to the right minus that to the left, and the bounds on a kink."""
        right, rounding = self.differences(h)
        left, _ = self.differences(-h)
        total, other = float(np.sum(right)), float(np.sum(left))
        low, high = float(np.sum(np.minimum(right, left))), float(np.sum(np.maximum(right, left)))
        mean = (total + other) / 2
        return mean, total - other, Slope("kink", mean, rounding, low, high)

    def slope(self, step: float, floor: float, tolerance: float, claimed: float) -> Slope:
        """The central difference nearest to what backward claims, over halvings of the step.

        If it equals the claim, that is no coincidence, except on a kink, where the difference of the slopes
        is the same at half the step. If not, the error may be the finite difference's own: that of curvature
        and kinks nearby falls with the step, that of rounding grows and scatters, by more than the size of
        the output tells. An error of backward stays. Only then is the result "smooth" and different.
        """
        tried: list[tuple[float, float, float]] = []  # error, central difference, rounding
        last_gap = change = 0.0
        steady = 0  # how often in a row the gap stayed; by rounding it may once
        for k in range(HALVINGS + 1):
            central, gap, kink = self.at_step(step / 2**k)
            error = abs(central - claimed)
            if k:
                steady = steady + 1 if abs(gap - last_gap) < 0.01 * abs(gap) else 0
                if steady == 2:
                    return kink  # it is here: every step meets it
                change = max(change, abs(central - tried[-1][1]) + abs(gap - last_gap / 2))
            tried.append((error, central, kink.rounding))
            error, nearest, rounding = min(tried)
            allowed = 0.1 * tolerance * max(abs(nearest), floor) + rounding
            if error <= allowed and (abs(gap) <= allowed or (k and not steady)):
                return Slope("smooth", nearest, rounding, nearest, nearest)
            last_gap = gap
        kind = "unclear" if change > STAYS * error else "smooth"
        return Slope(kind, nearest, rounding, nearest, nearest)


# --- what backward may claim on a kink -----------------------------------------------------------


class Claims(NamedTuple):
    """What backward claims for each entry around a point, and whether it claims more than two values.

    On a single kink there are two, that to the left and that to the right.
    """

    least: np.ndarray
    greatest: np.ndarray
    several: np.ndarray


class Surroundings:
    """What backward claims around the point of the check.

    Looked at when first asked for, which most checks never do.
    """

    def __init__(self, subject: Subject, dy: np.ndarray, seed: int) -> None:
        self._subject, self._dy, self._seed = subject, dy, seed
        self._claims: dict[str, Claims] = {}

    def claims(self, name: str) -> Claims:
        """The claims for the array of that name."""
        if not self._claims:
            rng = np.random.default_rng(self._seed)
            for _ in range(POINTS):
                with shaken(self._subject.arrays, AROUND, rng):
                    claimed = self._subject.gradients(self._dy)
                if not self._claims:
                    self._claims = {
                        n: Claims(a, a.copy(), np.zeros(a.shape, bool)) for n, a in claimed.items()
                    }
                for n, a in claimed.items():
                    least, greatest, several = self._claims[n]
                    same = SAME * np.maximum(np.abs(least), np.abs(greatest))
                    new = (np.abs(a - least) > same) & (np.abs(a - greatest) > same)
                    several |= new & (greatest - least > same)
                    np.minimum(least, a, out=least)
                    np.maximum(greatest, a, out=greatest)
        return self._claims[name]


@contextmanager
def shaken(arrays: Arrays, size: float, rng: np.random.Generator) -> Iterator[None]:
    """Within, every entry is moved by a random amount, so that nothing lies exactly on a kink or tie."""
    before = {name: array.copy() for name, array in arrays.items()}
    for array in arrays.values():
        array += size * np.maximum(1, np.abs(array)) * rng.standard_normal(array.shape)
    try:
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
