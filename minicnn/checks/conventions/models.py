"""Networks with a method `loss`, as homework has them.

    loss, grads = model.loss(x, labels)                             with dictionaries model.params and grads
    loss = model.loss(x, labels); grads = model.gradient(x, labels)

The images take no gradient in this form; only the parameters do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.functions import argument_names, read_pair
from minicnn.checks.conventions.memory import Memory, make_double
from minicnn.checks.conventions.names import find_gradient
from minicnn.checks.conventions.reading import Reading, as_float64, is_float

GRADIENTS = ("gradient", "gradients", "grad", "backward", "compute_gradients")


def is_model(subject: Any) -> bool:
    """Whether it has a method `loss` and keeps parameters in a dictionary `params`."""
    return callable(getattr(subject, "loss", None)) and isinstance(getattr(subject, "params", None), dict)


def read_model(model: Any, inputs: Sequence[Any]) -> Reading:
    """Read a network with `loss`, after one trial."""
    beginning = Memory(model)
    try:
        make_double(model)
        return _read(model, inputs, beginning)
    except BaseException:
        beginning.restore()
        raise


def _read(model: Any, inputs: Sequence[Any], beginning: Memory) -> Reading:
    values = [as_float64(a) for a in inputs]
    names = argument_names(model.loss, len(inputs))
    start = Memory(model)
    result = model.loss(*values)
    together = isinstance(result, tuple) and len(result) == 2
    gradient = next((getattr(model, n) for n in GRADIENTS if callable(getattr(model, n, None))), None)
    if not together and gradient is None:
        raise TypeError(
            f"{type(model).__name__}.loss: expected (loss, grads), or a method `gradient` for the grads; "
            f"got {type(result).__name__}. Pass a function: gradient_check(lambda x, t: (loss, grads), x, t)"
        )
    start.restore()

    def grads() -> Any:
        return model.loss(*values)[1] if together else gradient(*values)  # type: ignore[misc]

    claimed = grads()
    start.restore()
    if not isinstance(claimed, Mapping):
        raise TypeError(f"gradients: expected a dictionary like params, got {type(claimed).__name__}")
    params = {name: array for name, array in model.params.items() if is_float(array)}
    labels = {name: find_gradient(name, list(claimed)) for name in params}
    start.leave(list(params.values()))

    def forward(*flat: Any) -> tuple[Any, Any]:
        for array, value in zip(params.values(), flat, strict=True):
            array[...] = value
        result = model.loss(*values)
        return (result[0] if together else result), None

    def backward(dy: Any, cache: Any) -> dict[str, Any]:
        start.restore()  # the same random numbers as in forward
        found = grads()
        return {name: dy * np.asarray(found[label]) for name, label in labels.items() if label is not None}

    fixed = ", ".join(n for n, a in zip(names, values, strict=True) if is_float(a))
    notes = [f"read as: a network whose loss has gradients of its params; {fixed or 'the input'} takes none"]
    return Reading(
        type(model).__name__,
        list(params),
        [array.copy() for array in params.values()],
        forward,
        backward,
        {name for name, label in labels.items() if label is not None},
        notes=notes,
        before_each=start.restore,
        put_back=beginning.restore,
    )


def read_loss_object(loss: Any, inputs: Sequence[Any], constants: Collection[str] = ()) -> Reading | None:
    """Read an object with `loss(y, t)` and `grad(y, t)`; None if it has no such methods."""
    value: Callable | None = next(
        (getattr(loss, n) for n in ("loss", "forward", "__call__") if callable(getattr(loss, n, None))), None
    )
    gradient = next((getattr(loss, n) for n in GRADIENTS if callable(getattr(loss, n, None))), None)
    if value is None or gradient is None:
        return None
    reading = read_pair(value, gradient, inputs, constants)
    reading.name = type(loss).__name__
    return reading
