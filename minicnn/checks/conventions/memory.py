"""Everything that an object holds, remembered, so that a check can start from it again and again.

Layers of other makes keep running averages, caches and generators where they like, and may replace an array
by another. So all that can be reached from the object is remembered: attributes, the entries of its
dictionaries and lists, the numbers in its arrays, the states of its generators, and those of the global ones.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from minicnn.checks.state import global_generators, remember


class Memory:
    """What `owner` holds at this moment. `restore` puts it back, in place."""

    def __init__(self, owner: Any) -> None:
        self._containers: list[tuple[dict | list, Any]] = []
        self._numbers: list[tuple[Any, Callable[[], None]]] = []  # arrays and generators
        for _, part in reachable(owner):
            if isinstance(part, np.ndarray):
                if part.flags.writeable and part.dtype != object:
                    self._numbers.append((part, remember(part)))
            elif isinstance(part, np.random.Generator):
                self._numbers.append((part, remember(part)))
            elif isinstance(part, dict | list):
                self._containers.append((part, part.copy()))
            elif (attributes := getattr(part, "__dict__", None)) is not None:
                self._containers.append((attributes, dict(attributes)))
        self._global = list(global_generators())

    def leave(self, varied: Collection[np.ndarray]) -> None:
        """From now on, leave the numbers in these arrays as they are; that they are held is restored."""
        ids = {id(array) for array in varied}
        self._numbers = [(part, undo) for part, undo in self._numbers if id(part) not in ids]

    def restore(self) -> None:
        """Put everything back, and take away what was added."""
        for container, before in self._containers:
            if isinstance(container, dict):
                container.clear()
                container.update(before)
            else:
                container[:] = before
        for undo in (*(undo for _, undo in self._numbers), *self._global):
            undo()


def reachable(owner: Any) -> Iterator[tuple[str, Any]]:
    """The object and all that it holds, each part once, with its path: "", "W", "layers[0].W"."""
    seen: dict[int, Any] = {}
    waiting: list[tuple[str, Any]] = [("", owner)]
    while waiting:
        path, part = waiting.pop()
        if id(part) in seen or isinstance(part, type | str | bytes) or inspect.ismodule(part):
            continue
        seen[id(part)] = part  # held, or another object might get its id
        inner: list[tuple[str, Any]] = []
        if isinstance(part, dict):
            inner = [(f"{path}.{key}".lstrip("."), value) for key, value in part.items()]
        elif isinstance(part, list | tuple):
            inner = [(f"{path}[{k}]", value) for k, value in enumerate(part)]
        elif isinstance(part, np.ndarray | np.random.Generator):
            pass
        elif inspect.isroutine(part):  # of a method the object, of a function what it closes over
            cells = [c for c in getattr(part, "__closure__", None) or () if c != types.CellType()]
            waiting += [(path, getattr(part, "__self__", None)), *((path, c.cell_contents) for c in cells)]
            continue
        elif hasattr(part, "__dict__"):
            inner = [(f"{path}.{name}".lstrip("."), value) for name, value in vars(part).items()]
        else:
            continue
        waiting.extend(reversed(inner))
        yield path, part


def float_arrays(owner: Any) -> dict[str, np.ndarray]:
    """All arrays of floats that an object holds, by path."""
    return {path: a for path, a in reachable(owner) if isinstance(a, np.ndarray) and a.dtype.kind == "f"}


def make_double(owner: Any) -> bool:
    """Replace arrays in lower precision by float64 ones, everywhere they are held. Whether there were any."""
    doubled: dict[int, np.ndarray] = {}

    def double(a: Any) -> Any:
        if not isinstance(a, np.ndarray) or a.dtype.kind != "f" or a.dtype == np.float64:
            return a
        return doubled.setdefault(id(a), a.astype(np.float64))

    for _, part in list(reachable(owner)):
        if isinstance(part, list):
            part[:] = map(double, part)
        elif isinstance(part, dict):
            part.update({key: double(value) for key, value in part.items()})
        elif attributes := getattr(part, "__dict__", None):
            attributes.update({key: double(value) for key, value in list(attributes.items())})
    return bool(doubled)
