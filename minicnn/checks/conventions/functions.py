"""Functions: pairs of forward and backward, losses with their gradient, a function and its derivative.

    out, cache = affine_forward(x, w, b)      dx, dw, db = affine_backward(dout, cache)
    h, c, cache = step_forward(x, h, c, W)    dx, dh, dc, dW = step_backward(dh, dc, cache)
    y = relu(x)                               dx = relu_backward(dy, x)
    y = sigmoid(x)                            sigmoid_prime(x), the derivative of each entry
    loss, dx = softmax_loss(x, labels)        loss, grads = model.loss(x, labels), with model.params

What wants to be called otherwise is refused, with the pair to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.memory import Memory
from minicnn.checks.conventions.names import (
    CACHES,
    OUTPUTS,
    is_upstream,
    positional,
    required,
    returned_names,
)
from minicnn.checks.conventions.reading import Arguments, Reading, is_float
from minicnn.checks.conventions.results import leaves, matched

Backward = Callable[[Any, Any], Any]  # of dy and what forward left


def name_of(function: Callable) -> str:
    """The name of a function, or of the class of a callable object."""
    return getattr(function, "__name__", type(function).__name__)


def read_pair(
    forward: Callable, backward: Callable, inputs: Sequence[Any], constants: Collection[str] = ()
) -> Reading:
    """Read a pair of functions, after one trial of each.

    Raises TypeError, with the line to write, if it cannot be told how backward wants to be called.
    """
    arguments = Arguments(argument_names(forward, len(inputs)), inputs)
    notes: list[str] = []
    state = Memory([forward, *(a for a in inputs if not isinstance(a, np.ndarray))])
    result = forward(*arguments.fresh())
    split, call = _how_to_call(forward, backward, result, arguments.names, notes)

    def forward_once(*flat: Any) -> tuple[Any, Any]:
        given = arguments.fresh(flat)
        y, cache = split(forward(*given))
        return y, (given, y, cache)

    y, cache = forward_once(*arguments.inputs)
    claimed = leaves(call(_ones(y), cache))
    return _matched_reading(
        forward,
        backward,
        arguments,
        constants,
        forward_once,
        call,
        claimed,
        notes,
        state,
        is_number=np.ndim(y) == 0 and not isinstance(y, tuple),
    )


def read_loss(loss: Callable, inputs: Sequence[Any], constants: Collection[str] = ()) -> Reading | None:
    """Read a function that returns (loss, gradients); None if it returns something else."""
    arguments = Arguments(argument_names(loss, len(inputs)), inputs)
    state = Memory([loss, *(a for a in inputs if not isinstance(a, np.ndarray))])
    result = loss(*arguments.fresh())
    if not (isinstance(result, tuple | list) and len(result) >= 2 and np.ndim(result[0]) == 0):
        return None

    def forward(*flat: Any) -> tuple[Any, Any]:
        value, *gradients = loss(*arguments.fresh(flat))
        return np.float64(value) if np.asarray(value).dtype == np.float64 else value, gradients

    def call(dy: Any, gradients: Any) -> Any:
        return times(dy, gradients)

    notes = ["read as: a function that returns (loss, gradients)"]
    claimed = leaves(list(result[1:]))
    return _matched_reading(
        loss, loss, arguments, constants, forward, call, claimed, notes, state, True, first=1
    )


def _matched_reading(
    forward: Callable,
    backward: Callable,
    arguments: Arguments,
    constants: Collection[str],
    forward_once: Callable,
    call: Backward,
    claimed: list,
    notes: list[str],
    state: Memory,
    is_number: bool,
    first: int = 0,
) -> Reading:
    """The reading, once one result of backward has shown which gradient belongs to which argument."""
    returned = returned_names(backward)[first:]
    keys = {key for key, _ in claimed if key is not None}
    whole = not keys and len(claimed) == arguments.number_of_arrays()
    arguments.open(keys | {name for name in returned if name}, whole)
    shapes = {
        name: a.shape
        for name, a in zip(arguments.names, arguments.inputs, strict=True)
        if is_float(a) and name not in constants
    }
    found, how = matched(claimed, shapes, returned)
    if shapes and len(claimed) == 1 and claimed[0][1] is None:
        raise ValueError(f"backward: expected the gradient of {next(iter(shapes))}, got None")
    if not found and len(claimed) == len(arguments.names):  # None for what has no gradient
        everything = {n: np.shape(a) for n, a in zip(arguments.names, arguments.inputs, strict=True)}
        found, how = matched(claimed, everything, returned)
    if how:
        notes.append(f"read as: gradients of {', '.join(found)}, {how}")

    def backward_once(dy: Any, cache: Any) -> dict[str, Any]:
        result = call(dy, cache)
        pairs = leaves(result)
        again, _ = matched(pairs, shapes, returned)
        if not again and len(pairs) == len(arguments.names):
            again = {n: g for n, (_, g) in zip(arguments.names, pairs, strict=True)}
        return again

    return Reading(
        name_of(forward),
        arguments.names,
        arguments.inputs,
        forward_once,
        backward_once,
        set(found),
        "None" if all(g is None for _, g in claimed) else f"{len(claimed)} arrays",
        notes,
        is_number=is_number,
        before_each=state.restore,
        put_back=state.restore,
    )


def times(dy: Any, result: Any) -> Any:
    """A result of derivatives, each multiplied by dy."""
    if isinstance(result, Mapping):
        return {key: times(dy, part) for key, part in result.items()}
    if isinstance(result, tuple | list):
        return [times(dy, part) for part in result]
    return None if result is None else dy * np.asarray(result)


def _ones(y: Any) -> Any:
    if isinstance(y, tuple):
        return tuple(_ones(part) for part in y)
    return np.ones_like(y) if isinstance(y, np.ndarray) else 1.0


def _how_to_call(
    forward: Callable, backward: Callable, result: Any, names: list[str], notes: list[str]
) -> tuple[Callable[[Any], tuple[Any, Any]], Backward]:
    """How to take a result of forward apart into (y, cache), and to call backward with dy and these."""
    wanted = positional(backward)
    needed = required(backward)
    if needed is None or any(k in str(_signature(backward)) for k in ("*args", "*grad")):
        wanted = needed = ["dy", "cache"]  # nothing is known: the common form
    if not isinstance(result, tuple):
        return _without_cache(forward, backward, result, wanted, needed, names, notes)
    caches = [n for n in needed if n.lower() in CACHES or "cache" in n.lower()]
    caches = caches or needed[1:2] * (len(needed) == 2)  # dy and the cache, whatever they are called
    outputs = len(result) - 1
    if len(result) > 2 and len([n for n in needed if is_upstream(n)]) < outputs and len(needed) == 2:
        outputs = 1  # y, and several things to remember
    swapped = bool(caches) and needed.index(caches[0]) == 0 and len(needed) > 1
    if swapped:
        notes.append(f"read as: {name_of(backward)}({', '.join(needed)}), the cache first")

    def split(result: tuple) -> tuple[Any, Any]:
        y = result[0] if outputs == 1 else tuple(result[:outputs])
        rest = result[outputs:]
        if len(needed) < 2:  # backward(dy) alone, with a state of its own
            return y, None
        return y, rest[0] if len(rest) == 1 else rest

    if isinstance(result[0], tuple | list):  # (h, c), cache
        notes.append(f"read as: {len(result[0])} outputs, and a cache")

        def split(result: tuple) -> tuple[Any, Any]:
            return tuple(result[0]), result[1]
    elif outputs > 1:
        notes.append(f"read as: {outputs} outputs, and a cache")

    def call(dy: Any, given: Any) -> Any:
        inputs, _, cache = given
        dys = dy if isinstance(dy, tuple) else (dy,)
        upstream = [n for n in needed if n not in caches and n not in names]
        if len(dys) > 1 and len(upstream) == 1:
            dys = (dy,)  # one argument, a tuple
        waiting = list(dys)
        values = []
        for name in needed:
            if name in names and name not in caches and not is_upstream(name):
                values.append(inputs[names.index(name)])
            elif waiting and name not in caches:
                values.append(waiting.pop(0))
            else:
                values.append(cache)
        return backward(*values)

    return split, call


def _without_cache(
    forward: Callable,
    backward: Callable,
    result: Any,
    wanted: list[str],
    needed: list[str],
    names: list[str],
    notes: list[str],
) -> tuple[Callable[[Any], tuple[Any, Any]], Backward]:
    """forward returns y alone: backward takes dy, and arguments or the output of forward, by their names."""
    known = [n for n in needed if n in names]
    others = [n for n in needed if n not in names]
    upstream = next((n for n in others if is_upstream(n)), None)
    if upstream is None and others and others[0].lower() not in OUTPUTS:
        upstream = others[0]
    alias: dict[str, str] = {}
    if len(needed) == 1 and upstream is not None and not is_upstream(upstream):
        alias = {upstream: names[0]}  # sigmoid_prime(z) for sigmoid(x)
        upstream = None
    of_output = [n for n in others if n != upstream and n not in alias]
    if len(of_output) > 1 or any(n.lower() not in OUTPUTS for n in of_output):
        raise TypeError(_say_how(forward, backward, names))
    words = ", ".join(needed)
    if upstream is None:
        of = "of each entry of the output" if np.ndim(result) else "of a number"
        notes.append(f"read as: {name_of(backward)}({words}), the derivative {of}, to be multiplied by dy")
    elif known or of_output:
        what = [f"{n} = the output" for n in of_output] + [f"{n} = the argument" for n in known]
        notes.append(f"read as: {name_of(backward)}({words}) with {', '.join(what)}")

    def call(dy: Any, given: Any) -> Any:
        inputs, y, _ = given
        values: dict[str | None, Any] = {upstream: dy} | dict.fromkeys(of_output, y)
        values |= {n: inputs[names.index(alias.get(n, n))] for n in [*known, *alias]}
        claimed = backward(*(values[n] for n in needed))
        return claimed if upstream is not None else times(dy, claimed)

    return lambda result: (result, None), call


def _signature(function: Callable) -> Any:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return "*args"


def _say_how(forward: Callable, backward: Callable, names: list[str]) -> str:
    f, b, x = name_of(forward), name_of(backward), ", ".join(names)
    return (
        f"{b}: expected arguments that are a gradient dy, a cache, or among {x}; got {_signature(backward)}. "
        f"Write a pair for it: minicnn.gradient_check((lambda {x}: ({f}({x}), ({x},)), "
        f"lambda dy, cache: {b}(...)), {x})"
    )


def argument_names(forward: Callable, count: int) -> list[str]:
    """The names that forward gives to its first `count` arguments."""
    names = positional(forward)
    return [*names[:count], *(f"input {k}" for k in range(len(names), count))]
