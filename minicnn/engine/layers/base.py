"""What every layer is made of: parameters, and the protocol of forward and backward."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal, overload

import numpy as np

from minicnn.engine import kernels, reference
from minicnn.engine.arguments import FLOATS, floats
from minicnn.engine.kernels.buffers import Buffers, reuse

OPS: dict[str, ModuleType] = {"kernels": kernels, "reference": reference}


def find_ops(name: str) -> ModuleType:
    """The module that computes: "kernels" (fast) or "reference" (plain NumPy)."""
    if name not in OPS:
        raise ValueError(f"ops: expected one of {', '.join(OPS)}, got {name!r}")
    return OPS[name]


class Parameter:
    """A trained array: its name, its value, and the gradient that backward writes.

    Both arrays may be views into a larger one (a network keeps all its parameters in one buffer);
    change them in place. After a factored backward, see `Layer.backward`, `factors` may hold (x, dy):
    then the gradient is x.T @ dy, and `grad` is out of date.
    Raises TypeError unless the value is an array of float32 or float64.
    """

    def __init__(self, name: str, value: np.ndarray) -> None:
        self.name = name
        self.value = floats("value", value)
        self.grad = np.zeros_like(value)
        self.factors: tuple[np.ndarray, np.ndarray] | None = None

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {list(self.value.shape)}, {self.value.dtype})"


class Layer:
    """A function with a memory: `forward` computes y, `backward` turns dL/dy into dL/dx.

    A subclass writes `_forward(x, training) -> (y, cache)` and `_backward(dy, cache,
    input_gradient) -> dx` in terms of `self.ops`, and lists its `parameters`.

    The protocol, the same for all layers:

    - The output of `forward` is a buffer, valid until the layer's next forward.
    - `backward` needs the matching forward: one backward per forward, and no other forward between.
    - Gradients of parameters are overwritten, not accumulated.
    """

    def __init__(self, name: str, ops: str = "kernels") -> None:
        self.name = name
        self.parameters: list[Parameter] = []
        self.use_ops(ops)
        self._cache: Any = None
        self._output: tuple[tuple[int, ...], np.dtype] | None = None
        self._awaited = False  # whether a training forward waits for its backward

    def use_ops(self, ops: str) -> None:
        """Compute with "kernels" or "reference" from here on."""
        self.ops = find_ops(ops)
        self._buffers = Buffers()
        self._bind_gradients()
        self._cache = None

    def _bind_gradients(self) -> None:
        """Let the kernels write gradients where the parameters keep them. See `_store`."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The layer's output for a batch x [N, ...]. `training` switches dropout on.

        Raises ValueError or TypeError, naming what was expected, for an input that does not fit.
        """
        self._check_input(x)
        # Between a training forward and its backward, an evaluation leaves nothing to differentiate:
        # what backward would return is not what the caller waits for.
        self._awaited = training or self._awaited
        with reuse(self._buffers):
            y, cache = self._forward(x, training)
        self._cache = cache if training or not self._awaited else None
        self._output = (y.shape, y.dtype)
        return y

    @overload
    def backward(
        self, dy: np.ndarray, input_gradient: Literal[True] = True, factored: bool = False
    ) -> np.ndarray: ...
    @overload
    def backward(self, dy: np.ndarray, input_gradient: bool, factored: bool = False) -> np.ndarray | None: ...
    def backward(
        self, dy: np.ndarray, input_gradient: bool = True, factored: bool = False
    ) -> np.ndarray | None:
        """dL/dx for dy = dL/dy; leaves dL/dparameter in each parameter's `grad`.

        With `input_gradient=False` a layer may skip dx and return None. With `factored=True` it may
        leave a large gradient as two factors, for an optimizer that steps before the next forward: it
        multiplies them as it goes, and the gradient is neither written to memory nor read from it.
        Raises RuntimeError without a matching forward, ValueError if dy has not the output's shape.
        """
        if self._cache is None or self._output is None:
            raise RuntimeError(
                f"{self.name}.backward: no matching forward; call forward(x, training=True) once "
                "before each backward, with no other forward between them"
            )
        if not isinstance(dy, np.ndarray):
            raise TypeError(f"{self.name}.backward: dy: expected a NumPy array, got {type(dy).__name__}")
        if (dy.shape, dy.dtype) != self._output:
            shape, dtype = self._output
            raise ValueError(
                f"{self.name}.backward: dy: expected {dtype} {list(shape)}, got {dy.dtype} {list(dy.shape)}"
            )
        cache, self._cache, self._awaited = self._cache, None, False
        with reuse(self._buffers):
            if factored:
                return self._backward_factored(dy, cache, input_gradient)
            return self._backward(dy, cache, input_gradient)

    def forget(self) -> None:
        """Drop what the last forward left for backward."""
        self._cache = None

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one output, without the batch axis, for one input of `input_shape`."""
        return input_shape

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that describe this layer, for saving it."""
        return {"name": self.name}

    def _forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        raise NotImplementedError

    def _backward(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        raise NotImplementedError

    def _backward_factored(self, dy: np.ndarray, cache: Any, input_gradient: bool) -> np.ndarray | None:
        """`_backward`, but gradients may be left as factors, see `backward`."""
        return self._backward(dy, cache, input_gradient)

    def _check_input(self, x: np.ndarray) -> None:
        if not isinstance(x, np.ndarray):
            raise TypeError(f"{self.name}: x: expected a NumPy array, got {type(x).__name__}")
        allowed = [p.value.dtype for p in self.parameters[:1]] or FLOATS
        if x.dtype not in allowed:
            raise TypeError(f"{self.name}: x: expected {' or '.join(map(str, allowed))}, got {x.dtype}")
        if x.ndim < 2 or x.size == 0:
            raise ValueError(f"{self.name}: x: expected a batch [N, ...] of at least 1, got {list(x.shape)}")
        self.output_shape(x.shape[1:])

    def _expect(self, input_shape: tuple[int, ...], *expected: int | str) -> None:
        """Raise ValueError unless input_shape fits; a word in `expected` stands for any size."""
        fits = len(input_shape) == len(expected) and all(
            isinstance(e, str) or e == size for e, size in zip(expected, input_shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(str(e) for e in ("N", *expected))
            got = ", ".join(str(e) for e in ("N", *input_shape))
            raise ValueError(f"{self.name}: x: expected shape [{wanted}], got [{got}]")


class WeightedLayer(Layer):
    """A layer with a weight and a bias, called `<name>.weight` and `<name>.bias`."""

    def __init__(self, name: str, weight: np.ndarray, bias: np.ndarray, ops: str) -> None:
        super().__init__(name, ops)
        self.weight = Parameter(f"{name}.weight", weight)
        self.bias = Parameter(f"{name}.bias", bias)
        self.parameters = [self.weight, self.bias]
        self._bind_gradients()

    def _bind_gradients(self) -> None:
        if self.parameters:
            self._buffers.put("dw", self.weight.grad)
            self._buffers.put("db", self.bias.grad)

    def _store(self, dw: np.ndarray, db: np.ndarray) -> None:
        """Overwrite the gradients. The kernels have written them in place already."""
        self.weight.factors = None
        for parameter, grad in ((self.weight, dw), (self.bias, db)):
            if not np.may_share_memory(parameter.grad, grad):
                parameter.grad[...] = grad
