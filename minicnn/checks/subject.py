"""What a gradient check can look at: arrays to vary, and the output and the gradients as functions of them.

Every call starts from the same state: the same random numbers, the same running statistics. Inputs are
copies, and what a call changes in them is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from minicnn.checks.slopes import OutsideDomain
from minicnn.checks.trees import leaves, rebuilt

Arrays = dict[str, np.ndarray]


class Subject:
    """Arrays to vary, the output as a function of them, and the gradients that backward claims.

    Inputs that are arrays of floats, alone or in lists, tuples and dictionaries, are varied, as copies in
    `dtype`, but for those named in `constants`.
    """

    name: str
    dtype: type
    notes: list[str]
    changed: dict[str, None]  # what calls changed, each once: "backward changes dy in place"
    unchecked: str
    inputs: Arrays
    arrays: Arrays

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        inputs: Sequence[Any],
        constants: Collection[str] = (),
        dtype: type = np.float64,
    ) -> None:
        self.name, self.dtype = name, dtype
        self.notes, self.changed, self.unchecked = [], {}, ""
        self._inputs = list(inputs)
        names = _argument_names(forward, len(inputs))
        if unknown := set(constants) - set(names):
            raise ValueError(f"constants: expected names among {', '.join(names)}, got {sorted(unknown)}")
        self.inputs = {}
        for k, (argument, given) in enumerate(zip(names, inputs, strict=True)):
            self._inputs[k] = self._varied(argument, given, argument in constants)
        self.arrays = dict(self.inputs)

    def evaluate(self) -> np.ndarray:
        """The output, float64, a copy; several outputs as one vector."""
        raise NotImplementedError

    def gradients(self, dy: np.ndarray, only: str | None = None) -> Arrays:
        """The gradients of sum(dy * output) that backward claims, by name of the array.

        `only` names one that is enough.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Put random generators and running statistics back where they were before the check."""

    def evaluate_complex(self, name: str, added: np.ndarray) -> np.ndarray:
        """The output if complex numbers are added to an array. Raises whatever forward raises then."""
        raise TypeError("parameters are kept in real arrays")

    def _varied(self, argument: str, given: Any, constant: bool) -> Any:
        """The argument with copies of its arrays, which are entered in `inputs` unless it is a constant."""

        def copy(path: str, leaf: Any) -> Any:
            if isinstance(leaf, float) and not isinstance(leaf, np.floating):
                self.notes += [] if constant else [f"note: {argument}{path} is a Python float: not varied"]
                return leaf
            if not isinstance(leaf, np.ndarray | np.floating) or leaf.dtype.kind != "f":
                return leaf
            varied: np.ndarray = np.array(leaf, self.dtype, order="C")
            if not constant:
                self.inputs[f"{argument}{path}"] = varied
            return varied

        return rebuilt(given, iter([copy(*leaf) for leaf in list(leaves(given))]))

    def _fresh_inputs(self) -> list[Any]:
        """Copies, as a forward may change its arguments."""
        copies = (leaf.copy() if isinstance(leaf, np.ndarray) else leaf for _, leaf in leaves(self._inputs))
        return rebuilt(self._inputs, copies)

    def _see_changes(self, function: str, what: str, given: Any, before: Any) -> None:
        """Name arguments that a function changed. They were copies, so the comparison is not affected."""
        for (path, a), (_, b) in zip(leaves(given), leaves(before), strict=True):
            if isinstance(a, np.ndarray) and not np.array_equal(a, b, equal_nan=True):
                name = what or _name_of_input(self, path)
                self.changed[f"{function} changes {name} in place"] = None

    def _upstream(self, dy: np.ndarray, y: Any) -> Any:
        """A copy of dy in the structure of the output, in its dtype."""
        rest = dy.ravel()

        def parts() -> Iterator[Any]:
            start = 0
            for _, leaf in leaves(y):
                if not _is_float(leaf):
                    yield None
                    continue
                size, shape = np.size(leaf), np.shape(leaf)
                part: np.ndarray = rest[start : start + size].reshape(shape).astype(self.dtype)
                start += size
                yield part if isinstance(leaf, np.ndarray) else float(part)

        return rebuilt(y, parts())

    def _output(self, y: Any) -> np.ndarray:
        """A copy of what forward returned, refused unless it is of the right dtype and finite."""
        floats = [np.asarray(leaf) for _, leaf in leaves(y) if _is_float(leaf)]
        if not floats:
            raise TypeError(f"forward: expected an array of floats, got {type(y).__name__}")
        for leaf in floats:
            if leaf.dtype != self.dtype and not (leaf.dtype == np.float64 and self.dtype == np.float32):
                raise TypeError(
                    f"forward: expected {np.dtype(self.dtype)}, got {leaf.dtype}: in lower precision "
                    "rounding hides errors; let the function keep the dtype of its input, or check it with "
                    "dtype=np.float32"
                )
        alone = len(floats) == 1 and not isinstance(y, tuple | list | dict)
        out = floats[0].astype(np.float64) if alone else np.concatenate([f.ravel() for f in floats])
        if not np.isfinite(out).all():
            raise OutsideDomain("forward: expected finite numbers, got NaN or infinity")
        return out.astype(np.float64, copy=False)

    def _input_gradients(self, claimed: Any) -> Arrays:
        """By name; as many arrays as there are inputs that are varied, or arguments, None for the others."""
        found = [leaf for _, leaf in leaves(claimed)]
        arguments = [leaf for _, leaf in leaves(self._inputs)]
        if len(found) == len(arguments) != len(self.inputs):
            varied = [any(a is array for array in self.inputs.values()) for a in arguments]
            if all(g is None for g, v in zip(found, varied, strict=True) if not v):
                found = [g for g, v in zip(found, varied, strict=True) if v]
        if len(found) != len(self.inputs):
            expected = ", ".join(self.inputs)
            raise ValueError(
                f"backward: expected gradients of {expected}, got {len(found)} arrays; name inputs without "
                "a gradient in constants=[...]"
            )
        return {
            name: as_gradient(name, g, self.inputs[name].shape)
            for name, g in zip(self.inputs, found, strict=True)
        }


def as_gradient(name: str, gradient: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A copy of what backward returned, float64, refused unless it has the shape of its array."""
    if gradient is None:
        raise ValueError(f"backward: expected the gradient of {name}, got None")
    try:
        gradient = np.array(gradient, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"backward: expected an array as the gradient of {name}, got {type(gradient).__name__}"
        ) from None
    if gradient.shape != shape:
        raise ValueError(
            f"backward: expected a gradient of shape {list(shape)} for {name}, got {list(gradient.shape)}"
        )
    return gradient


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float | np.floating) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f")


def _name_of_input(subject: Subject, path: str) -> str:
    """The name of the array at a path of the arguments, "[0]['W']", or its place."""
    for (found, _), (_, leaf) in zip(leaves(subject._inputs), leaves(subject._inputs), strict=True):
        if found == path:
            return next((n for n, a in subject.inputs.items() if a is leaf), f"argument {path}")
    return f"argument {path}"


def _argument_names(forward: Callable[..., Any], count: int) -> list[str]:
    """The names that forward gives to its first `count` arguments."""
    if (declared := getattr(forward, "argument_names", None)) is not None:
        return list(declared)
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind in (0, 1)]
    except (TypeError, ValueError):
        names = []
    return [*names[:count], *(f"input {k}" for k in range(len(names), count))]
