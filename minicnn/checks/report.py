"""The outcome of a gradient check: a table with a row for each array, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minicnn.checks.constants import ENOUGH, FLOAT64

# In the order in which they count.
MEANINGS = {
    "WRONG": "WRONG: backward is not the derivative of forward for {}",
    "kinks": "UNDECIDED: almost all entries of {} lie on a kink or tie, where there is no derivative; "
    "check at other values",
    "rounding": "UNDECIDED: the gradient of {} is so small that the rounding of the output hides it; "
    "check at other values",
    "unclear": "UNDECIDED: the finite differences of {} settle at no step; check at other values",
    "zero": "UNDECIDED: the gradient of {} is zero everywhere, so nothing was tested; check at other values",
}


class GradientError(AssertionError):
    """Raised by `GradientReport.assert_ok`; its message is the whole report."""


@dataclass
class ArrayReport:
    """How the gradient of one array, an input or a parameter, compares with the numerical gradient.

    error is the largest relative error, found at the entry (or random direction) `where`; there backward
    returned `analytic`, and the finite difference is `numerical`.
    """

    name: str
    shape: tuple[int, ...]
    compared: int = 0  # entries
    kinks: int = 0  # entries not compared because they lie on a kink or tie
    rounding: int = 0  # because rounding would hide an error
    unclear: int = 0  # because finite differences settle at no step
    directions: int = 0  # directions compared
    error: float = 0.0
    where: tuple[int, ...] | str = ()
    analytic: float = 0.0
    numerical: float = 0.0
    largest: float = 0.0  # of all |analytic| and |numerical| of entries compared
    sampled: bool = False  # only a sample of its entries was tried, besides directions
    unused: bool = False  # forward does not depend on it, and its gradient is 0
    tolerance: float = field(default=FLOAT64.tolerance, repr=False)
    diagnosis: str = ""  # what is probably wrong: "your dw equals 50 times the true one, ..."

    @property
    def tried(self) -> int:
        """How many entries were looked at."""
        return self.compared + self.kinks + self.rounding + self.unclear

    @property
    def decided(self) -> bool:
        """Whether enough was compared for a verdict: entries, or, of a sampled array, a direction."""
        return self.compared >= max(1, ENOUGH * self.tried) or (self.sampled and self.directions > 0)

    @property
    def verdict(self) -> str:
        """One of "ok", "WRONG", "zero" (nothing was tested), or why too few entries were left for a verdict.

        That is the most frequent of "kinks", "rounding" and "unclear".
        """
        if not self.error <= self.tolerance:  # so that NaN is wrong
            return "WRONG"
        if self.unused:
            return "ok"
        if not self.decided:
            return max(("kinks", "rounding", "unclear"), key=lambda reason: getattr(self, reason))
        return "ok" if self.largest > 0 else "zero"

    @property
    def wrong_along_directions(self) -> bool:
        """Whether the largest error was found along a direction, and is one."""
        return self.verdict == "WRONG" and isinstance(self.where, str)

    def count(self, outcome: str) -> None:
        """Count an entry: "compared", or why not: "kink", "rounding", "unclear"."""
        counter = "kinks" if outcome == "kink" else outcome
        setattr(self, counter, getattr(self, counter) + 1)

    def compare(
        self,
        where: tuple[int, ...] | str,
        analytic: float,
        numerical: float,
        floor: float = 0.0,
        rounding: float = 0.0,
    ) -> None:
        """Add a pair of numbers; a difference of up to `rounding` counts as within the tolerance."""
        analytic, numerical = float(analytic), float(numerical)  # NumPy's would warn of infinity
        size = max(abs(analytic), abs(numerical))
        scale = float(max(size, floor) + rounding / self.tolerance)
        error = abs(analytic - numerical) / scale if size != 0 else 0.0
        if self.where == () or not (error <= self.error or np.isnan(self.error)):
            self.error, self.where = error, where
            self.analytic, self.numerical = analytic, numerical
        if not isinstance(where, str):
            self.largest = max(self.largest, size)


@dataclass
class GradientReport:
    """The outcome of a gradient check: one `ArrayReport` for each input and parameter, and a verdict.

    `notes` are printed below the verdict. `changed` says what calls changed that belongs to the caller; it is
    part of the verdict. `unchecked`, if not empty, says what was not looked at; then the verdict is UNDECIDED
    at best.
    """

    name: str
    arrays: list[ArrayReport]
    notes: list[str] = field(default_factory=list)
    unchecked: str = ""
    changed: list[str] = field(default_factory=list)

    @property
    def row(self) -> str:
        """What a table has for this check: arrays, compared, kinks, error and the verdict in a word."""
        compared = sum(a.compared + a.directions for a in self.arrays)
        verdict = self.verdict.split(":")[0]
        return f"{len(self.arrays):<6}  {compared:<8}  {self.kinks:<5}  {self.error:.1e}  {verdict}"

    @property
    def ok(self) -> bool:
        """Whether every gradient was tested and is correct."""
        return not self.unchecked and all(array.verdict == "ok" for array in self.arrays)

    @property
    def wrong(self) -> bool:
        """Whether some gradient is wrong. If neither ok nor wrong, some could not be decided."""
        return any(array.verdict == "WRONG" for array in self.arrays)

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return float(np.max([array.error for array in self.arrays]))  # a NaN is the largest

    @property
    def kinks(self) -> int:
        """How many entries were not compared because they lie on a kink or tie."""
        return sum(array.kinks for array in self.arrays)

    @property
    def open(self) -> int:
        """How many entries were tried and not compared, for any reason."""
        return sum(array.tried - array.compared for array in self.arrays)

    def __getitem__(self, name: str) -> ArrayReport:
        """The report on the array called `name`. Raises KeyError if there is none."""
        for array in self.arrays:
            if array.name == name:
                return array
        raise KeyError(f"{name!r}: expected one of {[array.name for array in self.arrays]}")

    def assert_ok(self) -> None:
        """Raise GradientError, an AssertionError with the whole report, unless every gradient is correct."""
        if not self.ok:
            raise GradientError(f"\n{self}")

    @property
    def verdict(self) -> str:
        """One line: "ok: ...", "WRONG: ..." or "UNDECIDED: ...", and what calls changed."""
        return "; ".join([self._verdict_on_gradients(), *self.changed])

    def _verdict_on_gradients(self) -> str:
        for verdict, meaning in MEANINGS.items():
            if names := ", ".join(a.name for a in self.arrays if a.verdict == verdict):
                return meaning.format(names)
        if self.unchecked:
            return f"UNDECIDED: {self.unchecked}"
        return f"ok: largest relative error {self.error:.1e}"

    @property
    def diagnoses(self) -> list[str]:
        """What is probably wrong, a line each; what is the same for several arrays once."""
        names: dict[str, list[str]] = {}
        for a in self.arrays:
            if a.diagnosis:
                name = called(a.name)
                names.setdefault(a.diagnosis.removeprefix(f"your {name} "), []).append(name)
        return [
            f"your {found[0]} {text}" if len(found) == 1 else f"each of your {', '.join(found)} {text}"
            for text, found in names.items()
        ]

    def __str__(self) -> str:
        reasons = [r for r in ("kinks", "rounding", "unclear") if r == "kinks" or self._any(r)]
        rows = [("array", "shape", "compared", *reasons, "error", "at", "backward", "numerical", "")]
        for a in self.arrays:
            total = int(np.prod(a.shape))
            compared = f"{a.compared} of {total}" + (f" + {a.directions} directions" if a.directions else "")
            where = a.where if isinstance(a.where, str) else ",".join(map(str, a.where))
            numbers = (f"{a.error:.1e}", where, f"{a.analytic:.8g}", f"{a.numerical:.8g}")
            shape = "x".join(map(str, a.shape)) or "number"
            rows.append(
                (a.name, shape, compared, *(str(getattr(a, r)) for r in reasons), *numbers, a.verdict)
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"gradient check of {self.name}"]
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        unused = [f"note: the output does not depend on {a.name}" for a in self.arrays if a.unused]
        return "\n".join([*lines, self.verdict, *self.diagnoses, *self.notes, *unused])

    def _any(self, reason: str) -> bool:
        return any(getattr(a, reason) for a in self.arrays)


def called(name: str) -> str:
    """What the reader calls the gradient of an array: dw, or "gradient of fc1.weight"."""
    return f"d{name}" if name.isidentifier() else f"gradient of {name}"
