"""In whatever convention gradients were written: read as the one that is checked.

    names.py       how people name gradients, caches, outputs
    results.py     which of the gradients returned belongs to which array
    functions.py   pairs of functions, losses that return their gradient, a function and its derivative
    methods.py     how the methods forward and backward of an object are called
    objects.py     layers that keep parameters and gradients in attributes, dictionaries or lists
    holders.py     where objects keep them
    models.py      networks with a method `loss`
    memory.py      all that an object holds, remembered and put back
    of_torch.py    PyTorch;  of_jax.py  JAX: only for who passes them
    reading.py     what all of these become

Nothing is guessed unsaid: what was recognised stands in the report's lines "read as: ...".
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.functions import name_of, read_loss, read_pair
from minicnn.checks.conventions.methods import methods_of
from minicnn.checks.conventions.models import is_model, read_loss_object, read_model
from minicnn.checks.conventions.names import required
from minicnn.checks.conventions.objects import read_object
from minicnn.checks.conventions.of_jax import of_jax, read_jax
from minicnn.checks.conventions.of_torch import of_torch, read_torch
from minicnn.checks.conventions.reading import Reading, ReadSubject
from minicnn.checks.state import State, is_ours
from minicnn.checks.subject import Subject
from minicnn.checks.subjects import FunctionSubject, LayerSubject
from minicnn.engine.losses import SoftmaxCrossEntropy

HOW = (
    "gradient_check: expected a layer with forward(x) and backward(dy), a pair (forward, backward), a "
    "function that returns (loss, gradients), a torch module or function, or a JAX function; got {}. "
    "Write a pair for it: minicnn.gradient_check((lambda x: (f(x), x), lambda dy, x: dx), x)"
)


def recognised(
    subject: Any,
    inputs: Sequence[Any],
    constants: Collection[str],
    training: bool,
    parameters: Mapping[str, str] | None,
    dtype: type = np.float64,
) -> Subject:
    """What the gradient check is to look at. If it cannot be told: TypeError, with the line to write."""
    if _declares_itself(subject, parameters):
        return LayerSubject(subject, inputs, constants, training, parameters, dtype)
    if (
        _is_pair(subject)
        and (pair := _declared_pair(subject[0], subject[1], inputs, constants, dtype)) is not None
    ):
        return pair
    reading = _read(subject, inputs, constants, training, parameters)
    try:
        return ReadSubject(reading, constants, dtype)
    except BaseException:
        reading.put_back()
        raise


def _declares_itself(subject: Any, parameters: Mapping[str, str] | None) -> bool:
    """Whether it is a layer whose parameters are declared: ours, or named, or with .value and .grad."""
    if isinstance(subject, tuple | type) or methods_of(subject) is None or of_torch(subject, ()):
        return False
    if isinstance(subject, SoftmaxCrossEntropy) or is_ours(subject):
        return True
    if parameters is not None:
        return hasattr(subject, "forward") and hasattr(subject, "backward")
    try:
        found = getattr(subject, "parameters", [])
        found = list(found() if callable(found) else found)
    except TypeError:
        return False
    return bool(found) and all(
        isinstance(getattr(p, "value", None), np.ndarray) and hasattr(p, "grad") for p in found
    )


def _is_pair(subject: Any) -> bool:
    return isinstance(subject, tuple | list) and len(subject) == 2 and all(map(callable, subject))


def _declared_pair(
    forward: Callable, backward: Callable, inputs: Sequence[Any], constants: Collection[str], dtype: type
) -> Subject | None:
    """A pair that keeps the promise: y, cache = forward(...), and dx, ... = backward(dy, cache) in order."""
    taken = required(backward)
    if taken is None or len(taken) != 2 or "cache" in taken[0].lower():
        return None
    if any(isinstance(a, np.random.Generator) for a in inputs):  # to be put back, which is for a reading
        return None
    results: list[Any] = []

    def watched(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            results.append(function(*arguments))
            return results[-1]

        return call

    state = State(())
    subject = FunctionSubject(watched(forward), watched(backward), inputs, constants, dtype)
    try:
        y = subject.evaluate()
        if not isinstance(results[0], tuple) or len(results[0]) != 2:
            return None
        subject.gradients(np.ones(y.shape))
        if isinstance(results[-1], Mapping):  # its keys say more than their order
            return None
    except Exception:  # whatever it is, it is said when the pair is read
        return None
    finally:
        state.restore()
    return FunctionSubject(forward, backward, inputs, constants, dtype)


def _read(
    subject: Any,
    inputs: Sequence[Any],
    constants: Collection[str],
    training: bool,
    parameters: Mapping[str, str] | None,
) -> Reading:
    if of_torch(subject, inputs) and not isinstance(subject, tuple):
        return read_torch(subject, inputs, training)
    if of_jax(subject, inputs) and not isinstance(subject, tuple):
        return read_jax(subject, inputs)
    if _is_pair(subject):
        forward, backward = subject
        owner = getattr(forward, "__self__", None)
        if owner is not None and owner is getattr(backward, "__self__", None) and methods_of(owner):
            return read_object(owner, inputs, training, parameters, constants, (forward, backward))
        return read_pair(forward, backward, inputs, constants)
    if isinstance(subject, type):
        raise TypeError(
            f"gradient_check: expected an object, got the class {subject.__name__}; make one: "
            f"minicnn.gradient_check({subject.__name__}(...), x)"
        )
    if is_model(subject):
        return read_model(subject, inputs)
    if methods_of(subject) is not None:
        return read_object(subject, inputs, training, parameters, constants)
    reading = read_loss_object(subject, inputs, constants)
    if reading is None and callable(subject):
        reading = read_loss(subject, inputs, constants)
    if reading is None:
        raise TypeError(HOW.format(name_of(subject)))
    return reading
