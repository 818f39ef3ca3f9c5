"""What a backward returned, sorted out: which gradient belongs to which array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.names import find_gradient

Leaf = tuple[str | None, Any]  # the key of a dictionary, if it was in one, and the gradient


def leaves(result: Any) -> list[Leaf]:
    """All gradients in a result: of (dx, [dW, db]) three, of {"W": dW} one with its name."""
    if isinstance(result, Mapping):
        return [(str(key), value) for key, value in result.items()]
    if isinstance(result, tuple | list) and not _is_numbers(result):
        return [leaf for part in result for leaf in leaves(part)]
    return [(None, result)]


def _is_numbers(result: Sequence) -> bool:
    """A list of numbers is an array, not several."""
    return isinstance(result, list) and bool(result) and all(isinstance(x, int | float) for x in result)


def matched(
    found: Sequence[Leaf], shapes: Mapping[str, tuple[int, ...]], returned: Sequence[str | None]
) -> tuple[dict[str, Any], str]:
    """The gradients by name of their array, and how they were matched ("" if by position alone).

    `shapes` are those of the arrays that may have a gradient, in the order of the arguments; `returned`
    the names in the return statement. The order of the arguments counts, where numbers and shapes agree
    with it; otherwise names do. What finds no gradient is left out.
    """
    if any(key is not None for key, _ in found):
        keys = {key: gradient for key, gradient in found if key is not None}
        pairs = {name: find_gradient(name, keys) for name in shapes}
        return {n: keys[label] for n, label in pairs.items() if label}, "by the keys of the dictionary"
    gradients = [gradient for _, gradient in found]
    if len(gradients) == len(shapes) and all(
        fits(g, shape) for g, shape in zip(gradients, shapes.values(), strict=True)
    ):
        return {n: g for n, g in zip(shapes, gradients, strict=True) if g is not None}, ""
    labels = {label: g for label, g in zip(returned, gradients, strict=False) if label}
    if len(returned) == len(gradients):
        pairs = {name: find_gradient(name, labels) for name in shapes}
        by_name = {n: labels[label] for n, label in pairs.items() if label and labels[label] is not None}
        if len(by_name) == sum(g is not None for g in gradients):
            words = ", ".join(label or "..." for label in returned)
            return by_name, f"by the names in `return {words}`"
    if len(gradients) == 1:  # one gradient for one of several arrays: that which has its shape
        fitting = [n for n, shape in shapes.items() if fits(gradients[0], shape)]
        if len(fitting) == 1 or (fitting and fitting[0] == next(iter(shapes))):
            return {fitting[0]: gradients[0]}, "" if len(shapes) == 1 else "by its shape"
    if len(gradients) == len(shapes):  # of another shape than they should have: for the check to say
        return {n: g for n, g in zip(shapes, gradients, strict=True) if g is not None}, ""
    return {}, ""


def fits(gradient: Any, shape: tuple[int, ...]) -> bool:
    """Whether a gradient may belong to an array of this shape: axes of length 1 do not count."""
    if gradient is None:
        return True
    return squeezed(np.shape(gradient)) == squeezed(shape)


def _of_another_shape(found: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """What may have happened, as the end of a sentence."""
    if sorted(found) == sorted(shape):
        return ": transposed?"
    if found[-len(shape) :] == shape or found[: len(shape)] == shape:
        return ": a sum over the other axes, as of the batch, is missing?"
    return ": summed over the wrong axes?" if len(found) <= len(shape) else ""


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without its axes of length 1."""
    return tuple(length for length in shape if length != 1)


def in_shape(name: str, gradient: Any, shape: tuple[int, ...], notes: list[str]) -> Any:
    """The gradient in the shape of its array, if it differs in axes of length 1 only; with a note."""
    gradient = np.asarray(gradient)
    if squeezed(gradient.shape) != squeezed(shape):
        raise ValueError(
            f"backward: expected a gradient of shape {list(shape)} for {name}, got {list(gradient.shape)}"
            f"{_of_another_shape(gradient.shape, shape)}"
        )
    if gradient.shape == shape:
        return gradient
    note = (
        f"note: the gradient of {name} has shape {list(gradient.shape)}, {name} has {list(shape)}; its "
        "numbers are compared, but an update in place may fail: reshape it, or sum without keepdims"
    )
    if note not in notes:
        notes.append(note)
    return gradient.reshape(shape)
