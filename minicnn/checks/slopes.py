"""One number of a gradient check: the slope of L along a line, and whether it can be trusted.

L = sum(dy * output). Central differences err where L is not smooth within the step:

    at a kink or tie    a ReLU at 0, two equal numbers in a pool window. There is no derivative: the slopes
                        to the left and to the right differ, at every step, and n is their mean.
    near one            likewise, until the step is smaller than the distance.
    by curvature        n errs by O(h^2); the difference of the two slopes falls with the step.
    by rounding         n errs by about eps |L| / h, more with every smaller step, and scatters.

So the step shrinks until it is clear which, and grows where rounding hides the gradient. An error of
backward remains the same throughout, and only an error that remains is held against backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from minicnn.checks.constants import DEEPEST, HALVINGS, SEEN, STAYS

Move = Callable[[float], float]  # moves an array by about t from where it was, returns how far


class OutsideDomain(ValueError):  # noqa: N818
    """Forward is not finite where it was evaluated."""


@dataclass(frozen=True)
class Slope:
    """What finite differences say: a derivative, a kink with a slope on either side, or nothing certain.

    An error of up to `rounding` proves nothing. low and high bound what backward may return on a kink:
    each entry of the output may take its slope from the left or from the right.
    """

    kind: str  # "smooth", "kink", "rounding", "unclear"
    numerical: float
    rounding: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A central difference with step h; gap is the slope to the right minus that to the left."""

    h: float
    central: float
    gap: float
    rounding: float
    low: float
    high: float

    def slope(self, kind: str) -> Slope:
        """This difference as the answer."""
        return Slope(kind, self.central, self.rounding, self.low, self.high)

    def moved_from(self, larger: Difference) -> float:
        """By how much the slopes changed since the larger step; a gap by curvature falls with the step."""
        gap = abs(self.gap - larger.gap * self.h / larger.h)
        return abs(self.central - larger.central) + gap


@dataclass(frozen=True)
class Loss:
    """L = sum(dy * output) at the present values of a subject's arrays.

    `noise` is the uncertainty of an entry of the output relative to its size, as noise.py measures it.
    """

    evaluate: Callable[[], np.ndarray]
    dy: np.ndarray
    y: np.ndarray
    noise: float


class Line:
    """L along a straight line through the present values of a subject's arrays.

    `moving` is the rounding of L caused by that of the moved points, which are numbers of their dtype, too.
    """

    def __init__(self, loss: Loss, move: Move, moving: float = 0.0) -> None:
        self._loss, self._move, self._moving = loss, move, moving

    def _one_side(self, t: float, claimed: float) -> tuple[np.ndarray, float]:
        """dy * (y(t) - y(0)) / t for each entry of the output, and the error that rounding can cause.

        Entries that do not depend on the array cancel exactly, so their rounding does not count, unless the
        whole difference is below it: then it may be rounding that has kept them from changing.
        """
        loss = self._loss
        t = self._move(t)
        try:
            if t == 0:
                raise OutsideDomain("the step is smaller than the distance of two numbers")
            moved = loss.evaluate()
        finally:
            self._move(0.0)
        change = moved - loss.y
        weighted, touched = loss.dy * moved, change != 0
        noise = loss.noise * float(np.linalg.norm(weighted[touched]))
        difference = loss.dy * change
        if not touched.any():  # and an output of 0 may be a small one that has been subtracted from 1
            noise = (
                loss.noise * float(np.linalg.norm(loss.dy * np.maximum(1, np.abs(moved)))) * (claimed != 0)
            )
        elif abs(float(np.sum(difference))) <= (whole := loss.noise * float(np.linalg.norm(weighted))):
            noise = whole
        return difference / t, (noise + self._moving) / abs(t)

    def difference(self, h: float, claimed: float) -> Difference | None:
        """The central difference of step h, or None outside the domain of forward."""
        try:
            right, rounding = self._one_side(h, claimed)
            left, other = self._one_side(-h, claimed)
        except (OutsideDomain, ArithmeticError, np.linalg.LinAlgError):
            return None
        up, down = float(np.sum(right)), float(np.sum(left))
        bounds = float(np.sum(np.minimum(right, left))), float(np.sum(np.maximum(right, left)))
        return Difference(h, (up + down) / 2, up - down, max(rounding, other), *bounds)

    def slope(self, step: float, floor: float, tolerance: float, claimed: float) -> Slope:
        """What central differences of many steps say about the slope that backward claims.

        If one equals the claim, that is no coincidence, except on a kink, where the gap is the same at every
        step. If none does, the error may be the finite difference's own. That of curvature and of kinks
        nearby falls with the step. An error of backward stays, down to the smallest step at which it could be
        seen. Only then is the result "smooth" and different. It is "rounding" if a wrong claim could not be
        told from a right one.
        """
        tried: list[Difference] = []
        steady, error = 0, np.inf  # how often in a row the gap stayed; by rounding it may once
        for found in self._smaller_and_smaller(step, claimed):
            if len(tried) > 2 and found.rounding > STAYS * error:
                break  # smaller steps see nothing but rounding
            if tried:
                stayed = abs(found.gap - tried[-1].gap) < 0.01 * abs(found.gap)
                steady = steady + 1 if stayed and abs(found.gap) > found.rounding else 0
                if steady == 2:
                    return found.slope("kink")  # it is here: every step meets it
            tried.append(found)
            nearest = min(tried, key=lambda d: abs(d.central - claimed))
            error = abs(nearest.central - claimed)
            scale = max(abs(nearest.central), floor)
            allowed = 0.1 * tolerance * scale + nearest.rounding
            smooth = abs(found.gap) <= allowed or (len(tried) > 1 and not steady)
            if error <= allowed and smooth:
                if nearest.rounding <= SEEN * tolerance * scale:
                    return nearest.slope("smooth")
                return self._larger_and_larger(tried[0], nearest, floor, tolerance, claimed)
        if len(tried) < 3:
            return Slope("unclear", claimed, np.inf, claimed, claimed)
        last = tried[-4:]
        change = max(b.moved_from(a) for a, b in pairwise(last))
        if error <= 10 * min(d.rounding for d in last):
            return self._larger_and_larger(tried[0], nearest, floor, tolerance, claimed)
        if change > STAYS * error + 2 * last[-1].rounding:
            return nearest.slope("unclear")
        return _most_certain(tried, STAYS * error).slope("smooth")

    def _smaller_and_smaller(self, step: float, claimed: float) -> Iterator[Difference]:
        h, found = step, 0
        for _ in range(DEEPEST):
            difference = self.difference(h, claimed)
            if difference is not None:
                found += 1
                yield difference
            h /= 2 if difference is not None and found <= HALVINGS else 8

    def _larger_and_larger(
        self, first: Difference, small: Difference, floor: float, tolerance: float, claimed: float
    ) -> Slope:
        """For a gradient that rounding hides: steps up to 65,000 times as large, where it hides less.

        The claim is confirmed by a step that would have shown an error. It is refuted by three in a row that
        agree with each other and not with it, if the `small` step, too, allows what they say: otherwise there
        is a kink between.
        """
        tried: list[Difference] = []
        for k in range(1, 9):
            found = self.difference(first.h * 4**k, claimed)
            if found is None:
                break
            tried.append(found)
            error, scale = abs(found.central - claimed), max(abs(found.central), floor)
            seen = found.rounding <= SEEN * tolerance * scale
            if seen and error <= 0.1 * tolerance * scale + found.rounding:
                return found.slope("smooth")
            last = tried[-3:]
            change = max((abs(b.central - a.central) for a, b in pairwise(last)), default=np.inf)
            allowed = abs(found.central - small.central) <= small.rounding + found.rounding
            if len(last) == 3 and allowed and change <= STAYS * error and last[0].rounding <= STAYS * error:
                return found.slope("smooth")
        return first.slope("rounding")


def _most_certain(tried: list[Difference], near: float) -> Difference:
    """Of the differences that agree with the last one, that in which rounding and curvature are least."""
    last = tried[-1]
    pairs = [
        (b.rounding + b.moved_from(a), b)
        for a, b in pairwise(tried)
        if abs(b.central - last.central) <= near + last.rounding
    ]
    return min(pairs, key=lambda pair: pair[0])[1]
