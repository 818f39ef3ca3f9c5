"""Comparing what the learner's functions return with what they should.

    compare           results against the reference, case by case; a known mistake that explains them is named
    gradients         the backward pass against finite differences (`minicnn.gradient_check`)
    compare_backward  both, for a backward pass

All of them raise `Wrong`, or `NotStarted`, at the first thing that is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minicnn.learn.findings import NotStarted, Wrong, as_text, described, number, shape_of
from minicnn.learn.learner import Learner

Array = np.ndarray
Arguments = tuple[Any, ...]
Results = dict[str, Any]  # by name: y, dx, dw, ...
DOUBLE, SINGLE = 1e-9, 1e-4  # of the largest entry expected: sums in another order differ by so much


@dataclass(frozen=True)
class Subject:
    """One computation: what the learner's functions make of some arguments, and what it should be.

    `mistakes` are what people usually get wrong: by the name of its message, the result it concerns and how
    it comes about. They are compared on all cases.
    """

    function: str  # the one that is judged
    learners: Callable[[Learner, Arguments], Results]
    reference: Callable[..., Results]
    mistakes: Mapping[str, tuple[str, Callable[..., Any]]]
    arguments: tuple[str, ...]  # their names


def compare(learner: Learner, subject: Subject, cases: Sequence[Arguments]) -> None:
    """The learner's results for each case against the reference. Raises Wrong for the first that differs.

    The first case is an example to follow by hand: its arguments are shown.
    """
    for k, case in enumerate(cases):
        expected = subject.reference(*case)
        found = subject.learners(learner, copy.deepcopy(case))
        wrong = _difference(subject, found, expected, tolerance(case))
        if wrong is None:
            continue
        name = wrong.finding.values.get("result", "")
        explained = _mistake(learner, subject, cases, name)
        shown = wrong.finding.shown
        given = zip(subject.arguments, case, strict=False)
        if k == 0 or sum(np.size(a) for a in case) <= 20:
            shown = [(f"{n} =", as_text(a)) for n, a in given] + shown
        else:
            shown = [("called_with", ", ".join(f"{n} {described(a)}" for n, a in given)), *shown]
        wrong.finding = replace(wrong.finding, mistake=explained or wrong.finding.mistake, shown=shown)
        raise wrong


def _difference(subject: Subject, found: Results, expected: Results, relative: float) -> Wrong | None:
    """The first result that is not as expected."""
    if len(found) > 1 and not any(value is None for value in found.values()):
        shapes = [np.shape(value) for value in found.values()]
        wanted = [np.shape(value) for value in expected.values()]
        if shapes != wanted and sorted(map(str, shapes)) == sorted(map(str, wanted)):
            names = ", ".join(expected)
            return Wrong("order", function=subject.function, expected=names)
    for name, right in expected.items():
        got = found[name]
        what: dict[str, Any] = {"function": subject.function, "result": name}
        if got is None:
            return Wrong("nothing_in", **what)
        if not isinstance(got, np.ndarray | np.generic | float | int):
            return Wrong("not_an_array", **what, found=described(got))
        if np.shape(got) != np.shape(right):
            key = "reshaped" if alike(np.ravel(got), np.ravel(right), relative) else ""
            return Wrong("shape", mistake=key, **what, expected=shape_of(right), found=shape_of(got))
        if isinstance(right, np.ndarray) and np.asarray(got).dtype != right.dtype:
            return Wrong("dtype", **what, expected=right.dtype, found=np.asarray(got).dtype)
        if not alike(got, right, relative):
            return _wrong_values(what, np.asarray(got), np.asarray(right), relative)
    return None


def alike(got: Any, right: Any, relative: float = DOUBLE) -> bool:
    """Whether two results are equal, but for a part `relative` of the largest entry that is expected."""
    got, right = np.asarray(got), np.asarray(right)
    return got.shape == right.shape and not _bad(got, right, relative).any()


def _bad(got: Array, right: Array, relative: float) -> Array:
    """Which entries differ."""
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=0))
    with np.errstate(all="ignore"):
        return np.asarray(~np.isclose(got, right, rtol=relative, atol=relative * scale, equal_nan=True))


def tolerance(value: Any) -> float:
    """How far results may be off that are computed from these arguments: more, if one is float32."""
    if isinstance(value, tuple | list):
        return max(map(tolerance, value), default=DOUBLE)
    return SINGLE if isinstance(value, np.ndarray) and value.dtype == np.float32 else DOUBLE


def _wrong_values(what: dict[str, str], got: Array, right: Array, relative: float) -> Wrong:
    bad = _bad(got, right, relative)
    where = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
    place = f"{what['result']}[{', '.join(map(str, where))}]"
    rounded = "rounded" if alike(got, right, SINGLE) else ""
    if right.size <= 20 and not rounded:
        shown = [("expected", as_text(right)), ("found", as_text(got))]
    elif len(right.shape) > 1 and len(right) == 1 and 1 < right.shape[-1] <= 27 and not rounded:
        row = f"{what['result']}[{', '.join(map(str, where[:-1]))}]"  # of one image, or of patches of one
        shown = [("at", row), ("expected", as_text(right, where)), ("found", as_text(got, where))]
    else:
        digits = 12 if rounded else 5
        shown = [("at", place)] if where else []
        shown += [("expected", number(right[where], digits)), ("found", number(got[where], digits))]
    return Wrong("values", mistake=rounded, **what, count=int(bad.sum()), size=int(bad.size), shown=shown)


def _mistake(learner: Learner, subject: Subject, cases: Sequence[Arguments], name: str) -> str:
    """The message of the mistake that explains a result in all cases; "" if none does."""
    found = []
    for case in cases:
        try:
            found.append((case, np.asarray(subject.learners(learner, copy.deepcopy(case))[name])))
        except (Wrong, NotStarted, KeyError, TypeError, ValueError):
            continue
    for key, (result, mistaken) in subject.mistakes.items():
        if result != name:
            continue
        same = {_is(mistaken, case, got) for case, got in found}
        if True in same and False not in same:
            return key
    return ""


def _is(mistaken: Callable[..., Any], case: Arguments, got: Array) -> bool | None:
    """Whether a mistake gives this result; None if it gives none at all."""
    with np.errstate(all="ignore"):
        try:
            return alike(got, mistaken(*copy.deepcopy(case)), tolerance(case))
        except (ValueError, IndexError, ZeroDivisionError):
            return None


def compare_backward(
    learner: Learner,
    subject: Subject,
    cases: Sequence[Arguments],
    forward: Any,
    backward: Any,
    *arguments: Any,
) -> None:
    """Compare a backward pass, case by case, then check its gradient at the arguments. Raises Wrong."""
    try:
        compare(learner, subject, cases)
    except Wrong as wrong:
        raise diagnosed(wrong, forward, backward, *arguments) from None
    gradients(subject.function, forward, backward, *arguments)


def gradients(function: str, forward: Any, backward: Any, *arguments: Any) -> None:
    """Raise Wrong, with the diagnosis of the gradient check, if backward is not the derivative of forward."""
    from minicnn.checks.gradcheck import gradient_check

    try:
        report = gradient_check((forward, backward), *arguments)
    except ValueError as error:
        raise Wrong("gradient_failed", function=function, error=str(error).split("\n")[0]) from error
    for array in report.arrays:
        if array.verdict == "WRONG":
            where = array.where if isinstance(array.where, str) else str(list(array.where))
            shown = [
                ("at", f"d{array.name}{where}"),
                ("backward_says", number(array.analytic)),
                ("differences_say", number(array.numerical)),
            ]
            wrong = Wrong("gradient", function=function, result=f"d{array.name}", shown=shown)
            wrong.finding = replace(wrong.finding, diagnosis=array.diagnosis)
            raise wrong


def diagnosed(wrong: Wrong, forward: Any, backward: Any, *arguments: Any) -> Wrong:
    """The same, with what the gradient check says about the result that is wrong."""
    from minicnn.checks.gradcheck import gradient_check

    name = wrong.finding.values.get("result", "")
    if wrong.finding.key != "values" or wrong.finding.mistake:
        return wrong
    try:
        report = gradient_check((forward, backward), *arguments)
        text = next(a.diagnosis for a in report.arrays if f"d{a.name}" == name)
    except Exception:  # the diagnosis is an extra: what is wrong is known already
        return wrong
    wrong.finding = replace(wrong.finding, diagnosis=text)
    return wrong
