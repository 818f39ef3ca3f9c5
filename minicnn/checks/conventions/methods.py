"""How the methods forward and backward of an object are called, and what they hand back.

    y = layer.forward(x)             dx = layer.backward(dy)
    y, cache = layer.forward(x)      dx = layer.backward(dy, cache), or (dx, dW, db), or (dx, [dW, db])
    layer.forward(x) sets .output    layer.backward(dy) sets .dinputs
    loss.forward(y, labels)          dy = loss.backward(y, labels), or (dy, labels) with y in place of dy
    y = layer.forward(x)             dx = layer.backward(dy, x)

With `layer.backward(dy, learning_rate)`, parameters move at once: see objects.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.functions import argument_names, times
from minicnn.checks.conventions.names import (
    LABELS,
    LEARNING_RATES,
    OUTPUTS,
    TRAINING,
    find_gradient,
    positional,
    required,
    returned_names,
)
from minicnn.checks.conventions.results import Leaf, leaves

Method = Callable[..., Any]
METHODS = (
    ("forward", "backward"),
    ("__call__", "backward"),
    ("forward_pass", "backward_pass"),
    ("fprop", "bprop"),
    ("forward", "backprop"),
    ("forward_propagation", "backward_propagation"),
)
INPUT_GRADIENTS = ("dinputs", "dinput", "dx", "dX", "grad_input")


def methods_of(layer: Any) -> tuple[Method, Method] | None:
    """The methods forward and backward of an object, under one of their usual names."""
    for names in METHODS:
        forward, backward = (getattr(layer, name, None) for name in names)
        if callable(forward) and callable(backward):
            return forward, backward
    return None


class Methods:
    """The two methods of one object, for `count` inputs.

    `names` are those of the inputs, `returned` those in backward's return statement, `rate` that of its
    learning rate. `how` says, after the first backward, what had to be guessed.
    """

    layer: Any
    names: list[str]
    rate: str | None
    returned: list[str | None]
    how: str

    def __init__(
        self,
        layer: Any,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        count: int,
        training: bool,
    ) -> None:
        self.layer, self._forward, self._backward = layer, forward, backward
        self._options = {name: training for name in TRAINING if name in positional(forward)}
        self.names = argument_names(forward, count)
        accepted = positional(backward)
        self.rate = next((n for n in accepted[1:] if n.lower() in LEARNING_RATES), None)
        self._needed = (required(backward) or accepted[:1]) if accepted else []
        known = {*self.names, *LABELS}
        self._takes_inputs = len(self._needed) > 1 and any(n in known for n in self._needed)
        self.returned = returned_names(backward)
        self.how = ""

    def forward(self, inputs: Sequence[Any]) -> tuple[Any, Any]:
        """The output, and what backward needs besides dy."""
        y = self._forward(*inputs, **self._options)
        if y is None:
            y = next((getattr(self.layer, n) for n in OUTPUTS if hasattr(self.layer, n)), None)
            if y is None:
                raise TypeError(
                    f"{type(self.layer).__name__}.forward: expected an output, got None, and none in "
                    f"{', '.join(OUTPUTS[:4])}; let it return y"
                )
        if self._takes_inputs:
            return y, (inputs, np.ndim(y) == 0)
        if isinstance(y, tuple) and len(y) == 2 and len(self._needed) >= 2 and self.rate is None:
            return y
        return y, None

    def backward(self, dy: Any, cache: Any) -> list[Leaf]:
        """The gradients that it returned, or those of the inputs that it left in attributes."""
        if self.rate is not None:
            result = self._backward(dy, **{self.rate: 1.0})
        elif self._takes_inputs:
            arguments, has_dy = self._with_inputs(dy, *cache)
            result = self._backward(*arguments)
            if not has_dy:
                found = leaves(result) if result is not None else self._left_in_attributes()
                return [(key, times(dy, gradient)) for key, gradient in found]
        elif len(self._needed) >= 2:
            result = self._backward(dy, cache)
        else:
            result = self._backward(dy) if positional(self._backward) else self._backward()
        return leaves(result) if result is not None else self._left_in_attributes()

    def _with_inputs(self, dy: Any, inputs: Sequence[Any], is_loss: bool) -> tuple[list[Any], bool]:
        """The arguments of a backward that takes some of forward's, and whether dy is among them."""
        given = dict(zip(self.names, inputs, strict=True))
        others = [name for name in self._needed if name not in given]
        if is_loss and len(self._needed) == len(inputs):  # whatever they are called, they are the inputs
            arguments, has_dy = [given.get(n, a) for n, a in zip(self._needed, inputs, strict=True)], False
        elif len(others) == 1:
            arguments, has_dy = [given.get(n, dy) for n in self._needed], True
        else:
            raise TypeError(
                f"{type(self.layer).__name__}.backward: expected dy and inputs of forward, got "
                f"{', '.join(self._needed)}; write a pair: minicnn.gradient_check((lambda x: (f(x), x), "
                "lambda dy, x: dx), x)"
            )
        words = [
            name if name in given else ("dy" if has_dy else self.names[k])
            for k, name in enumerate(self._needed)
        ]
        self.how = f"read as: backward({', '.join(words)})"
        return arguments, has_dy

    def _left_in_attributes(self) -> list[Leaf]:
        held = getattr(self.layer, "__dict__", {})
        labels = [find_gradient(n, [k for k in held if k != n]) for n in self.names]
        if labels and labels[0] is None:
            labels[0] = next((n for n in INPUT_GRADIENTS if n in held), None)
        return [(None, held[label]) for label in labels if label is not None]
