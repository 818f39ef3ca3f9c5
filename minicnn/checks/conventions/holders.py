"""Where an object of another make keeps its parameters, and where their gradients.

    layer.params = {"W": W}, layer.grads = {"W": dW}       by key
    layer.params = [W, b],   layer.grads = [dW, db]        in parallel, nested or not
    layer.W, layer.dW        layer.weights, layer.dweights        attributes
    net.layers = [...]       the same in each part
    p.data, p.grad           objects in a list called parameters or params

What is found in none of these places is not varied, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minicnn.checks.conventions.names import find_gradient

VALUES = ("params", "parameters", "_params", "weights", "learnable_params", "trainable_params")
GRADIENTS = ("grads", "gradients", "_grads", "dparams", "d_params", "grad", "dweights", "param_grads")
PARAMETER = (
    ("value", "grad"),
    ("data", "grad"),
    ("value", "gradient"),
    ("data", "gradient"),
    ("val", "grad"),
)
DEEPEST = 6


@dataclass(frozen=True)
class Held:
    """A parameter: its name as a path, and functions that read the value and the gradient of now."""

    name: str
    value: Callable[[], Any]
    gradient: Callable[[], Any]


def find_parameters(owner: Any, prefix: str = "", seen: frozenset[int] = frozenset()) -> list[Held]:
    """The parameters for which a gradient is held somewhere, too. Call it after a backward."""
    if id(owner) in seen or len(seen) > DEEPEST:
        return []
    seen |= {id(owner)}
    for values in VALUES:
        found = _parameter_objects(call_or_get(owner, values), prefix)
        if found:
            return found
    found = []
    for values in VALUES:
        for gradients in GRADIENTS:
            if not found and hasattr(owner, values) and hasattr(owner, gradients):
                read = partial(call_or_get, owner, values), partial(call_or_get, owner, gradients)
                found = list(_parallel(*read, prefix))
    found = found or list(_attributes(owner, prefix))
    arrays = {id(held.value()) for held in found}
    for name, part in _parts(owner):
        for held in find_parameters(part, f"{prefix}{name}.", seen):
            if id(held.value()) not in arrays:
                arrays.add(id(held.value()))
                found.append(held)
    return found


def call_or_get(owner: Any, name: str) -> Any:
    """An attribute, or what the method of that name returns."""
    held = getattr(owner, name, None)
    if callable(held):
        try:
            return held()
        except TypeError:  # it takes arguments: something else
            return None
    return held


def is_array(a: Any) -> bool:
    """Whether it may be a parameter: an array of floats."""
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def _parameter_objects(holder: Any, prefix: str) -> list[Held]:
    parts = list(holder.values()) if isinstance(holder, Mapping) else holder
    if not isinstance(parts, list | tuple) or not parts:
        return []
    for value, gradient in PARAMETER:
        if all(is_array(getattr(p, value, None)) and hasattr(p, gradient) for p in parts):
            if any(isinstance(p, np.ndarray) for p in parts):  # an array has `data` itself
                continue
            return [
                Held(
                    f"{prefix}{getattr(p, 'name', None) or f'parameter {k}'}",
                    partial(getattr, p, value),
                    partial(getattr, p, gradient),
                )
                for k, p in enumerate(parts)
            ]
    return []


def _parallel(values: Callable[[], Any], gradients: Callable[[], Any], prefix: str) -> Iterator[Held]:
    """Two dictionaries with matching keys, or two lists, nested alike."""
    v, g = values(), gradients()
    if isinstance(v, Mapping) and isinstance(g, Mapping):
        for key in v:
            label = key if key in g else find_gradient(str(key), [k for k in g if isinstance(k, str)])
            if label is None:
                continue
            inner = partial(_item, values, key), partial(_item, gradients, label)
            if is_array(v[key]):
                yield Held(f"{prefix}{key}", *inner)
            else:
                yield from _parallel(*inner, f"{prefix}{key}.")
    elif isinstance(v, list | tuple) and isinstance(g, list | tuple) and len(v) == len(g):
        for k, part in enumerate(v):
            inner = partial(_item, values, k), partial(_item, gradients, k)
            if is_array(part):
                yield Held(f"{prefix}params[{k}]", *inner)
            else:
                yield from _parallel(*inner, f"{prefix}{k}.")


def _item(read: Callable[[], Any], key: Any) -> Any:
    try:
        return read()[key]
    except (KeyError, IndexError, TypeError):  # before the first backward
        return None


def _attributes(owner: Any, prefix: str) -> Iterator[Held]:
    """Attributes W and dW, weights and dweights, lists of arrays likewise."""
    held = getattr(owner, "__dict__", {})
    for name, value in list(held.items()):
        label = find_gradient(name, [n for n in held if n != name])
        if label is None:
            continue
        if is_array(value) and _same_size(value, held[label]):
            yield Held(
                f"{prefix}{name}",
                partial(getattr, owner, name),
                partial(getattr, owner, label, None),
            )
        elif isinstance(value, list) and value and all(map(is_array, value)):
            read = partial(getattr, owner, name), partial(getattr, owner, label, None)
            if isinstance(read[1](), list | tuple):
                for inner in _parallel(*read, prefix):
                    yield Held(inner.name.replace("params[", f"{name}["), inner.value, inner.gradient)


def _same_size(value: np.ndarray, gradient: Any) -> bool:
    """None counts: a gradient that is not there before the first backward."""
    return gradient is None or np.size(gradient) == value.size


def _parts(owner: Any) -> Iterator[tuple[str, Any]]:
    """Layers and other objects that it consists of, by name."""
    for name, value in list(getattr(owner, "__dict__", {}).items()):
        several: Sequence[tuple[Any, Any]] = []
        if isinstance(value, list | tuple):
            several = list(enumerate(value))
        elif isinstance(value, Mapping):
            several = list(value.items())
        for key, part in several:
            if _is_part(part):
                yield f"{name}[{key}]" if isinstance(key, int) else str(key), part
        if _is_part(value):
            yield name, value


def _is_part(value: Any) -> bool:
    own = (
        hasattr(value, "__dict__")
        and not isinstance(value, type)
        and not callable(getattr(value, "__get__", None))
    )
    return own and any(
        hasattr(value, name) for name in ("backward", "grads", "params", "parameters", "bprop")
    )
