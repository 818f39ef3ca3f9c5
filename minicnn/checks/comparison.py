"""The gradients that backward claims at one point, compared with finite differences along many lines.

Of a small subject every entry of every array is compared. Of a larger one directions are, which depend on all
entries, and a few entries; a direction that is wrong is cut in halves until the wrong entry is found.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain

import numpy as np

from minicnn.checks.complex_step import complex_slope
from minicnn.checks.constants import AGREE, BESIDE, BESIDES, FLOAT64, MOVED, ROUNDING, SAME, SEEN, Precision
from minicnn.checks.kinks import Surroundings, amplitudes, is_possible, shaken
from minicnn.checks.lines import Direction, Entry, even_directions, random_directions, sample
from minicnn.checks.noise import measured_noise
from minicnn.checks.report import ArrayReport
from minicnn.checks.slopes import Line, Loss, OutsideDomain, Slope
from minicnn.checks.subject import Arrays, Subject


class Comparison:
    """The gradients claimed at the present values of a subject's arrays, compared with finite differences."""

    subject: Subject
    dy: np.ndarray
    precision: Precision
    seed: int
    y: np.ndarray
    claimed: Arrays

    def __init__(
        self, subject: Subject, dy: np.ndarray, precision: Precision, seed: int, noise: float | None = None
    ) -> None:
        self.subject, self.dy, self.precision, self.seed = subject, dy, precision, seed
        self.y, self.claimed = subject.evaluate(), subject.gradients(dy)
        self.around: Surroundings = Surroundings(subject, dy, seed)
        self.loss: Loss = Loss(subject.evaluate, dy, self.y, self._noise() if noise is None else noise)
        self._beside: dict[int, Comparison] = {}
        self._complex: dict[str, bool] = {}  # by array: whether the complex step can be believed

    def check_array(self, name: str, entries: int, directions: int, rng: np.random.Generator) -> ArrayReport:
        """Compare every entry; of a large array random directions and `entries` entries."""
        array, gradient = self.subject.arrays[name], self.claimed[name]
        report = ArrayReport(name, array.shape, tolerance=self.precision.tolerance)
        for index in np.argwhere(~np.isfinite(gradient))[:1]:  # wrong, whatever forward does
            report.compare(tuple(map(int, index)), gradient[tuple(index)], 0.0)
        report.sampled = array.size > entries
        typical = float(np.linalg.norm(gradient)) / np.sqrt(max(1, array.size))
        typical = typical if np.isfinite(typical) else 0.0
        random = random_directions(array.shape, directions if report.sampled else 0, rng)
        for line in chain(random, even_directions(array, rng)):
            report.directions += self._compare(report, line, typical) == "compared"
            if report.wrong_along_directions:
                break
        if report.sampled and report.wrong_along_directions:
            self._localise(report, rng)
        self._compare_entries(report, entries, rng)
        if report.largest == 0 or (report.compared == 0 and report.kinks == 0):
            report.unused = self._has_no_influence(name, rng)
        return report

    def _compare_entries(self, report: ArrayReport, entries: int, rng: np.random.Generator) -> None:
        """Every entry, or a sample; for entries that cannot be compared others, up to a limit."""
        array, gradient = self.subject.arrays[report.name], self.claimed[report.name]
        finite = np.abs(gradient[np.isfinite(gradient)])
        floor = self.precision.floor * float(finite.max(initial=0.0))
        places = sample(gradient, 20 * entries, rng) if report.sampled else range(array.size)
        for k in places:
            if report.sampled and (
                report.compared == entries or (report.tried >= 2 * entries and report.decided)
            ):
                break
            line = Entry(tuple(int(i) for i in np.unravel_index(k, array.shape)))
            report.count(self._compare(report, line, floor))

    def _compare(self, report: ArrayReport, line: Entry | Direction, floor: float) -> str:
        """ "compared", or why not: "kink", "rounding" or "unclear"."""
        claimed = line.of(self.claimed[report.name])
        if not np.isfinite(claimed):
            return "compared"  # it was wrong without a comparison
        slope = self._slope(report.name, line, floor, claimed)
        size = max(abs(claimed), abs(slope.low), abs(slope.high), floor)
        allowed = self.precision.tolerance * size + slope.rounding
        if slope.kind == "smooth":
            if self._is_between_claims(report.name, line, claimed, slope.numerical, allowed):
                return "kink"
            report.compare(line.where, claimed, slope.numerical, floor, slope.rounding)
            return "compared"
        if slope.kind == "rounding" and (exact := self._by_complex_step(report.name, line)) is not None:
            rounding = self.loss.noise * float(np.linalg.norm(self.dy * self.y))
            if rounding <= SEEN * self.precision.tolerance * max(abs(exact), floor):
                report.compare(line.where, claimed, exact, floor, rounding)
                return "compared"
        if slope.kind == "kink" and not slope.low - allowed <= claimed <= slope.high + allowed:
            if is_possible(claimed, slope, allowed, *line.bounds(self.around.claims(report.name))):
                self._compare_beside(report, line, floor)
            else:
                nearest = min(max(claimed, slope.low), slope.high)
                report.compare(line.where, claimed, nearest, floor, slope.rounding)
        return slope.kind

    def _is_between_claims(
        self, name: str, line: Entry | Direction, claimed: float, numerical: float, allowed: float
    ) -> bool:
        """Whether kinks meet here that cancel along a line, as in a median of equal numbers.

        There is a slope then, and backward may still have chosen sides that give another one. What it claims
        around the point tells: it lies on either side of both.
        """
        if abs(claimed - numerical) <= allowed:
            return False
        low, high = line.range_around(self.around, name)
        return low - allowed <= min(claimed, numerical) <= max(claimed, numerical) <= high + allowed and (
            high - low > SAME * max(abs(low), abs(high))
        )

    def _compare_beside(self, report: ArrayReport, line: Entry | Direction, floor: float) -> None:
        """Compare at points nearby, where the kink is left behind.

        Where thousands of kinks are near, another one may lie closer to a point than any step. So a claim is
        wrong only if it is wrong at all of these points.
        """
        arrays, first = self.subject.arrays, None
        for k in range(BESIDES):
            rng = np.random.default_rng([self.seed, k])
            found = ArrayReport(report.name, report.shape, tolerance=report.tolerance)
            # Outside the domain of forward there is nothing to compare.
            with suppress(OutsideDomain), shaken(arrays, amplitudes(arrays, BESIDE), rng):
                if k not in self._beside:  # always the same points
                    self._beside[k] = Comparison(
                        self.subject, self.dy, self.precision, self.seed, self.loss.noise
                    )
                beside = self._beside[k]
                claimed = line.of(beside.claimed[report.name])
                slope = beside._slope(report.name, line, floor, claimed)
                if slope.kind != "smooth":
                    continue
                found.compare(line.where, claimed, slope.numerical, floor, slope.rounding)
                first = first or (claimed, slope)
                if found.error <= report.tolerance:
                    first = claimed, slope
                    break
        if first is not None:
            claimed, slope = first
            report.compare(line.where, claimed, slope.numerical, floor, slope.rounding)

    def _slope(self, name: str, line: Entry | Direction, floor: float, claimed: float) -> Slope:
        array = self.subject.arrays[name]
        along = Line(self.loss, line.mover(array), line.moving(array, self.claimed[name]))
        step = self.precision.step * line.size(array)
        return along.slope(step, floor, self.precision.tolerance, claimed)

    def _by_complex_step(self, name: str, line: Entry | Direction) -> float | None:
        """The slope along a line by a complex step, if it gives the right one along a random direction."""
        array, evaluate = self.subject.arrays[name], self.subject.evaluate_complex
        if name not in self._complex:
            rng = np.random.default_rng(self.seed)
            probe = next(random_directions(array.shape, 1, rng))
            found = complex_slope(evaluate, name, probe.v, self.dy, self.y)
            self._complex[name] = False
            if found is not None:
                seen = self._slope(name, probe, 0.0, found)
                off = abs(seen.numerical - found)
                agree = off <= self.precision.tolerance * abs(found) + seen.rounding <= AGREE * abs(found)
                self._complex[name] = agree and seen.kind in ("smooth", "rounding")
        if not self._complex[name]:
            return None
        return complex_slope(evaluate, name, line.vector(array), self.dy, self.y)

    # --- what is wrong along a direction ---------------------------------------------------------

    def _localise(self, report: ArrayReport, rng: np.random.Generator) -> None:
        """Find an entry in which a gradient is wrong that is wrong along a direction, by halving.

        Of the entries that are left, the half along which the error is larger is kept.
        """
        shape, flat = report.shape, np.arange(int(np.prod(report.shape)))
        while flat.size > 1:
            halves = flat[: flat.size // 2], flat[flat.size // 2 :]
            errors = [self._error_among(report.name, half, rng) for half in halves]
            flat = halves[int(errors[1] > errors[0])]
        where = tuple(int(i) for i in np.unravel_index(int(flat[0]), shape))
        found = ArrayReport(report.name, shape, tolerance=report.tolerance)
        floor = self.precision.floor * float(np.max(np.abs(self.claimed[report.name])))
        self._compare(found, Entry(where), floor)
        if found.verdict == "WRONG":
            report.error, report.where = found.error, where
            report.analytic, report.numerical = found.analytic, found.numerical

    def _error_among(self, name: str, flat: np.ndarray, rng: np.random.Generator) -> float:
        """The error along a random direction that changes these entries only."""
        v = np.zeros(self.subject.arrays[name].shape)
        v.flat[flat] = rng.standard_normal(flat.size)
        line = Direction.of_length_1("", v)
        array, claimed = self.subject.arrays[name], line.of(self.claimed[name])
        step = self.precision.step * line.size(array) / 10
        found = Line(self.loss, line.mover(array)).difference(step, claimed)
        error = 0.0 if found is None else max(abs(claimed - found.central) - found.rounding, 0.0)
        return error * float(np.sqrt(flat.size))

    # --- what cannot be seen ---------------------------------------------------------------------

    def _noise(self) -> float:
        """The uncertainty of an entry of the output that a difference must exceed, relative to its size."""
        before = {name: array.copy() for name, array in self.subject.arrays.items()}
        rng = np.random.default_rng(self.seed)
        v = {name: rng.standard_normal(a.shape) for name, a in before.items()}
        sizes = {name: np.abs(a) for name, a in before.items()}
        least = MOVED * self.precision.epsilon  # or the value would not move at all

        def loss_at(t: float) -> float:
            for name, array in self.subject.arrays.items():
                np.clip(sizes[name], None, 1, out=array)
                array *= t
                np.maximum(array, least * sizes[name], out=array, casting="same_kind")
                array *= v[name]
                array += before[name]
            return float(np.sum(self.dy * self.subject.evaluate()))

        size = float(np.linalg.norm(self.dy * self.y))
        try:
            measured = measured_noise(loss_at, self.precision.step / FLOAT64.step)
        except (OutsideDomain, ArithmeticError, np.linalg.LinAlgError):
            measured = 0.0
        finally:
            for name, array in self.subject.arrays.items():
                array[...] = before[name]
        return ROUNDING * max(self.precision.epsilon, measured / size if size else 0.0)

    def _has_no_influence(self, name: str, rng: np.random.Generator) -> bool:
        """Whether the output stays what it is, up to rounding, for quite other values of an array."""
        array, gradient = self.subject.arrays[name], self.claimed[name]
        if not self.dy.any():
            return False  # nothing has any
        before, tried = array.copy(), 0
        size = self.loss.noise * float(np.linalg.norm(self.dy * self.y))
        try:
            for scale in (0.1, 1.0, 10.0):
                array[...] = rng.standard_normal(array.shape) * scale * np.maximum(1, np.abs(before))
                with suppress(OutsideDomain, ArithmeticError, np.linalg.LinAlgError):
                    y = self.subject.evaluate()
                    tried += 1
                    whole = (1 + scale) * size + self.loss.noise * float(np.linalg.norm(self.dy * y))
                    moved = float(np.linalg.norm(self.dy * (y - self.y)))
                    claimed = float(np.linalg.norm(gradient * (array - before)))
                    if not (moved <= whole and claimed <= whole):
                        return False
        finally:
            array[...] = before
        return tried > 0
