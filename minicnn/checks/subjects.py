"""The subjects of a gradient check: a pair of functions, and an object with forward and backward.

Parameters are varied where they are. A call may move them, or leave other arrays in their place: they are put
back, and that is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from minicnn.checks.parameters import Slot, find_slots, tied
from minicnn.checks.state import State, declared_parts, is_ours, parts_of
from minicnn.checks.subject import Arrays, Subject, as_gradient
from minicnn.checks.trees import leaves, rebuilt
from minicnn.engine.losses import SoftmaxCrossEntropy

NOT_CHECKED = (
    'parameters were not checked, as none were found; name them, parameters={"W": "dW"}, '
    "or state that there are none, parameters={}"
)


class FunctionSubject(Subject):
    """A pair of functions, y, cache = forward(x, ...) and dx, ... = backward(dy, cache)."""

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        inputs: Sequence[Any],
        constants: Collection[str] = (),
        dtype: type = np.float64,
    ) -> None:
        name = getattr(forward, "__name__", type(forward).__name__)
        super().__init__(name, forward, inputs, constants, dtype)
        self._forward, self._backward = forward, backward
        self._start = State(())

    def evaluate(self) -> np.ndarray:
        self._start.restore()
        return self._output(self._forward(*self._fresh_inputs())[0])

    def gradients(self, dy: np.ndarray, only: str | None = None) -> Arrays:
        self._start.restore()
        inputs = self._fresh_inputs()
        y, cache = self._forward(*inputs)
        self._see_changes("forward", "", inputs, self._inputs)
        given, before = self._upstream(dy, y), self._upstream(dy, y)
        claimed = self._input_gradients(self._backward(given, cache))
        self._see_changes("backward", "dy", given, before)
        return claimed

    def evaluate_complex(self, name: str, added: np.ndarray) -> np.ndarray:
        self._start.restore()
        changed = self.inputs[name]
        parts = (leaf + added if leaf is changed else leaf for _, leaf in leaves(self._inputs))
        return np.asarray(self._forward(*rebuilt(self._inputs, parts))[0])

    def finish(self) -> None:
        self._start.restore()


class LayerSubject(Subject):
    """An object with forward and backward; of a layer or network of this package a copy in `dtype`."""

    notes: list[str]
    arrays: Arrays
    unchecked: str

    def __init__(
        self,
        layer: Any,
        inputs: Sequence[Any],
        constants: Collection[str] = (),
        training: bool = True,
        parameters: Mapping[str, str] | None = None,
        dtype: type = np.float64,
    ) -> None:
        # Ours declare their parameters and their state, and can be copied into another dtype.
        ours = is_ours(layer)
        layer = layer.astype(dtype) if ours else layer
        name = f"{type(layer).__name__} {getattr(layer, 'name', '')}".strip()
        super().__init__(name, layer.forward, inputs, constants, dtype)
        self._layer, self._ours = layer, ours
        slots = find_slots(layer, parameters, self.arrays)
        if not (slots or ours or parameters is not None or isinstance(layer, SoftmaxCrossEntropy)):
            self.unchecked = NOT_CHECKED
        self._slots = [slot.checked(dtype) for slot in slots]
        self._groups, notes = tied(self._slots)
        self.notes += notes
        self.arrays |= {name: slots[0].array for name, slots in self._groups.items()}
        knows_training = "training" in inspect.signature(layer.forward).parameters
        self._options = {"training": training} if knows_training else {}
        self._takes_dy = bool(inspect.signature(layer.backward).parameters)  # a loss does not
        values = [slot.array for slot in self._slots]
        self._start = State(declared_parts(layer) if ours else parts_of(layer, values))
        self._moves_parameters = not ours  # until a call has shown that it does not

    def evaluate(self) -> np.ndarray:
        before = self._begin()
        try:
            return self._output(self._layer.forward(*self._fresh_inputs(), **self._options))
        finally:
            self._put_back(before)

    def gradients(self, dy: np.ndarray, only: str | None = None) -> Arrays:
        self._moves_parameters |= not self._ours
        before = self._begin()
        for slot in self._slots if not self._ours else ():
            slot.clear_gradient()
        inputs = self._fresh_inputs()
        try:
            y = self._layer.forward(*inputs, **self._options)
            self._see_changes("forward", "", inputs, self._inputs)
            self._moves_parameters = self._name_changes("forward", before)
            between = self._parameters() if not self._ours else []
            given, same = self._upstream(dy, y), self._upstream(dy, y)
            returned = self._layer.backward(*[given] * self._takes_dy)
            claimed = self._input_gradients(returned)
            self._see_changes("backward", "dy", given, same)
            for name, slots in self._groups.items():
                if only in (None, name):
                    claimed[name] = sum_of_gradients(slots)
            self._name_changes("backward", between)
        finally:
            self._put_back(before)
        return claimed

    def finish(self) -> None:
        self._start.restore()

    def _begin(self) -> list[np.ndarray]:
        """Restore the state; copies of the parameters, if calls may move them."""
        self._start.restore()
        return [slot.array.copy() for slot in self._slots] if self._moves_parameters else []

    def _parameters(self) -> list[np.ndarray]:
        """Copies of what the slots hold."""
        return [np.array(slot.get()) for slot in self._slots]

    def _name_changes(self, function: str, before: list[np.ndarray]) -> bool:
        """Name the parameters that a call has moved or replaced. Whether there were any."""
        found = False
        for slot, old in zip(self._slots, before, strict=False):
            held = slot.get()
            if held is not slot.array or not np.array_equal(held, old, equal_nan=True):
                how = "moves" if held is slot.array else "replaces"
                self.changed[f"{function} {how} {slot.name}"] = None
                found = True
        return found

    def _put_back(self, before: list[np.ndarray]) -> None:
        """The parameters as they were, in the arrays that the caller has."""
        for slot, old in zip(self._slots, before, strict=False):
            slot.array[...] = old
        for slot in self._slots if not self._ours else ():
            if slot.get() is not slot.array:
                slot.set(slot.array)


def sum_of_gradients(slots: Sequence[Slot]) -> np.ndarray:
    """The gradient of an array that is a parameter under several names: the sum of what they claim.

    Names that share the array of their gradient, too, are counted once.
    """
    total: np.ndarray | None = None
    seen: list[np.ndarray] = []
    for slot in slots:
        held = slot.gradient()
        if any(isinstance(held, np.ndarray) and np.shares_memory(held, other) for other in seen):
            continue
        seen += [held] if isinstance(held, np.ndarray) else []
        gradient = as_gradient(slot.name, held, slot.array.shape)
        gradient = (
            gradient if slot.array.shape == slots[0].array.shape and not slot.transposed else gradient.T
        )
        total = gradient if total is None else total + gradient
    assert total is not None
    return total
