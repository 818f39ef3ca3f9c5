"""Parameters: what is trained, its gradient, and the one array that holds all of a network's.

The gradient of a dense weight is the product x.T @ dy, and for a large layer it is the largest array
of a training step. Adam can form it block by block, move each block of the weight at once, and never
store it. So a layer may leave such a gradient as a `Product`. Whoever reads `Parameter.grad` gets
dL/dp all the same: it is multiplied then. From that first reading on, backward writes this gradient
every time, because somebody holds the array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from minicnn.engine.arguments import floats
from minicnn.engine.workspace import Workspace, aligned_empty, aligned_zeros

Array = np.ndarray


class Product(NamedTuple):
    """The gradient x.T @ dy of a dense weight [D, F], not multiplied yet.

    The factors x [N, D] and dy [N, F] are copies: nothing but the parameter's next backward changes them.
    """

    x: Array
    dy: Array


class Parameter:
    """A trained array: its name, its value [...], and its gradient of the same shape.

    Assigning to `value` or `grad` copies into the array that is there: a network keeps all its
    parameters side by side, and an optimizer moves them where they are. The array of a parameter that
    a network takes over is copied, and then locked: what is written there would be lost.
    Raises TypeError unless the value is an array of float32 or float64.
    """

    store: ParameterStore | None
    start: int

    def __init__(self, name: str, value: Array) -> None:
        self.name = name
        self._value = floats("value", value)
        self._grad: Array | None = None  # made when first needed
        self._grad_was_read = False
        self._gradients = 0
        self._pending: Product | None = None
        self._ops: Any = None  # multiply the pending product
        self._factors = Workspace()
        self.store: ParameterStore | None = None
        self.start = 0  # the place in the store

    def __getstate__(self) -> dict[str, Any]:
        """What `copy` and `pickle` need. Where a copy lies decides the network that it is copied with."""
        return self.__dict__ | {"store": None, "start": 0}

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {list(self.value.shape)}, {self.value.dtype})"

    @property
    def value(self) -> Array:
        """The array that is trained."""
        return self._value

    @value.setter
    def value(self, value: Array) -> None:
        self._assign("value", self._value, value)

    @property
    def grad(self) -> Array:
        """dL/dvalue of the last backward, zeros before the first. The next step obeys what is written."""
        self._grad_was_read = True
        self._gradients += 1  # whoever asks may write into it
        return self._multiplied_grad()

    @grad.setter
    def grad(self, grad: Array) -> None:
        self._assign("grad", self.grad, grad)

    @property
    def gradients(self) -> int:
        """How many gradients there were so far. An optimizer uses none of them twice."""
        return self._gradients

    @property
    def pending(self) -> Product | None:
        """The gradient as a product that nobody has multiplied yet, or None if `grad` holds it."""
        return self._pending

    def set_gradient(self, grad: Array) -> None:
        """Take over the gradient that a backward has computed."""
        self._pending = None
        self._gradients += 1
        self._grad_array()[...] = grad

    def set_gradient_product(self, x: Array, dy: Array, ops: Any) -> None:
        """Take over the gradient x.T @ dy, which `ops` multiply when it is read, or now if it ever was."""
        self._gradients += 1
        if self._grad_was_read:
            self._pending = None
            ops.dense_weight_gradient(x, dy, out=self._grad_array())
            return
        factors = []
        for name, factor in (("x", x), ("dy", dy)):
            copy = self._factors.empty(name, factor.shape, factor.dtype)
            copy[...] = factor
            factors.append(copy)
        self._pending, self._ops = Product(*factors), ops

    def move_to(self, store: ParameterStore, start: int) -> None:
        """Live in a store from here on, at [start : start + size]."""
        here, shape = slice(start, start + self._value.size), self._value.shape
        store.values[here] = self._value.reshape(-1)
        if self._grad is not None:
            store.grads[here] = self._grad.reshape(-1)
        for array in (self._value, self._grad):
            if array is not None:
                array.flags.writeable = False
        self._value, self._grad = store.values[here].reshape(shape), store.grads[here].reshape(shape)
        self.store, self.start = store, start

    def _multiplied_grad(self) -> Array:
        grad = self._grad_array()
        if self._pending is not None:
            self._ops.dense_weight_gradient(*self._pending, out=grad)
            self._pending = None
        return grad

    def _grad_array(self) -> Array:
        if self._grad is None:
            self._grad = np.zeros_like(self._value)
        return self._grad

    def _assign(self, what: str, array: Array, given: Array) -> None:
        if given is array:  # p.grad *= 0.5 assigns the array to itself
            return
        given = np.asarray(given)
        if given.shape != array.shape or given.dtype.kind not in "fiu":
            raise ValueError(
                f"{self.name}.{what}: expected {array.dtype} {list(array.shape)}, "
                f"got {given.dtype} {list(given.shape)}"
            )
        array[...] = given


class ParameterStore:
    """Two arrays, `values` and `grads`, in which parameters lie side by side in their order.

    An optimizer moves them in one pass over memory, and a checkpoint is a few arrays.
    Raises ValueError for parameters of different dtypes.
    """

    values: Array
    grads: Array

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        size, dtype = sum(p.value.size for p in parameters), common_dtype(parameters)
        self.values, self.grads = aligned_empty(size, dtype), aligned_zeros(size, dtype)
        start = 0
        for p in parameters:
            p.move_to(self, start)
            start += p.value.size


def common_dtype(parameters: Sequence[Parameter]) -> np.dtype:
    """The dtype of all parameters; float32 if there are none. Raises ValueError if they differ."""
    dtypes = {p.value.dtype for p in parameters} or {np.dtype(np.float32)}
    if len(dtypes) > 1:
        raise ValueError(f"parameters: expected one dtype, got {', '.join(sorted(map(str, dtypes)))}")
    return dtypes.pop()


def neighbours(
    parameters: Sequence[Parameter], alone: Callable[[Parameter], bool] = lambda p: False
) -> list[list[Parameter]]:
    """The parameters in their order, grouped: a group lies side by side in one store.

    A parameter that is to stay `alone` is a group of its own.
    """
    groups = [[p] for p in parameters[:1]]
    for before, p in pairwise(parameters):
        beside = p.store is not None and p.store is before.store
        beside = beside and p.start == before.start + before.value.size
        if beside and not alone(before) and not alone(p):
            groups[-1].append(p)
        else:
            groups.append([p])
    return groups


def values_of(group: Sequence[Parameter]) -> Array:
    """The values of neighbours: one flat view, or the array of a parameter alone."""
    return group[0].value if len(group) == 1 else _flat(group, "values")


def grads_of(group: Sequence[Parameter]) -> Array:
    """The gradients of neighbours: one flat view, or the array of a parameter alone."""
    grads = [p._multiplied_grad() for p in group]
    return grads[0] if len(group) == 1 else _flat(group, "grads")


def _flat(group: Sequence[Parameter], kind: str) -> Array:
    return getattr(group[0].store, kind)[group[0].start : group[-1].start + group[-1].value.size]
