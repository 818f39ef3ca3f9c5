"""Optimizers: how gradients move parameters.

Parameters that lie side by side in memory, as a network's do, are updated as one long array.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minicnn.arguments import number
from minicnn.layers.base import Parameter, find_ops

BELOW_1 = np.nextafter(1, 0)


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
        self._values = _as_few_arrays([p.value for p in parameters])
        self._grads = _as_few_arrays([p.grad for p in parameters])
        if [a.shape for a in self._values] != [a.shape for a in self._grads]:
            self._values, self._grads = [p.value for p in parameters], [p.grad for p in parameters]
        self.state: dict[str, list[np.ndarray]] = {}

    def _remember(self, name: str) -> list[np.ndarray]:
        self.state[name] = [np.zeros_like(value) for value in self._values]
        return self.state[name]

    def step(self) -> None:
        """Move every parameter once, along its gradient of the last backward."""
        raise NotImplementedError


class Adam(Optimizer):
    """Adam: each weight moves by about learning_rate, whatever the scale of its gradient.

    m = beta1 m + (1 - beta1) g         v = beta2 v + (1 - beta2) g^2
    value -= learning_rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    Source: Kingma, Ba: Adam (2015), Algorithm 1.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        learning_rate: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        ops: str = "kernels",
    ) -> None:
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            number(name, beta, f"0 <= {name} < 1", low=0, high=BELOW_1)
        number("epsilon", epsilon, "a number above 0", above=0)
        super().__init__(parameters, learning_rate, ops)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self._m, self._v = self._remember("m"), self._remember("v")

    def step(self) -> None:
        self.steps += 1
        settings = (self.steps, self.learning_rate, self.beta1, self.beta2, self.epsilon)
        for arrays in zip(self._values, self._grads, self._m, self._v, strict=True):
            self.ops.adam_update(*arrays, *settings)


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
        self._velocity = self._remember("velocity")

    def step(self) -> None:
        self.steps += 1
        for arrays in zip(self._values, self._grads, self._velocity, strict=True):
            self.ops.sgd_update(*arrays, self.learning_rate, self.momentum)
