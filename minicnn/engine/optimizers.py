"""Optimizers: how gradients move parameters.

Parameters that lie side by side in memory, as a network's do, are updated as one long array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from minicnn.engine.arguments import BELOW_1, number
from minicnn.engine.kernels.buffers import Buffers, reuse
from minicnn.engine.layers.base import Parameter, find_ops

Factors = tuple[np.ndarray, np.ndarray]  # x and dy of the gradient x.T @ dy


def _as_few_arrays(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The arrays, or one view of the memory that they fill from end to end."""
    base, dtype = arrays[0].base, arrays[0].dtype
    starts = [array.__array_interface__["data"][0] for array in arrays]
    ends = [start + array.nbytes for start, array in zip(starts, arrays, strict=True)]
    alike = all(a.base is base and a.dtype == dtype and a.flags.c_contiguous for a in arrays)
    if base is None or not alike or starts[1:] != ends[:-1]:
        return arrays
    offset = starts[0] - base.__array_interface__["data"][0]
    return [np.ndarray(sum(a.size for a in arrays), dtype, buffer=base, offset=offset)]


class Optimizer:
    """Parameters, and the arrays of the same size that the optimizer remembers, by name."""

    def __init__(self, parameters: Sequence[Parameter], learning_rate: float, ops: str) -> None:
        if not parameters:
            raise ValueError("parameters: expected at least one, got none")
        for p in parameters:
            if not isinstance(p, Parameter):
                raise TypeError(f"parameters: expected Parameter objects, got {type(p).__name__}")
        self.learning_rate = number("learning_rate", learning_rate, "a number above 0", above=0)
        self.steps = 0
        self.ops = find_ops(ops)
        self._parameters = list(parameters)
        self._values = _as_few_arrays([p.value for p in parameters])
        self._grads = _as_few_arrays([p.grad for p in parameters])
        if [a.shape for a in self._values] != [a.shape for a in self._grads]:
            self._values, self._grads = [p.value for p in parameters], [p.grad for p in parameters]
        self.state: dict[str, list[np.ndarray]] = {}

    def _remember(self, name: str) -> None:
        self.state[name] = [np.zeros_like(value) for value in self._values]

    def step(self) -> None:
        """Move every parameter once, along its gradient of the last backward."""
        self.steps += 1
        for factors, arrays in self._pieces():
            if factors is None:
                self._update(*arrays)
            else:
                self._update_by_product(*factors, *arrays)

    def _update(self, value: np.ndarray, grad: np.ndarray, *state: np.ndarray) -> None:
        raise NotImplementedError

    def _update_by_product(
        self, x: np.ndarray, dy: np.ndarray, value: np.ndarray, grad: np.ndarray, *state: np.ndarray
    ) -> None:
        """`_update` along x.T @ dy; `grad` is out of date."""
        _, product, _ = self.ops.dense_backward(dy, (x, value), input_gradient=False)
        self._update(value, product, *state)

    def _pieces(self) -> Iterator[tuple[Factors | None, list[np.ndarray]]]:
        """Value, gradient and state to be moved at once: of all neighbours without factors, of each with."""
        pieces = list(zip(self._values, self._grads, *self.state.values(), strict=True))
        if len(pieces) == len(self._parameters):
            yield from ((p.factors, list(arrays)) for p, arrays in zip(self._parameters, pieces, strict=True))
            return
        start = 0
        for lone, run in groupby(self._parameters, lambda p: None if p.factors is None else p):
            end = start + sum(p.value.size for p in run)
            arrays = [array[start:end] for array in pieces[0]]
            if lone is None:
                yield None, arrays
            else:
                yield lone.factors, [array.reshape(lone.value.shape) for array in arrays]
            start = end


class Adam(Optimizer):
    """Adam: each weight moves by about learning_rate, whatever the scale of its gradient.

    m = beta1 m + (1 - beta1) g         v = beta2 v + (1 - beta2) g^2
    value -= learning_rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    With `weight_decay`, each step first takes learning_rate * weight_decay of every value away.
    Source: Kingma, Ba: Adam (2015), Algorithm 1; of the decay: Loshchilov, Hutter: Decoupled Weight
    Decay Regularization (2019), Algorithm 2.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        learning_rate: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        ops: str = "kernels",
    ) -> None:
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            number(name, beta, f"0 <= {name} < 1", low=0, high=BELOW_1)
        number("epsilon", epsilon, "a number above 0", above=0)
        super().__init__(parameters, learning_rate, ops)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.weight_decay = number("weight_decay", weight_decay, "a number from 0", low=0)
        self._remember("m")
        self._remember("v")
        self._buffers = Buffers()

    def _update(self, value: np.ndarray, grad: np.ndarray, *state: np.ndarray) -> None:
        self.ops.adam_update(value, grad, *state, *self._settings())

    def _update_by_product(
        self, x: np.ndarray, dy: np.ndarray, value: np.ndarray, grad: np.ndarray, *state: np.ndarray
    ) -> None:
        with reuse(self._buffers):
            self.ops.adam_product_update(value, x, dy, *state, *self._settings())

    def _settings(self) -> tuple[float, ...]:
        return self.steps, self.learning_rate, self.beta1, self.beta2, self.epsilon, self.weight_decay


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    velocity = momentum * velocity - learning_rate * g         value += velocity

    Source: Sutskever et al.: On the importance of initialization and momentum (2013), equation 1.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        *,
        ops: str = "kernels",
    ) -> None:
        number("momentum", momentum, "0 <= momentum < 1", low=0, high=BELOW_1)
        super().__init__(parameters, learning_rate, ops)
        self.momentum = momentum
        self._remember("velocity")

    def _update(self, value: np.ndarray, grad: np.ndarray, *state: np.ndarray) -> None:
        self.ops.sgd_update(value, grad, *state, self.learning_rate, self.momentum)
