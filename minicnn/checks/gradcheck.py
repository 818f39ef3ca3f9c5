"""Is this backward the derivative of this forward? Finite differences tell.

    report = minicnn.gradient_check(layer, x)
    print(report)
    report.assert_ok()

With L = sum(dy * y) for a random dy, backward(dy) claims to be dL/dx. For each entry of x, and likewise of
each parameter, the claim is compared with the numerical gradient (numerical.py):

    a = what backward returns      n = (L(x + h) - L(x - h)) / 2h      error = |a - n| / max(|a|, |n|, floor)

What it takes to trust the answer:

- float64. In float32 rounding alone causes errors of 1e-2, as large as those of many bugs.
- A random dy. With dy = 1 every softmax has gradient 0, and transposed weights can look correct.
- The same random numbers and the same state at each forward, or L is another function each time.
- Kinks and ties, where there is no derivative, and errors of n itself: see kinks.py. Entries on kinks, and
  those where it remains open who is wrong, are counted and not compared. If too few are left, the verdict
  is UNDECIDED.

Source: Goodfellow, Bengio, Courville: Deep Learning (2016), section 11.5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from minicnn.checks.constants import BESIDE, FLOOR, STEP, TOLERANCE
from minicnn.checks.kinks import Claims, Line, Move, Slope, Surroundings, is_possible, shaken
from minicnn.checks.report import ArrayReport, GradientReport
from minicnn.checks.subjects import FunctionSubject, LayerSubject, Subject


def gradient_check(
    subject: Any,
    x: np.ndarray,
    *more: Any,
    parameters: Mapping[str, str] | None = None,
    constants: Collection[str] = (),
    training: bool = True,
    dy: np.ndarray | None = None,
    entries: int = 200,
    directions: int = 3,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> GradientReport:
    """Compare what backward returns with the numerical gradient of forward, at x, in float64.

    subject is one of

    - a layer or a `Sequential` of this package. A float64 copy is checked: the original may be float32,
      and nothing of it changes;
    - any object with `y = forward(x)` or `forward(x, training)`, and `dx = backward(dy)`. Its
      parameters are taken from its `parameters`, a list or a method that returns one, each with `.value`
      and `.grad`; or from the attributes that the argument `parameters` names, value to gradient:
      `parameters={"W": "dW", "b": "db"}`. They are varied in place and put back. If none are found, the
      verdict is UNDECIDED, because they may have been forgotten; `parameters={}` states that there are none;
    - a pair of functions, `y, cache = forward(x, ...)` and `dx, ... = backward(dy, cache)`.

    x and `more` are the inputs of forward. Arrays of floats are differentiated, but for those whose names
    are in `constants`; the rest, such as labels or a stride, is passed on. Every forward starts from the
    same random numbers and the same running statistics. `dy` is random unless given.

    Arrays of up to `entries` entries are checked entry by entry; larger ones in that many entries drawn
    at random (half of them where the gradient is not claimed to be 0) and along `directions` random
    directions, which depend on all entries.

    Returns a `GradientReport`: `print` it, or call its `assert_ok()`. Raises TypeError if forward does
    not compute in float64, ValueError if it is not a finite function (the same input must give the
    same output) or if gradients are missing or of another shape.
    """
    checked: Subject
    if isinstance(subject, tuple):
        forward, backward = subject
        checked = FunctionSubject(forward, backward, (x, *more), constants)
    else:
        checked = LayerSubject(subject, (x, *more), constants, training, parameters)
    if not checked.arrays:
        raise TypeError("gradient_check: expected at least one array of floats, got none")
    rng = np.random.default_rng(seed)
    try:
        y = checked.evaluate()
        if not np.array_equal(y, checked.evaluate()):
            raise ValueError(
                "forward: expected the same output for the same input, got another; keep random numbers in "
                "a numpy Generator that the layer owns (and, in a Layer, lists in its state), and let "
                "nothing else change the output"
            )
        if dy is None:  # of either sign, none near zero: an output with dy = 0 would not be looked at
            dy = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
            if y.ndim == 0 and not isinstance(subject, tuple):
                dy = np.ones(())  # a loss object has no upstream gradient
        dy = np.array(np.broadcast_to(dy, y.shape), np.float64)
        comparison = _Comparison(checked, dy, step, tolerance, seed)
        reports = [comparison.check_array(name, entries, directions, rng) for name in checked.arrays]
    finally:
        checked.finish()
    return GradientReport(checked.name, reports, checked.notes, checked.unchecked)


@dataclass(frozen=True)
class _Entry:
    """One entry of an array."""

    where: tuple[int, ...]

    def of(self, gradient: np.ndarray) -> float:
        """The slope of L along this line if `gradient` is the gradient."""
        return float(gradient[self.where])

    def bounds(self, claims: Claims) -> tuple[float, float, bool]:
        """Between which slopes `of` is for these claims, and whether it takes more than two values."""
        return self.of(claims.least), self.of(claims.greatest), bool(claims.several[self.where])

    def mover(self, array: np.ndarray) -> Move:
        """A function that moves the array along this line, from where it is now."""
        value = float(array[self.where])

        def move(t: float) -> float:
            array[self.where] = value + t
            return float(array[self.where]) - value  # value + t is rounded

        return move


@dataclass(frozen=True)
class _Direction:
    """A direction v of length 1 that changes all entries of an array."""

    where: str
    v: np.ndarray

    def of(self, gradient: np.ndarray) -> float:
        return float(np.sum(gradient * self.v))

    def bounds(self, claims: Claims) -> tuple[float, float, bool]:
        ends = claims.least * self.v, claims.greatest * self.v
        kinks = np.count_nonzero(claims.least != claims.greatest)
        several = bool(kinks > 1 or claims.several.any())
        return float(np.sum(np.minimum(*ends))), float(np.sum(np.maximum(*ends))), several

    def mover(self, array: np.ndarray) -> Move:
        before = array.copy()

        def move(t: float) -> float:
            np.add(before, t * self.v, out=array)
            return t

        return move


class _Comparison:
    """The gradients claimed at the present values of a subject's arrays, compared with finite differences."""

    def __init__(self, subject: Subject, dy: np.ndarray, step: float, tolerance: float, seed: int) -> None:
        self.subject, self.dy = subject, dy
        self.step, self.tolerance, self.seed = step, tolerance, seed
        self.y, self.claimed = subject.evaluate(), subject.gradients(dy)
        self.around = Surroundings(subject, dy, seed)

    def check_array(self, name: str, entries: int, directions: int, rng: np.random.Generator) -> ArrayReport:
        """Compare every entry; of a large array a sample, and random directions."""
        array, gradient = self.subject.arrays[name], self.claimed[name]
        report = ArrayReport(name, array.shape, tolerance=self.tolerance)
        for index in np.argwhere(~np.isfinite(gradient))[:1]:  # wrong, whatever forward does
            report.compare(tuple(map(int, index)), gradient[tuple(index)], 0.0)
        floor = _floor(gradient)
        # Of a large array a sample, and for entries on kinks others, up to a limit.
        sampled = array.size > entries
        for k in _sample(gradient, 20 * entries, rng) if sampled else range(array.size):
            tried = report.compared + report.kinks
            if sampled and (report.compared == entries or (tried >= 4 * entries and report.decided)):
                break
            where = tuple(int(i) for i in np.unravel_index(k, array.shape))
            step = self.step * max(1.0, abs(float(array[where])))
            if self._compare(report, _Entry(where), step, floor):
                report.compared += 1
            else:
                report.kinks += 1
        typical = float(np.linalg.norm(gradient)) / np.sqrt(array.size)
        for k in range(directions if sampled else 0):
            v = rng.standard_normal(array.shape)
            line = _Direction(f"direction {k}", v / np.linalg.norm(v))
            floor = typical if np.isfinite(typical) else 0.0
            report.directions += self._compare(report, line, self.step, floor)
        return report

    def _compare(self, report: ArrayReport, line: _Entry | _Direction, step: float, floor: float) -> bool:
        """Whether there was a derivative to compare with."""
        claimed = line.of(self.claimed[report.name])
        slope = self._slope(report.name, line, step, floor, claimed)
        if slope.kind == "smooth":
            report.compare(line.where, claimed, slope.numerical, floor, slope.rounding)
            return True
        size = max(abs(claimed), abs(slope.low), abs(slope.high), floor)
        allowed = self.tolerance * size + slope.rounding
        if slope.kind == "kink" and not slope.low - allowed <= claimed <= slope.high + allowed:
            if is_possible(claimed, slope, allowed, *line.bounds(self.around.claims(report.name))):
                self._compare_beside(report, line, step, floor)
            else:
                nearest = min(max(claimed, slope.low), slope.high)
                report.compare(line.where, claimed, nearest, floor, slope.rounding)
        return False

    def _compare_beside(
        self, report: ArrayReport, line: _Entry | _Direction, step: float, floor: float
    ) -> None:
        """Compare at a point nearby, where the kink is left behind: a claim that is wrong there is wrong."""
        rng = np.random.default_rng(self.seed)
        # Outside the domain of forward there is nothing to compare: NaN is refused with ValueError.
        with suppress(ValueError), shaken(self.subject.arrays, BESIDE, rng):
            beside = _Comparison(self.subject, self.dy, self.step, self.tolerance, self.seed)
            claimed = line.of(beside.claimed[report.name])
            slope = beside._slope(report.name, line, step, floor, claimed)
            if slope.kind == "smooth":
                report.compare(line.where, claimed, slope.numerical, floor, slope.rounding)

    def _slope(
        self, name: str, line: _Entry | _Direction, step: float, floor: float, claimed: float
    ) -> Slope:
        move = line.mover(self.subject.arrays[name])
        return Line(self.subject, self.dy, self.y, move).slope(step, floor, self.tolerance, claimed)


def _floor(gradient: np.ndarray) -> float:
    """The scale on which small entries are compared. NaN and infinity are for the comparison to find."""
    finite = np.abs(gradient[np.isfinite(gradient)])
    return FLOOR * float(finite.max(initial=0.0))


def _sample(gradient: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """`count` places in the flat array, by turns anywhere and where the gradient is not claimed to be 0."""
    places = [np.arange(gradient.size), np.flatnonzero(gradient)]
    drawn = [rng.choice(p, min(count, p.size), replace=False).tolist() for p in places]
    turns = (k for pair in zip_longest(*drawn) for k in pair if k is not None)
    return list(dict.fromkeys(turns))[:count]
