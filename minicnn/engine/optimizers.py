"""Optimizers: how gradients move parameters.

Parameters that lie side by side in memory, as a network's do, are moved as one long array.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minicnn.engine.arguments import BELOW_1, number
from minicnn.engine.ops import Ops, find_ops
from minicnn.engine.parameters import Array, Parameter, Product, common_dtype, grads_of, neighbours, values_of
from minicnn.engine.workspace import Workspace, aligned_zeros


class Optimizer:
    """Parameters, and what the optimizer remembers of each, such as a momentum.

    `state` holds one flat array for each thing remembered, over all parameters in their order.
    """

    remembers: tuple[str, ...] = ()  # names of the state
    parameters: list[Parameter]
    learning_rate: float
    steps: int  # made so far
    ops: Ops
    state: dict[str, Array]

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float, ops: str) -> None:
        if callable(getattr(parameters, "parameters", None)):
            raise TypeError("parameters: expected a list of them, got a network; pass network.parameters()")
        if not isinstance(parameters, Iterable):
            raise TypeError(f"parameters: expected a list of them, got {type(parameters).__name__}")
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("parameters: expected at least one, got none")
        for p in self.parameters:
            if not isinstance(p, Parameter):
                raise TypeError(f"parameters: expected Parameter objects, got {type(p).__name__}")
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError("parameters: expected each of them once, got one twice")
        self.learning_rate = number("learning_rate", learning_rate, "a number above 0", above=0)
        self.steps = 0
        self.ops = find_ops(ops, Workspace(), type(self).__name__)
        size, dtype = sum(p.value.size for p in self.parameters), common_dtype(self.parameters)
        self.state = {name: aligned_zeros(size, dtype) for name in self.remembers}
        self._used = [0] * len(self.parameters)  # the number of the gradient that last moved each

    def __repr__(self) -> str:
        count, rate = len(self.parameters), self.learning_rate
        return f"{type(self).__name__}({count} parameters, learning_rate={rate:g})"

    def step(self) -> None:
        """Move every parameter once, along its gradient of the last backward.

        Raises RuntimeError, moving none, if one of them has no gradient since the last step: it belongs
        to another network than the one that is trained, or backward was not called.
        """
        newest = [p.gradients for p in self.parameters]
        for p, found, used in zip(self.parameters, newest, self._used, strict=True):
            if found == used:
                raise RuntimeError(
                    f"{p.name}: no new gradient since the last step; call backward before each step, "
                    "with the network that these parameters belong to"
                )
        self._used = newest
        self.steps += 1
        start = 0
        for group in neighbours(self.parameters, alone=lambda p: p.pending is not None):
            value, pending = values_of(group), group[0].pending
            here = slice(start, start + value.size)
            state = [array[here].reshape(value.shape) for array in self.state.values()]
            if pending is None:
                self._move(value, grads_of(group), *state)
            else:
                self._move_along_product(value, pending, *state)
            start += value.size

    def arrays(self) -> dict[str, Array]:
        """Views of the state by kind and parameter, in its shape: "m/conv1.weight"."""
        arrays, start = {}, 0
        for p in self.parameters:
            here = slice(start, start + p.value.size)
            for kind, array in self.state.items():
                arrays[f"{kind}/{p.name}"] = array[here].reshape(p.value.shape)
            start += p.value.size
        return arrays

    def _move(self, value: Array, grad: Array, *state: Array) -> None:
        """Move values along their gradient; all arrays have one shape, and are changed in place."""
        raise NotImplementedError

    def _move_along_product(self, value: Array, product: Product, *state: Array) -> None:
        """`_move` a weight [D, F] whose gradient is still a product."""
        self._move(value, self.ops.dense_weight_gradient(*product), *state)


class Adam(Optimizer):
    """Adam: each weight moves by about learning_rate, whatever the scale of its gradient.

    m = beta1 m + (1 - beta1) g         v = beta2 v + (1 - beta2) g^2
    value -= learning_rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    With `weight_decay`, each step first takes learning_rate * weight_decay of every value away.
    Source: Kingma, Ba: Adam (2015), Algorithm 1; of the decay: Loshchilov, Hutter: Decoupled Weight
    Decay Regularization (2019), Algorithm 2.
    """

    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float

    remembers: tuple[str, ...] = ("m", "v")

    def __init__(
        self,
        parameters: Iterable[Parameter],
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

    def _move(self, value: Array, grad: Array, *state: Array) -> None:
        self.ops.adam_update(value, grad, *state, *self._numbers())

    def _move_along_product(self, value: Array, product: Product, *state: Array) -> None:
        # Forms a block of x.T @ dy and moves that block of the weight, so the gradient is never stored.
        self.ops.adam_product_update(value, *product, *state, *self._numbers())

    def _numbers(self) -> tuple[Any, ...]:
        return self.steps, self.learning_rate, self.beta1, self.beta2, self.epsilon, self.weight_decay


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    velocity = momentum * velocity - learning_rate * g         value += velocity

    Source: Sutskever et al.: On the importance of initialization and momentum (2013), equation 1.
    """

    remembers: tuple[str, ...] = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        *,
        ops: str = "kernels",
    ) -> None:
        number("momentum", momentum, "0 <= momentum < 1", low=0, high=BELOW_1)
        super().__init__(parameters, learning_rate, ops)
        self.momentum = momentum

    def _move(self, value: Array, grad: Array, *state: Array) -> None:
        self.ops.sgd_update(value, grad, *state, self.learning_rate, self.momentum)
