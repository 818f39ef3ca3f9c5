"""What `minicnn learn check` prints: the eight exercises, and the first that does not pass in full.

Each line has a style: "good", "bad", "dim", "bold" or none. Who prints it decides what becomes of that.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from minicnn.learn.exercises import EXERCISES, FILE
from minicnn.learn.findings import Finding
from minicnn.learn.messages import Messages
from minicnn.learn.sessions import Outcome

WIDTH = 92  # columns of text, besides the indentation
INDENT = "    "
SIGNS: dict[str, str] = {"passed": "✓", "wrong": "✗", "other": "·"}
PLAIN_SIGNS: dict[str, str] = {"passed": "+", "wrong": "x", "other": "."}


@dataclass(frozen=True)
class Line:
    """A line to print."""

    text: str
    style: str = ""


def board(
    outcomes: Mapping[str, Outcome], messages: Messages, hint: int, command: Callable[..., str], signs: bool
) -> list[Line]:
    """All lines. `hint` is 1 to 3; `command("check", "--hint", "2")` is a command as the user would type it.

    With `signs`, passed exercises have a check mark that ASCII does not have.
    """
    if "import" in outcomes:
        finding = outcomes["import"].finding
        assert finding is not None
        return [Line(f"{FILE}: {problem(finding, messages)}", "bad"), *_details(outcomes["import"], messages)]
    passed = sum(outcome.status == "passed" for outcome in outcomes.values())
    lines = [Line(messages("board", file=FILE, passed=passed, total=len(EXERCISES)), "bold"), Line("")]
    first = next((k for k, e in enumerate(EXERCISES) if outcomes[e.name].status != "passed"), None)
    lines += _rows(outcomes, messages, first, SIGNS if signs else PLAIN_SIGNS)
    lines.append(Line(""))
    if first is None:
        return [*lines, *_wrapped(messages("all_pass", command=command("train")), "")]
    outcome, name, number = outcomes[EXERCISES[first].name], EXERCISES[first].name, first + 1
    if outcome.finding is None:
        text = messages("to_do", number=number, name=messages(name), function=outcome.function)
        lines += _wrapped(text, "")
    else:
        text = problem(outcome.finding, messages)
        headline = messages("exercise", number=number, name=messages(name), problem=text)
        lines += [Line(line.text, "bad") for line in _wrapped(headline, "")]
    return [*lines, *_details(outcome, messages), *_hints(name, messages, hint, command)]


def problem(finding: Finding, messages: Messages) -> str:
    """What is wrong, in a sentence."""
    one = finding.key == "values" and finding.values.get("size") == "1"
    return messages("values_1" if one else finding.key, **finding.values)


def _rows(
    outcomes: Mapping[str, Outcome], messages: Messages, first: int | None, signs: Mapping[str, str]
) -> list[Line]:
    width = max(map(columns, (messages(e.name) for e in EXERCISES)))
    numbers = {e.name: k for k, e in enumerate(EXERCISES, start=1)}
    lines = []
    for k, exercise in enumerate(EXERCISES):
        outcome = outcomes[exercise.name]
        status = "next" if k == first and outcome.status == "not_started" else outcome.status
        needed = next((numbers[n] for n in exercise.needs if outcomes[n].status != "passed"), 0)
        text = messages(status, function=outcome.function, number=needed)
        name = messages(exercise.name)
        sign = signs.get(outcome.status, signs["other"])
        style = {"passed": "good", "wrong": "bad"}.get(outcome.status, "" if k == first else "dim")
        lines.append(Line(f"  {sign} {k + 1}  {name}{' ' * (width - columns(name))}   {text}", style))
    return lines


def _details(outcome: Outcome, messages: Messages) -> list[Line]:
    """Where it happened, the mistake that explains it, the example, and what the learner's code printed."""
    lines: list[Line] = []
    finding = outcome.finding
    if finding is not None:
        if finding.values.get("where"):
            lines.append(Line(INDENT + messages("raised_where", where=finding.values["where"])))
        if finding.key == "raised":
            lines += _wrapped(messages("raised_arguments", arguments=finding.values["arguments"]))
        if finding.mistake:
            lines += _wrapped(messages(finding.mistake))
        if finding.diagnosis:
            end = "" if finding.diagnosis.endswith("?") else "."
            lines += _wrapped(messages("diagnosis", diagnosis=finding.diagnosis.rstrip(".") + end))
        lines += _example(finding, messages)
    if outcome.printed:
        lines += [Line(""), Line(messages("printed"))]
        shown = outcome.printed.splitlines()
        lines += [Line(f"{INDENT}{line}", "dim") for line in shown[:10]]
        lines += [Line(f"{INDENT}{messages('cut')}", "dim")] if len(shown) > 10 else []
    return lines


def _example(finding: Finding, messages: Messages) -> list[Line]:
    labels = [messages(label) if label in messages else label for label, _ in finding.shown]
    width = max(map(columns, labels), default=0)
    lines = [Line("")] if labels else []
    for label, (_, text) in zip(labels, finding.shown, strict=True):
        for k, row in enumerate(text.splitlines() or [""]):
            head = label if k == 0 else ""
            lines.append(Line(f"{INDENT}{head}{' ' * (width - columns(head))}  {row}"))
    return lines


def _hints(name: str, messages: Messages, hint: int, command: Callable[..., str]) -> list[Line]:
    lines = [Line(""), *_wrapped(messages("hint", hint=messages(f"hint_{name}_{hint}")), "")]
    if f"hint_{name}_{hint + 1}" in messages:
        stronger = ("--hint",) if hint == 1 else ("--hint", str(hint + 1))
        lines.append(Line(messages("more_hints", command=command("check", *stronger)), "dim"))
    return lines


def _wrapped(text: str, indent: str = INDENT) -> list[Line]:
    if columns(text) > len(text):  # Chinese has no spaces to break at: the terminal breaks it
        return [Line(indent + text)]
    return [Line(indent + line) for line in textwrap.wrap(text, WIDTH, break_long_words=False)]


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
