"""What a gradient check can look at, and how it is made a function that can be evaluated again and again.

A `Subject` has arrays that are varied in place, `evaluate` for the output at their present values, and
`gradients` for what backward claims there. Every call starts from the same state: the same random
numbers, the same running statistics.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from minicnn.engine.losses import SoftmaxCrossEntropy

Arrays = dict[str, np.ndarray]
Parameters = dict[str, tuple[np.ndarray, Callable[[], Any]]]  # the value, and what reads the gradient
NOT_CHECKED = (
    'parameters were not checked, as none were found; name them, parameters={"W": "dW"}, '
    "or state that there are none, parameters={}"
)


class Subject:
    """Arrays to vary, the output as a function of them, and the gradients that backward claims.

    Inputs that are float arrays are varied, as float64 copies, but for those named in `constants`.
    """

    def __init__(
        self, name: str, forward: Callable, inputs: Sequence[Any], constants: Collection[str]
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self.unchecked = ""
        self._inputs = [
            np.array(a, np.float64, order="C") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
            for a in inputs
        ]
        names = _argument_names(forward, len(inputs))
        if unknown := set(constants) - set(names):
            raise ValueError(f"constants: expected names among {', '.join(names)}, got {sorted(unknown)}")
        self.inputs: Arrays = {
            name: a
            for name, a in zip(names, self._inputs, strict=False)
            if isinstance(a, np.ndarray) and a.dtype == np.float64 and name not in constants
        }
        self.arrays: Arrays = dict(self.inputs)

    def evaluate(self) -> np.ndarray:
        """The output, float64, a copy."""
        raise NotImplementedError

    def gradients(self, dy: np.ndarray) -> Arrays:
        """The gradients of sum(dy * output) that backward claims, by name of the array."""
        raise NotImplementedError

    def finish(self) -> None:
        """Put random generators and running statistics back where they were before the check."""

    def _fresh_inputs(self) -> list[Any]:
        """Copies, as a forward may change its arguments."""
        return [a.copy() if isinstance(a, np.ndarray) else a for a in self._inputs]

    def _note_if_changed(self, function: str, given: Sequence[Any], before: Sequence[Any]) -> None:
        """Say so if a function changed its arguments. They were copies, so the comparison is not affected."""
        note = f"note: {function} changes its argument in place, an array that belongs to the caller"
        pairs = zip(given, before, strict=True)
        changed = any(isinstance(a, np.ndarray) and not np.array_equal(a, b) for a, b in pairs)
        if changed and note not in self.notes:
            self.notes.append(note)

    def _input_gradients(self, claimed: Any) -> Arrays:
        claimed = claimed if isinstance(claimed, tuple | list) else (claimed,)
        if len(claimed) != len(self.inputs):
            expected = ", ".join(self.inputs)
            raise ValueError(f"backward: expected gradients of {expected}, got {len(claimed)} arrays")
        return {
            name: _as_gradient(name, g, self.inputs[name].shape)
            for name, g in zip(self.inputs, claimed, strict=True)
        }


class FunctionSubject(Subject):
    """A pair of functions, y, cache = forward(x, ...) and dx, ... = backward(dy, cache)."""

    def __init__(
        self, forward: Callable, backward: Callable, inputs: Sequence[Any], constants: Collection[str]
    ) -> None:
        super().__init__(getattr(forward, "__name__", type(forward).__name__), forward, inputs, constants)
        self._forward, self._backward = forward, backward

    def evaluate(self) -> np.ndarray:
        return _as_output(self._forward(*self._fresh_inputs())[0])

    def gradients(self, dy: np.ndarray) -> Arrays:
        inputs = self._fresh_inputs()
        y, cache = self._forward(*inputs)
        self._note_if_changed("forward", inputs, self._inputs)
        given = dy.copy() if isinstance(y, np.ndarray) else float(dy)
        claimed = self._input_gradients(self._backward(given, cache))
        self._note_if_changed("backward", [given], [dy])
        return claimed


class LayerSubject(Subject):
    """An object with forward and backward; of a layer or network of this package a float64 copy."""

    def __init__(
        self,
        layer: Any,
        inputs: Sequence[Any],
        constants: Collection[str],
        training: bool,
        parameters: Mapping[str, str] | None,
    ) -> None:
        # Ours declare their parameters and their state, and can be copied into another dtype.
        ours = hasattr(layer, "astype") and hasattr(layer, "state")
        layer = layer.astype(np.float64) if ours else layer
        name = f"{type(layer).__name__} {getattr(layer, 'name', '')}".strip()
        super().__init__(name, layer.forward, inputs, constants)
        self._layer, self._ours = layer, ours
        found = _parameters_of(layer, parameters)
        if not (found or ours or parameters is not None or isinstance(layer, SoftmaxCrossEntropy)):
            self.unchecked = NOT_CHECKED
        self._parameters: Parameters = {}
        for parameter, value, gradient in found:
            if value.dtype != np.float64:
                raise TypeError(
                    f"{parameter}: expected float64, got {value.dtype}: in lower precision rounding hides "
                    "errors; make the layer with float64 parameters"
                )
            unique = _unused(parameter, self.arrays)
            self._parameters[unique] = value, gradient
            self.arrays[unique] = value
        knows_training = "training" in inspect.signature(layer.forward).parameters
        self._options = {"training": training} if knows_training else {}
        self._takes_dy = bool(inspect.signature(layer.backward).parameters)  # a loss does not
        self._start = State(_declared_state(layer) if ours else _generators(layer, set()))

    def evaluate(self) -> np.ndarray:
        self._start.restore()
        return _as_output(self._layer.forward(*self._fresh_inputs(), **self._options))

    def gradients(self, dy: np.ndarray) -> Arrays:
        self._start.restore()
        for _, gradient in self._parameters.values():
            if not self._ours and isinstance(held := gradient(), np.ndarray):
                held[...] = 0  # some layers add to their gradients
        inputs, given = self._fresh_inputs(), [dy.copy()] * self._takes_dy
        self._layer.forward(*inputs, **self._options)
        self._note_if_changed("forward", inputs, self._inputs)
        claimed = self._input_gradients(self._layer.backward(*given))
        self._note_if_changed("backward", given, [dy] * self._takes_dy)
        for name, (value, gradient) in self._parameters.items():
            claimed[name] = _as_gradient(name, gradient(), value.shape)
        return claimed

    def finish(self) -> None:
        self._start.restore()


class State:
    """What forward may change besides its result, remembered: generators, running statistics.

    NumPy's global generator is always among it, for layers that call np.random.rand.
    """

    def __init__(self, parts: Iterable[np.random.Generator | np.ndarray]) -> None:
        self._generators: list[tuple[np.random.Generator, Any]] = []
        self._arrays: list[tuple[np.ndarray, np.ndarray]] = []
        for part in parts:
            if isinstance(part, np.random.Generator):
                self._generators.append((part, part.bit_generator.state))
            else:
                self._arrays.append((part, part.copy()))
        self._global = np.random.get_state()

    def restore(self) -> None:
        for generator, state in self._generators:
            generator.bit_generator.state = state
        for array, before in self._arrays:
            array[...] = before
        np.random.set_state(self._global)


def _declared_state(layer: Any) -> Iterator[np.random.Generator | np.ndarray]:
    """The state of a layer (a dictionary) or of a network (a method)."""
    state = layer.state() if callable(layer.state) else layer.state
    yield from state.values()


def _generators(owner: Any, seen: set[int]) -> Iterator[np.random.Generator]:
    """All generators held by an object that does not declare them, or by its parts."""
    if id(owner) in seen or isinstance(owner, type) or inspect.ismodule(owner):
        return
    seen.add(id(owner))
    if isinstance(owner, np.random.Generator):
        yield owner
        return
    held = owner if isinstance(owner, dict | list | tuple) else getattr(owner, "__dict__", {})
    for part in held.values() if isinstance(held, dict) else held:
        yield from _generators(part, seen)


def _parameters_of(
    layer: Any, names: Mapping[str, str] | None
) -> list[tuple[str, np.ndarray, Callable[[], Any]]]:
    """Of each parameter its name, its value, and a function that reads the gradient of the last backward."""
    if names is not None:
        return [
            (value, getattr(layer, value), partial(getattr, layer, gradient, None))
            for value, gradient in names.items()
        ]
    found = getattr(layer, "parameters", [])
    found = list(found() if callable(found) else found)
    return [
        (getattr(p, "name", f"parameter {k}"), p.value, partial(getattr, p, "grad"))
        for k, p in enumerate(found)
    ]


def _unused(name: str, taken: Collection[str]) -> str:
    """The name, with #2, #3, ... behind it if other arrays have it."""
    number = Counter(other.split("#")[0] for other in taken)[name] + 1
    return name if number == 1 else f"{name}#{number}"


def _argument_names(forward: Callable, count: int) -> list[str]:
    """The names that forward gives to its first `count` arguments."""
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind in (0, 1)]
    except (TypeError, ValueError):
        names = []
    return [*names[:count], *(f"input {k}" for k in range(len(names), count))]


def _as_output(y: Any) -> np.ndarray:
    """A copy of what forward returned, refused unless it is float64 and finite."""
    y = np.array(y)
    if y.dtype != np.float64:
        raise TypeError(
            f"forward: expected float64, got {y.dtype}: in lower precision rounding hides errors; "
            "let the function keep the dtype of its input"
        )
    if not np.isfinite(y).all():
        raise ValueError("forward: expected finite numbers, got NaN or infinity")
    return y


def _as_gradient(name: str, gradient: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A copy of what backward returned, refused unless it has the shape of its array."""
    if gradient is None:
        raise ValueError(f"backward: expected the gradient of {name}, got None")
    gradient = np.array(gradient)
    if gradient.shape != shape:
        raise ValueError(
            f"backward: expected a gradient of shape {list(shape)} for {name}, got {list(gradient.shape)}"
        )
    return gradient
