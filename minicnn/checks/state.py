"""What a call may change besides its result, remembered and put back: random numbers, running averages.

Without it, every evaluation would be one of another function.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np


class State:
    """Generators and arrays as they were when this was made. Global random numbers are among them."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self._undo: list[Callable[[], None]] = [*global_generators()]
        for part in parts:
            self._undo.append(remember(part))

    def restore(self) -> None:
        """Put everything back."""
        for undo in self._undo:
            undo()


def is_ours(layer: Any) -> bool:
    """Whether it is a layer or a network of this package: they declare their state."""
    return hasattr(layer, "astype") and hasattr(layer, "state") and hasattr(layer, "forward")


def declared_parts(layer: Any) -> Iterator[Any]:
    """The state of a layer of this package (a dictionary) or of a network (a method)."""
    state = layer.state() if callable(layer.state) else layer.state
    yield from state.values()


def parts_of(owner: Any, leave: Iterable[np.ndarray] = (), seen: set[int] | None = None) -> Iterator[Any]:
    """All that an object of another make holds and may change: its attributes, and the arrays in them.

    Arrays in `leave` are the caller's business.
    """
    seen = {id(array) for array in leave} if seen is None else seen
    if id(owner) in seen or isinstance(owner, type) or inspect.ismodule(owner) or inspect.isroutine(owner):
        return
    seen.add(id(owner))
    if isinstance(owner, np.random.Generator | np.random.RandomState | random.Random | np.ndarray):
        yield owner
        return
    if is_ours(owner):
        yield from declared_parts(owner)
        return
    held = owner if isinstance(owner, dict | list | tuple) else getattr(owner, "__dict__", None)
    if held is None or not _is_plain(owner):
        return
    if not isinstance(held, tuple):
        yield held
    for part in list(held.values() if isinstance(held, dict) else held):
        yield from parts_of(part, leave, seen)


def _is_plain(owner: Any) -> bool:
    """Whether its attributes are its own, not the inner life of a library's object."""
    home = type(owner).__module__.partition(".")[0]
    return home not in ("numpy", "torch", "jax", "jaxlib", "tensorflow", "numba", "minicnn")


def remember(part: Any) -> Callable[[], None]:
    """What puts it back."""
    if isinstance(part, np.random.Generator):
        before = part.bit_generator.state
        return lambda: setattr(part.bit_generator, "state", before)
    if isinstance(part, np.random.RandomState):
        old = part.get_state()
        return lambda: part.set_state(old)
    if isinstance(part, random.Random):
        at = part.getstate()
        return lambda: part.setstate(at)
    copy = part.copy()
    if isinstance(part, np.ndarray):
        return lambda: np.copyto(part, copy) if part.flags.writeable else None
    if isinstance(part, list):
        return lambda: part.__setitem__(slice(None), copy)
    return lambda: part.update(copy)


def global_generators() -> Iterator[Callable[[], None]]:
    """NumPy's and Python's own generators, and PyTorch's if a program uses it."""
    numpys, pythons = np.random.get_state(), random.getstate()
    yield lambda: np.random.set_state(numpys)
    yield lambda: random.setstate(pythons)
    if torch := sys.modules.get("torch"):
        before = torch.random.get_rng_state()
        yield lambda: torch.random.set_rng_state(before)
