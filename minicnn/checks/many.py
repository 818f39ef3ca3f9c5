"""One gradient check at many random shapes and values, and the smallest that fails.

A backward is often right at the shape it was written for: wrong only for a batch of one, for odd sizes, for
images that are not square, or where values are equal.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minicnn.checks.gradcheck import gradient_check
from minicnn.checks.report import GradientError, GradientReport


@dataclass
class ManyReport:
    """How many of the checks came out how, and the smallest wrong one with its arguments, if any is wrong."""

    verdicts: Counter[str] = field(default_factory=Counter)
    smallest: GradientReport | None = None
    arguments: tuple[Any, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether some gradient is wrong."""
        return self.smallest is not None

    @property
    def ok(self) -> bool:
        """Whether none is wrong and most are ok: the others were open, on kinks for example."""
        return not self.wrong and self.verdicts["ok"] > self.verdicts["UNDECIDED"]

    def assert_ok(self) -> None:
        """Raise GradientError, an AssertionError with the report, unless `ok`."""
        if not self.ok:
            raise GradientError(f"\n{self}")

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.most_common())
        if self.smallest is None:
            return f"gradient checks: {counts}"
        return f"gradient checks: {counts}; the smallest that is wrong:\n{self.smallest}"


class _Wrong(Exception):  # noqa: N818
    pass


def gradient_check_many(
    subject: Any,
    *shapes: Any,
    examples: int = 100,
    kinds: Sequence[str] | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    **options: Any,
) -> ManyReport:
    """`gradient_check` of a subject at `examples` random arguments; a wrong one is made as small as possible.

        gradient_check_many((dense_forward, dense_backward), "N D", "D M", "M").assert_ok()

    `shapes`, `kinds` and `sizes` are those of `minicnn.strategies.arguments`; `options` are those of
    `gradient_check`. The same call tries the same arguments. Needs Hypothesis. Arguments that forward refuses
    with ValueError are passed over, if it accepts some; otherwise that error is raised.
    """
    from minicnn.checks.strategies import VALUES, arguments  # isort: skip (it says what is missing)
    from hypothesis import HealthCheck, assume, given, settings
    from hypothesis.errors import Unsatisfiable

    forward = subject[0] if isinstance(subject, tuple) else subject.forward
    report = ManyReport()
    refused: list[ValueError] = []

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(arguments(*shapes, kinds=tuple(kinds or VALUES), sizes=sizes))
    def check(drawn: tuple[Any, ...]) -> None:
        try:
            forward(*copy.deepcopy(drawn))
        except ValueError as error:
            refused.append(error)
            assume(False)
        found = gradient_check(subject, *drawn, **options)
        if report.smallest is None:  # from then on it is made smaller
            report.verdicts[found.verdict.split(":")[0]] += 1
        if found.wrong:
            report.smallest, report.arguments = found, drawn
            raise _Wrong

    try:
        check()
    except _Wrong:
        pass
    except Unsatisfiable:
        pass
    if not report.verdicts and refused:
        raise refused[-1]
    return report
