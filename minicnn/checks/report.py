"""The outcome of a gradient check: a table with a row for each array, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minicnn.checks.constants import ENOUGH, TOLERANCE


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
    kinks: int = 0  # entries not compared: on a kink or tie, or lost in rounding
    directions: int = 0  # random directions compared
    error: float = 0.0
    where: tuple[int, ...] | str = ()
    analytic: float = 0.0
    numerical: float = 0.0
    largest: float = 0.0  # of all |analytic| and |numerical| compared
    tolerance: float = field(default=TOLERANCE, repr=False)

    @property
    def decided(self) -> bool:
        """Whether enough entries were compared for a verdict."""
        return self.compared >= max(1, ENOUGH * (self.compared + self.kinks))

    @property
    def verdict(self) -> str:
        """One of "ok", "WRONG", "kinks" (too few entries left for a verdict), "zero" (nothing was tested)."""
        if not self.error <= self.tolerance:  # so that NaN is wrong
            return "WRONG"
        if not self.decided:
            return "kinks"
        return "ok" if self.largest > 0 else "zero"

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
        self.largest = max(self.largest, size)


@dataclass
class GradientReport:
    """The outcome of a gradient check: one `ArrayReport` for each input and parameter, and a verdict.

    `notes` are printed below the verdict. `unchecked`, if not empty, says what was not looked at; then
    the verdict is UNDECIDED at best.
    """

    name: str
    arrays: list[ArrayReport]
    notes: list[str] = field(default_factory=list)
    unchecked: str = ""

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
        """How many entries were not compared: on a kink or tie, or lost in rounding."""
        return sum(array.kinks for array in self.arrays)

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
        """One line: "ok: ...", "WRONG: ..." or "UNDECIDED: ..."."""
        named = {
            verdict: ", ".join(a.name for a in self.arrays if a.verdict == verdict)
            for verdict in ("WRONG", "kinks", "zero")
        }
        if named["WRONG"]:
            return f"WRONG: backward is not the derivative of forward for {named['WRONG']}"
        if named["kinks"]:
            return (
                f"UNDECIDED: almost all entries of {named['kinks']} lie on a kink or tie, where there is no "
                "derivative, or are lost in rounding; check at other values"
            )
        if named["zero"]:
            return (
                f"UNDECIDED: the gradient of {named['zero']} is zero everywhere, so nothing was tested; "
                "check at other values"
            )
        if self.unchecked:
            return f"UNDECIDED: {self.unchecked}"
        return f"ok: largest relative error {self.error:.1e}"

    def __str__(self) -> str:
        rows = [("array", "shape", "compared", "kinks", "error", "at", "backward", "numerical", "")]
        for a in self.arrays:
            total = int(np.prod(a.shape))
            compared = f"{a.compared} of {total}" + (f" + {a.directions} directions" if a.directions else "")
            where = a.where if isinstance(a.where, str) else ",".join(map(str, a.where))
            numbers = (f"{a.error:.1e}", where, f"{a.analytic:.8g}", f"{a.numerical:.8g}")
            shape = "x".join(map(str, a.shape)) or "number"
            rows.append((a.name, shape, compared, str(a.kinks), *numbers, a.verdict))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"gradient check of {self.name}"]
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, self.verdict, *self.notes])
