"""Parameters of a layer of any make: where a value is kept, how it is put back, and where its gradient is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np


@dataclass
class Slot:
    """A place that holds a parameter: an attribute, or an entry of a list or dictionary.

    `array` is what it held at first, and is varied in place. A call may leave another array there.
    """

    name: str
    array: np.ndarray
    get: Callable[[], Any]
    set: Callable[[Any], None]
    gradient: Callable[[], Any]
    transposed: bool = False  # in relation to the first of the names of one array

    def checked(self, dtype: type) -> Slot:
        """This slot. Raises TypeError or ValueError unless it holds an array that can be varied."""
        array = self.array
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{self.name}: expected an array, got {type(array).__name__}")
        if array.dtype != dtype:
            raise TypeError(
                f"{self.name}: expected {np.dtype(dtype)}, got {array.dtype}: in lower precision "
                "rounding hides errors; make the layer with float64 parameters, or check it with "
                "dtype=np.float32"
                if array.dtype == np.float32
                else f"{self.name}: expected {np.dtype(dtype)}, got {array.dtype}"
            )
        if not array.flags.writeable or (0 in array.strides and array.size > 1):
            raise ValueError(f"{self.name}: expected an array that can be changed, got a read-only one")
        return self

    def clear_gradient(self) -> None:
        """Some layers add to their gradients."""
        held = self.gradient()
        if isinstance(held, np.ndarray) and held.flags.writeable:
            held[...] = 0


def find_slots(layer: Any, names: Mapping[str, str] | None, taken: Collection[str]) -> list[Slot]:
    """The parameters that `names` maps to their gradients, or those in `layer.parameters`.

    Each gets a name that is not in `taken`. Raises AttributeError, naming it, for one that is missing.
    """
    if names is not None:
        found = [_attribute(layer, value, gradient) for value, gradient in names.items()]
    else:
        held = getattr(layer, "parameters", [])
        held = list(held() if callable(held) else held)
        found = [
            Slot(
                getattr(p, "name", f"parameter {k}"),
                p.value,
                partial(getattr, p, "value"),
                partial(setattr, p, "value"),
                partial(getattr, p, "grad", None),
            )
            for k, p in enumerate(held)
        ]
    used = list(taken)
    for slot in found:
        slot.name = _unused(slot.name, used)
        used.append(slot.name)
    return found


def _attribute(layer: Any, value: str, gradient: str) -> Slot:
    if not hasattr(layer, value):
        raise AttributeError(f"parameters: {type(layer).__name__} has no attribute {value!r}")
    read, write = partial(getattr, layer, value), partial(setattr, layer, value)
    return Slot(value, read(), read, write, partial(getattr, layer, gradient, None))


def _unused(name: str, taken: Sequence[str]) -> str:
    """The name, with #2, #3, ... behind it if other arrays have it."""
    number = Counter(other.split("#")[0] for other in taken)[name] + 1
    return name if number == 1 else f"{name}#{number}"


def tied(slots: Sequence[Slot]) -> tuple[dict[str, list[Slot]], list[str]]:
    """The slots by array, as several names may share one, or one its transpose; and notes that say so."""
    groups: list[list[Slot]] = []
    for slot in slots:
        for group in groups:
            first = group[0].array
            if _same_memory(slot.array, first):
                group.append(slot)
                break
            if _same_memory(slot.array.T, first):
                slot.transposed = True
                group.append(slot)
                break
        else:
            groups.append([slot])
    notes = [
        f"note: {' and '.join(s.name for s in group)} are one array: compared is the sum of their gradients"
        for group in groups
        if len(group) > 1
    ]
    return {" + ".join(s.name for s in group): group for group in groups}, notes


def _same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    return a is b or (
        a.size > 0 and a.shape == b.shape and a.strides == b.strides and a.ctypes.data == b.ctypes.data
    )
