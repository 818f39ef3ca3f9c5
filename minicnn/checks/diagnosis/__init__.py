"""What is wrong with a wrong gradient: what people usually get wrong, tried one after the other.

    evidence.py    the true gradient, output by output
    whole.py       zero, a factor, a sign, transposed, shifted, exchanged, another upstream gradient
    terms.py       a missing or doubled term, a sum over other axes, a factor of each channel
    places.py      a border, ties, one input, a mask, what overlaps

A diagnosis is given only if it explains every entry that was looked at. It is a hint: the verdict does not
depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.functions import argument_names
from minicnn.checks.diagnosis import places, terms, whole
from minicnn.checks.diagnosis.evidence import Evidence, Settings, look
from minicnn.checks.report import ArrayReport, called
from minicnn.checks.subject import Subject

Rule = Callable[[Evidence], str | None]
# The most special first: what explains a gradient in fewer words.
RULES: tuple[Rule, ...] = (
    whole.not_used,
    whole.zero,
    places.ties,
    whole.factor,
    whole.swapped,
    whole.upstream,
    terms.wrong_axis,
    terms.of_each,
    terms.known_term,
    terms.at_labels,
    places.dead_outputs,
    places.left_out,
    places.overwritten,
    places.mask,
    whole.reordered,
    places.window_share,
    terms.group_term,
    places.located,
    whole.other_values,
)
NUMBERS = 40  # settings of a layer that are looked at


def diagnose(subject: Subject, dy: np.ndarray, reports: Collection[ArrayReport], settings: Settings) -> None:
    """Enter in the report of each wrong array what is probably wrong with its gradient."""
    wrong = [report.name for report in reports if report.verdict == "WRONG"]
    if not wrong:
        return
    y, claimed = subject.evaluate(), subject.gradients(dy)
    found = {name: look(subject, name, dy, y, claimed, settings) for name in subject.arrays if name in wrong}
    known = {name: evidence for name, evidence in found.items() if evidence is not None}
    for evidence in known.values():
        evidence.others = known
    for report in reports:
        if report.name in known:
            report.diagnosis = explain(known[report.name]) or ""


def explain(e: Evidence) -> str | None:
    """The first rule that explains the gradient: "your dw equals 50 times the true one, ..."."""
    if (text := whole.not_finite(e)) is not None:
        return f"your {called(e.name)} {text}"
    if not e.wrong.any() and not len(e.kinks):
        return None
    with np.errstate(all="ignore"):
        for rule in RULES:
            if (text := rule(e)) is not None:
                return f"your {called(e.name)} {text}"
    return None


def settings_of(subject: Any, inputs: Sequence[Any]) -> Settings:
    """Numbers and integers among arguments, entries of dictionaries and attributes of an object."""
    function = subject[0] if isinstance(subject, tuple) and subject else getattr(subject, "forward", subject)
    names = argument_names(function, len(inputs)) if callable(function) else [""] * len(inputs)
    numbers = dict(list(_numbers([*zip(names, inputs, strict=False), ("", subject)]))[:NUMBERS])
    return Settings(numbers, [a for a in inputs if isinstance(a, np.ndarray) and a.dtype.kind in "iu"])


def _numbers(named: list[tuple[str, Any]]) -> Iterator[tuple[str, float]]:
    for name, value in named:
        if isinstance(value, bool):
            continue
        if isinstance(value, float | int | np.floating | np.integer):
            if math.isfinite(value) and value not in (0, 1):
                yield name, float(value)
        elif isinstance(value, dict):
            yield from _numbers([(str(key), part) for key, part in value.items()])
        elif hasattr(value, "__dict__") and not callable(value):
            yield from _numbers(
                [(key, part) for key, part in vars(value).items() if isinstance(part, float | int)]
            )
