"""Objects of other makes: layers and networks that keep parameters and gradients in their own way.

How forward and backward are called is in methods.py; this file finds the parameters and their gradients.
Running averages, caches and random generators are put back before every forward, and all of it at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from minicnn.checks.conventions.holders import Held, find_parameters
from minicnn.checks.conventions.memory import Memory, float_arrays, make_double
from minicnn.checks.conventions.methods import Method, Methods, methods_of
from minicnn.checks.conventions.names import find_gradient
from minicnn.checks.conventions.reading import Reading, as_float64, is_float
from minicnn.checks.conventions.results import fits, matched

STATISTICS = ("running", "moving", "avg", "ema")  # how the names of running averages begin


def read_object(
    layer: Any,
    inputs: Sequence[Any],
    training: bool,
    named: Mapping[str, str] | None,
    constants: Collection[str] = (),
    methods: tuple[Method, Method] | None = None,
) -> Reading:
    """Read an object with forward and backward, after a trial of each; all is put back at the end.

    `methods` are these two, if they have other names than the usual ones.
    """
    beginning = Memory(layer)
    chosen = methods or methods_of(layer)
    assert chosen is not None
    try:
        call = Methods(layer, *chosen, len(inputs), training)
        return _Trial(layer, call, inputs, named, constants).reading(beginning)
    except BaseException:
        beginning.restore()
        raise


class _Trial:
    """One forward and one backward, and what they show."""

    def __init__(
        self,
        layer: Any,
        call: Methods,
        inputs: Sequence[Any],
        named: Mapping[str, str] | None,
        constants: Collection[str],
    ) -> None:
        self.layer, self.call, self.named, self.constants = layer, call, named, constants
        self.inputs = [as_float64(a) for a in inputs]
        self.floats = {n: a.shape for n, a in zip(self.call.names, self.inputs, strict=True) if is_float(a)}
        self.notes: list[str] = []
        make_double(layer)
        self.call.forward(self._fresh())  # some make their parameters now
        make_double(layer)
        self.start = Memory(layer)
        held = float_arrays(layer).values()
        self.y, cache = self.call.forward(self._fresh())
        # What forward replaces by another array is a cache, no parameter.
        after = {id(a) for a in float_arrays(layer).values()}
        self.kept = {id(a): a for a in held if id(a) in after}
        dy = np.random.default_rng(0).uniform(0.5, 1.5, np.shape(self.y))
        before = {path: array.copy() for path, array in float_arrays(layer).items()}
        self.claimed = self.call.backward(dy if np.ndim(self.y) else 1.0, cache)
        if self.call.how:
            self.notes.append(self.call.how)
        self.held = self._find(before)

    def _fresh(self) -> list[Any]:
        return [a.copy() if isinstance(a, np.ndarray) else a for a in self.inputs]

    # --- which arrays are parameters, and where their gradients are ---

    def _find(self, before: Mapping[str, np.ndarray]) -> list[Held]:
        if self.named is not None:
            found = [_attribute(self.layer, value, gradient) for value, gradient in self.named.items()]
        elif self.call.rate is not None:
            now = float_arrays(self.layer)
            moved = [p for p, a in before.items() if p in now and not np.array_equal(now[p], a)]
            self.start.restore()
            depends = self._that_matter()
            found = [self._at(path) for path in moved if path in depends]
            self.notes.append(
                f"read as: backward(dy, {self.call.rate}) moves {', '.join(h.name for h in found)}; with "
                f"{self.call.rate} = 1 the gradient is what it takes away"
            )
        else:
            found = [h for h in find_parameters(self.layer) if h.gradient() is not None]
            self.start.restore()
            found = [h for h in found if id(h.value()) in self.kept]
            known = {id(h.value()) for h in found}
            rest = {path: a for path, a in self._that_matter().items() if id(a) not in known}
            found += self._returned(rest)
            if found:
                self.notes.append(
                    f"read as: parameters {', '.join(h.name for h in found)}, each with a gradient"
                )
        self.start.restore()
        return found

    def _at(self, path: str) -> Held:
        return Held(path, lambda: float_arrays(self.layer)[path], lambda: None)

    def _returned(self, arrays: Mapping[str, np.ndarray]) -> list[Held]:
        """Parameters whose gradients backward returns behind those of the inputs."""
        self.extra: dict[str, int] = {}  # the place of each among the gradients
        behind = list(enumerate(self.claimed))[len(self.floats) :]
        labels = [
            key or (self.call.returned[k] if k < len(self.call.returned) else None) for k, (key, _) in behind
        ]
        for path in arrays:
            label = find_gradient(path.split(".")[-1], [n for n in labels if n])
            if label is not None:
                self.extra[path] = behind[labels.index(label)][0]
        if not self.extra and len(behind) == len(arrays):
            same = [fits(g, a.shape) for (_, (_, g)), a in zip(behind, arrays.values(), strict=True)]
            self.extra = {path: k for path, (k, _) in zip(arrays, behind, strict=True)} if all(same) else {}
        return [self._at(path) for path in self.extra]

    def _that_matter(self) -> dict[str, np.ndarray]:
        """The arrays that it holds before a forward and that change its output."""
        y = np.copy(self.call.forward(self._fresh())[0])
        found = {}
        self.start.restore()
        for path, array in float_arrays(self.layer).items():
            if not array.flags.writeable or not array.size:
                continue
            before = array.copy()
            array += 1e-3 * (1 + np.abs(array))
            try:
                if not np.array_equal(self.call.forward(self._fresh())[0], y, equal_nan=True):
                    found[path] = array
            except Exception:
                found[path] = array
            array[...] = before
            self.start.restore()
        return found

    # --- the reading ---

    def reading(self, beginning: Memory) -> Reading:
        names = self.call.names
        parameters: dict[str, np.ndarray] = {}
        for held in self.held:
            name = held.name if held.name not in (*names, *parameters) else f"{held.name}#2"
            parameters[name] = held.value()
        unchecked = "" if self.named is not None else self._unaccounted(parameters)
        self.start.leave(list(parameters.values()))
        count = len(self.inputs)

        def forward(*flat: Any) -> tuple[Any, Any]:
            for array, value in zip(parameters.values(), flat[count:], strict=True):
                array[...] = value
            return self.call.forward(flat[:count])

        def backward(dy: Any, cache: Any) -> dict[str, Any]:
            return self._gradients(parameters, dy, cache)

        returned = matched(self.claimed[: len(self.floats)], self.floats, self.call.returned)[0]
        return Reading(
            f"{type(self.layer).__name__} {getattr(self.layer, 'name', '')}".strip(),
            [*names, *parameters],
            [*self.inputs, *(array.copy() for array in parameters.values())],
            forward,
            backward,
            {*returned, *parameters},
            "none of that shape",
            self.notes,
            unchecked,
            is_number=np.ndim(self.y) == 0 and not isinstance(self.y, tuple),
            accounted=set(self.constants) & set(float_arrays(self.layer)),
            before_each=self.start.restore,
            put_back=beginning.restore,
        )

    def _gradients(self, parameters: Mapping[str, np.ndarray], dy: Any, cache: Any) -> dict[str, Any]:
        """All gradients of one backward, by name."""
        before = {name: array.copy() for name, array in parameters.items()}
        for held in self.held:
            if isinstance(gradient := held.gradient(), np.ndarray):
                gradient[...] = 0  # some layers add to their gradients
        claimed = self.call.backward(dy, cache)
        found, _ = matched(claimed[: len(self.floats)], self.floats, self.call.returned)
        extra = {} if self.named is not None or self.call.rate is not None else self.extra
        for (name, array), held in zip(parameters.items(), self.held, strict=True):
            now = held.value()
            if self.call.rate is not None:
                found[name] = before[name] - now
                continue
            found[name] = claimed[extra[held.name]][1] if held.name in extra else held.gradient()
            if now is not array or not np.array_equal(now, before[name]):
                note = (
                    f"note: backward moves {name} itself; a gradient is meant to leave that to the optimizer"
                )
                self.notes += [note] * (note not in self.notes)
        return found

    def _unaccounted(self, parameters: Mapping[str, np.ndarray]) -> str:
        """What keeps the verdict open: arrays that change the output, without a gradient."""
        known = {id(array) for array in parameters.values()}
        names = [
            path
            for path, array in self._that_matter().items()
            if id(array) not in known
            and path not in self.constants
            and not path.split(".")[-1].lstrip("_").startswith(STATISTICS)
        ]
        if not names:
            return ""
        example = ", ".join(f'"{n}": "d{n}"' for n in names if n.isidentifier()) or '"W": "dW"'
        return (
            f"parameters were not checked: {', '.join(names)} change the output, and no gradient of "
            f"them was found; name it, parameters={{{example}}}, or state that none is "
            f"meant, constants={tuple(names)}"
        )


def _attribute(layer: Any, value: str, gradient: str) -> Held:
    return Held(value, partial(getattr, layer, value), partial(getattr, layer, gradient, None))
