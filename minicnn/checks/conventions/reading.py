"""Code of any convention, read as y, cache = forward(...) and gradients = backward(dy, cache).

A `Reading` says how; `ReadSubject` is what the gradient check looks at. Inputs may be nested: the arrays in
a dictionary or list are varied like any others if backward returns gradients for them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minicnn.checks.conventions.names import LABELS, find_gradient
from minicnn.checks.conventions.results import in_shape
from minicnn.checks.subjects import FunctionSubject


@dataclass
class Reading:
    """How some code is to be evaluated, found out by looking at it and by one trial.

    `forward(*inputs)` returns (y, cache), where y may be a tuple of outputs; `backward(dy, cache)` the
    gradients by name. `gradients` are the names that backward returned in the trial.
    """

    name: str
    names: list[str]  # of the inputs
    inputs: list[Any]
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Mapping[str, Any]]
    gradients: Collection[str] = ()
    returned: str = "none"  # in words, for an error
    notes: list[str] = field(default_factory=list)
    unchecked: str = ""
    before_each: Callable[[], None] = lambda: None  # makes every forward start from the same state
    is_number: bool = False  # the output: a loss
    put_back: Callable[[], None] = lambda: None  # leaves the user's object as it was
    accounted: Collection[str] = ()  # of the constants, those that are no inputs but held by an object


class ReadSubject(FunctionSubject):
    """What a `Reading` describes, for the gradient check."""

    notes: list[str]
    unchecked: str

    def __init__(self, reading: Reading, constants: Collection[str], dtype: type = np.float64) -> None:
        self._reading = reading
        constants = set(constants) - set(reading.accounted)
        constants |= _without_gradient(reading, constants)
        forward = _Named(self._evaluate, reading.name, reading.names)
        # What is left in a dictionary or list has no gradient: settings, running averages.
        constants |= {n for n, a in zip(reading.names, reading.inputs, strict=True) if is_nested(a)}
        super().__init__(forward, self._differentiate, reading.inputs, constants, dtype)
        self.notes = reading.notes  # which may get more
        self.unchecked = reading.unchecked

    def _evaluate(self, *inputs: Any) -> tuple[Any, Any]:
        self._reading.before_each()
        return self._reading.forward(*inputs)

    def _differentiate(self, dy: Any, cache: Any) -> tuple[Any, ...]:
        claimed = self._reading.backward(dy, cache)
        return tuple(
            in_shape(name, claimed.get(name), array.shape, self.notes)
            if claimed.get(name) is not None
            else None
            for name, array in self.inputs.items()
        )

    def finish(self) -> None:
        super().finish()
        self._reading.put_back()


class _Named:
    """A function that tells the names of its arguments, which need not be identifiers."""

    def __init__(self, function: Callable, name: str, argument_names: Sequence[str]) -> None:
        self._function, self.__name__, self.argument_names = function, name, list(argument_names)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def _without_gradient(reading: Reading, constants: Collection[str]) -> set[str]:
    """Float arrays among the inputs for which backward returned nothing, each accounted for."""
    missing = [
        name
        for name, a in zip(reading.names, reading.inputs, strict=True)
        if is_float(a) and name not in reading.gradients and name not in constants
    ]
    marks = {n for n in missing if _is_mask(reading.inputs[reading.names.index(n)])}
    if marks and len(missing) < sum(map(is_float, reading.inputs)):
        words = ", ".join(sorted(marks))
        reading.notes.append(
            f"read as: {words} of zeros and ones, and no gradient returned: not differentiated"
        )
        missing = [n for n in missing if n not in marks]
    else:
        marks = set()
    targets = {n for n in missing if n.lower() in LABELS} if reading.is_number else set()
    if targets and reading.gradients:
        words = ", ".join(sorted(targets))
        reading.notes.append(f"read as: {words} of a loss, and no gradient returned: not differentiated")
        missing = [n for n in missing if n not in targets]
    if missing and not reading.gradients:
        raise ValueError(
            f"backward: expected gradients of {', '.join(missing)}, got {reading.returned}; return "
            f"{', '.join('d' + n for n in missing)} in this order, and name what has none in constants=(...)"
        )
    if missing and not reading.unchecked:
        one = f"constants=({', '.join(map(repr, missing))},)"
        reading.unchecked = (
            f"backward returned no gradient of {', '.join(missing)}; if none is meant, state it: {one}"
        )
    return marks | targets | set(missing)


def _is_mask(array: np.ndarray) -> bool:
    return bool(np.isin(array, (0.0, 1.0)).all()) and array.size > 1


def is_float(a: Any) -> bool:
    """Whether an input is varied: an array of floats."""
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def is_nested(a: Any) -> bool:
    """Whether an input is a container of others."""
    return isinstance(a, dict | list | tuple)


class Arguments:
    """The arguments of a function, flat: the arrays of a dictionary or list become arguments of their own.

    Only containers in which backward returned a gradient for some array are opened, once that is known.
    """

    names: list[str]
    inputs: list[Any]

    def __init__(self, names: Sequence[str], inputs: Sequence[Any]) -> None:
        self.names, self.inputs = list(names), [as_float64(a) for a in inputs]
        self._count = len(self.inputs)
        self._places: list[tuple[int, Any]] = []  # of each array from a container: which, under which key

    def fresh(self, flat: Sequence[Any] | None = None) -> list[Any]:
        """Copies of the arguments in their own form, with the values of `flat`."""
        values = self.inputs if flat is None else list(flat)
        count = self._count
        whole = [copy.deepcopy(a) if isinstance(a, dict | list) else a for a in values[:count]]
        whole = [a.copy() if isinstance(a, np.ndarray) else a for a in whole]
        for (k, key), array in zip(self._places, values[count:], strict=True):
            whole[k][key] = array.copy()
        return whole

    def number_of_arrays(self) -> int:
        """How many arrays of floats there are, in containers, too."""
        inner = [a for c in self.inputs if isinstance(c, dict | list) for a in _parts(c).values()]
        return sum(map(is_float, [*self.inputs, *inner]))

    def open(self, labels: Collection[str], everything: bool = False) -> None:
        """Make the arrays in containers arguments, where one of `labels` names a gradient of them."""
        for k, container in enumerate(list(self.inputs)):
            if not isinstance(container, dict | list):
                continue
            found = [(key, a) for key, a in _parts(container).items() if is_float(a)]
            names = [key if isinstance(key, str) else f"{self.names[k]}[{key}]" for key, _ in found]
            if everything or any(find_gradient(n, labels) for n in names):
                self._places += [(k, key) for key, _ in found]
                self.names += names
                self.inputs += [a.astype(np.float64) for _, a in found]


def _parts(container: dict | list) -> dict[Any, Any]:
    return container if isinstance(container, dict) else dict(enumerate(container))


def as_float64(a: Any) -> Any:
    """A float array in float64, a copy; dictionaries and lists with such arrays, too."""
    if is_float(a):
        return np.array(a, np.float64, order="C")
    if isinstance(a, dict):
        return {key: as_float64(value) for key, value in a.items()}
    if isinstance(a, list):
        return [as_float64(value) for value in a]
    return a
