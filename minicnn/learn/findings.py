"""What is said about an exercise: which message, with which values, and a small example.

The texts are in `minicnn.learn.messages`; here are only their names. So a finding can be sent from the
process that runs the learner's code to the one that prints, and printed in any language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

SMALL = 40  # entries of an array that is shown whole


@dataclass(frozen=True)
class Finding:
    """What is wrong: a message and its values, the mistake that explains it, if one does, and an example.

    `diagnosis` is what the gradient check says. `shown` are the lines of the example: a label, which may be
    the name of a message, and a text of one line or more.
    """

    key: str
    values: dict[str, str] = field(default_factory=dict)
    mistake: str = ""
    diagnosis: str = ""
    shown: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of JSON's types."""
        return asdict(self)

    @staticmethod
    def from_json(facts: dict[str, Any]) -> Finding:
        """The way back from `to_json`."""
        shown = [(str(label), str(text)) for label, text in facts["shown"]]
        return Finding(**{**facts, "shown": shown})


class Wrong(Exception):  # noqa: N818
    """An exercise is not solved yet; `finding` says why."""

    finding: Finding

    def __init__(
        self, key: str, *, mistake: str = "", shown: Sequence[tuple[str, str]] = (), **values: Any
    ) -> None:
        super().__init__(key)
        texts = {name: str(value) for name, value in values.items()}
        self.finding = Finding(key, texts, mistake, shown=list(shown))


class NotStarted(Exception):  # noqa: N818
    """A function still raises NotImplementedError."""

    function: str

    def __init__(self, function: str) -> None:
        super().__init__(function)
        self.function = function


def as_text(array: Any, around: tuple[int, ...] | None = None) -> str:
    """An array as lines of numbers: whole if it is small, else the last axis at the index `around`.

    Axes of length 1 are left out: an image [1, 3, 3, 1] is three rows of three numbers.
    """
    array = np.asarray(array)
    if array.ndim and around is not None and array.size > SMALL:
        array = array[around[:-1]]
    if array.size > SMALL:
        return described(array)
    while array.ndim > 2 and 1 in array.shape:
        array = array.squeeze(axis=array.shape.index(1))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim > 2:
        return described(array)
    rows = np.atleast_2d(array)
    cells = [[number(entry) for entry in row] for row in rows]
    width = max((len(cell) for row in cells for cell in row), default=0)
    return "\n".join("  ".join(cell.rjust(width) for cell in row) for row in cells)


def number(value: Any, digits: int = 5) -> str:
    """A number with as many digits as a reader needs."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    return f"{float(value):.{digits}g}"


def shape_of(array: Any) -> str:
    """The shape as the documentation writes it: [2, 5, 4, 3]."""
    return str(list(np.shape(array)))


def described(value: Any) -> str:
    """What an argument or a result is: float64 [2, 5, 4, 3], or the type and value of anything else."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {shape_of(value)}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, np.random.Generator):
        return "Generator"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
