"""What every layer is made of: what it declares, and the protocol of forward and backward."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.arguments import FLOATS, floating
from minicnn.engine.initializers import Initializer, Seed, as_generator
from minicnn.engine.ops import expect_ops, find_ops
from minicnn.engine.parameters import Parameter
from minicnn.engine.shards import Terms

Array = np.ndarray
Shape = tuple[int, ...]
State = Array | np.random.Generator

REGISTERED: dict[str, type[Layer]] = {}  # what a saved network may consist of, by name
LayerClass = TypeVar("LayerClass", bound="type[Layer]")


def register_layer(kind: LayerClass) -> LayerClass:
    """Let networks with layers of this class be saved and loaded. Write it above the class.

        @minicnn.register_layer
        class Scale(minicnn.Layer): ...

    A file names the class, and loading calls it with what its `settings()` returned, with `ops` and, if
    it has parameters or state, with `values`. So the constructor must accept those.
    Raises ValueError if another class is registered under this name already.
    """
    known = REGISTERED.get(kind.__name__, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"{kind.__name__}: a layer class of this name is registered by {known.__module__}")
    REGISTERED[kind.__name__] = kind
    return kind


class _Forward(NamedTuple):
    """What a forward leaves for backward."""

    ops: Any
    cache: Any
    shape: Shape  # of the output
    dtype: np.dtype
    training: bool


class Layer:
    """A function with parameters: `forward` computes y, `backward` turns dL/dy into dL/dx.

    A subclass declares its arrays in the constructor (`declare`), returns the other arguments of the
    constructor from `settings`, the shape of its output from `output_shape`, and computes in
    `compute` and `differentiate`. Saving, loading, copying, pickling, checkpoints and float64 twins
    follow from these. With `register_layer` above it, it can be saved to a file.

    The protocol, the same for all layers:

    - `forward` returns new memory, unless the caller passes `ops` that reuse theirs, as a network does.
    - `backward` differentiates the last training forward; if there was none since the last backward, the
      last evaluation. Each forward can be differentiated once.
    - Gradients of parameters are overwritten, not accumulated.
    """

    name: str
    ops: str
    parameters: list[Parameter]
    state: dict[str, State]  # saved, copied and resumed, but not trained: statistics, random generators

    def __init__(self, name: str, ops: str = "kernels") -> None:
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"name: expected text without a slash, got {name!r}")
        self.name = name
        self.parameters, self.state = [], {}
        self.use_ops(ops)
        self._forward_done: _Forward | None = None

    def declare(
        self,
        parameters: Mapping[str, tuple[Shape, Initializer]],
        state: Mapping[str, tuple[Shape, float]] | None = None,
        *,
        values: Mapping[str, Array] | None = None,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        """Make the layer's arrays: parameters are drawn, state starts as the same number everywhere.

        With `values`, all of them by name, nothing is drawn, and they decide the dtype. They are checked
        before any memory is asked for. Raises ValueError or TypeError for values that do not fit.
        """
        shapes = {name: shape for name, (shape, _) in {**parameters, **(state or {})}.items()}
        given = dict(values or {})
        if values is not None and set(given) != set(shapes):
            wanted, got = ", ".join(shapes), ", ".join(sorted(given)) or "none"
            raise ValueError(f"{self.name}: values: expected {wanted}, got {got}")
        dtype = np.asarray(given[next(iter(shapes))]).dtype if given else dtype
        dtype = floating(dtype)
        for name, value in given.items():
            self._expect_value(name, value, shapes[name], dtype)
        if values is None:
            rng = as_generator(rng)
            for name, (shape, initializer) in parameters.items():
                given[name] = self._drawn(name, initializer, rng, shape, dtype)
                self._expect_value(name, given[name], shape, dtype)
        for name in parameters:
            self.parameters.append(Parameter(f"{self.name}.{name}", np.array(given[name], order="C")))
        for name, (shape, number) in (state or {}).items():
            self.state[name] = np.array(given[name]) if name in given else np.full(shape, number, dtype)

    def use_ops(self, ops: str) -> None:
        """Compute with "kernels" or "reference" from here on."""
        self.ops = expect_ops(ops)

    # --- what a subclass writes ---

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output, without the batch axis, for one input of `input_shape`."""
        return input_shape

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that describe this layer, for saving it: numbers, texts, lists."""
        return {"name": self.name}

    def compute(self, ops: Any, x: Array, training: bool) -> tuple[Array, Any]:
        """y for x [N, ...], and what `differentiate` needs to remember. `ops` are what to compute with."""
        raise NotImplementedError

    def differentiate(self, ops: Any, dy: Array, cache: Any, input_gradient: bool) -> Array | None:
        """dL/dx for dy = dL/dy; sets each parameter's gradient (`Parameter.set_gradient`).

        May return None unless `input_gradient`.
        """
        raise NotImplementedError

    def differentiate_terms(
        self, ops: Any, dy: Array, cache: Any, input_gradient: bool
    ) -> tuple[Array | None, Terms]:
        """dL/dx, and the terms of the parameters' gradients, of `ops.share` of a batch.

        With `add_up`, it lets several processes train a network together. A layer without parameters, which
        must treat each image for itself, has it already. Raises TypeError for a layer with parameters that
        does not define it.
        """
        if self.parameters:
            raise TypeError(f"{self.name}: {type(self).__name__} cannot be trained by several processes")
        return self.differentiate(ops, dy, cache, input_gradient), Terms()

    def add_up(self, ops: Any, terms: Terms) -> None:
        """Set each parameter's gradient to the sum of its terms, those of a whole batch."""

    # --- what a subclass gets ---

    def forward(self, x: Array, training: bool = False, ops: Any = None) -> Array:
        """The layer's output for a batch x [N, ...]. `training` switches dropout on.

        `ops` are the operations to compute with, see `find_ops`; by default this layer's, in new memory.
        Raises ValueError or TypeError, naming what was expected, for an input that does not fit.
        """
        self._check_input(x)
        ops = find_ops(self.ops) if ops is None else ops
        y, cache = self.compute(ops, x, training)
        waiting = self._forward_done is not None and self._forward_done.training
        if training or not waiting:
            self._forward_done = _Forward(ops, cache, y.shape, y.dtype, training)
        return y

    def backward_terms(self, dy: Array, input_gradient: bool = True) -> tuple[Array | None, Terms]:
        """As `backward`, but leaves no gradients: it returns the terms that they are sums of."""
        done = self._matching_forward(dy)
        return self.differentiate_terms(done.ops, dy, done.cache, input_gradient)

    @overload
    def backward(self, dy: Array, input_gradient: Literal[True] = True) -> Array: ...
    @overload
    def backward(self, dy: Array, input_gradient: bool) -> Array | None: ...
    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """dL/dx for dy = dL/dy; leaves dL/dparameter in each parameter's `grad`.

        With `input_gradient=False` a layer may skip dx and return None.
        Raises RuntimeError without a matching forward, ValueError if dy has not the output's shape.
        """
        done = self._matching_forward(dy)
        return self.differentiate(done.ops, dy, done.cache, input_gradient)

    def _matching_forward(self, dy: Array) -> _Forward:
        done = self._forward_done
        if done is None:
            raise RuntimeError(
                f"{self.name}.backward: no matching forward; call forward(x, training=True) once "
                "before each backward"
            )
        if not isinstance(dy, np.ndarray):
            raise TypeError(f"{self.name}.backward: dy: expected a NumPy array, got {type(dy).__name__}")
        if (dy.shape, dy.dtype) != (done.shape, done.dtype):
            raise ValueError(
                f"{self.name}.backward: dy: expected {done.dtype} {list(done.shape)}, "
                f"got {dy.dtype} {list(dy.shape)}"
            )
        self._forward_done = None
        return done

    def forget(self) -> None:
        """Drop what the last forward left for backward."""
        self._forward_done = None

    def arrays(self) -> dict[str, Array]:
        """Parameters and state that are arrays, by the names of `declare`: "weight", "running_mean"."""
        prefix = len(self.name) + 1
        arrays = {p.name[prefix:]: p.value for p in self.parameters}
        return arrays | {name: a for name, a in self.state.items() if isinstance(a, np.ndarray)}

    def generators(self) -> dict[str, np.random.Generator]:
        """The state that is random generators, by name."""
        return {name: g for name, g in self.state.items() if isinstance(g, np.random.Generator)}

    def astype(self, dtype: DTypeLike) -> Layer:
        """A copy that computes in `dtype`, float32 or float64."""
        arrays = {name: array.astype(dtype) for name, array in self.arrays().items()}
        layer = build_layer(type(self), self.settings(), arrays, self.ops)
        layer.state |= copy.deepcopy(self.generators())
        return layer

    def __getstate__(self) -> dict[str, Any]:
        """What `copy` and `pickle` need: the layer without what its last forward left for backward."""
        return self.__dict__ | {"_forward_done": None}

    def __copy__(self) -> Layer:
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"{type(self).__name__}({settings})"

    def _drawn(
        self, name: str, initializer: Initializer, rng: np.random.Generator, shape: Shape, dtype: np.dtype
    ) -> Array:
        if not callable(initializer):
            raise TypeError(
                f"{self.name}.{name}: expected a function of a generator and a shape, got {initializer!r}"
            )
        drawn = np.asarray(initializer(rng, shape))
        if drawn.dtype.kind not in "fiu":
            raise TypeError(f"{self.name}.{name}: expected floats from its initializer, got {drawn.dtype}")
        return drawn.astype(dtype)

    def _expect_value(self, name: str, value: Array, shape: Shape, dtype: np.dtype) -> None:
        value = np.asarray(value)
        if (value.shape, value.dtype) != (shape, dtype):
            raise ValueError(
                f"{self.name}.{name}: expected {dtype} {list(shape)}, got {value.dtype} {list(value.shape)}"
            )
        if not np.isfinite(value).all():
            raise ValueError(f"{self.name}.{name}: expected finite numbers, got NaN or infinity")

    def _check_input(self, x: Array) -> None:
        if not isinstance(x, np.ndarray):
            raise TypeError(f"{self.name}: x: expected a NumPy array, got {type(x).__name__}")
        allowed = [p.value.dtype for p in self.parameters[:1]] or FLOATS
        if x.dtype not in allowed:
            raise TypeError(f"{self.name}: x: expected {' or '.join(map(str, allowed))}, got {x.dtype}")
        if x.ndim < 2 or x.size == 0:
            raise ValueError(f"{self.name}: x: expected a batch [N, ...] of at least 1, got {list(x.shape)}")
        self.output_shape(x.shape[1:])

    def _expect(self, input_shape: Shape, *expected: int | str) -> None:
        """Raise ValueError unless input_shape fits; a word in `expected` stands for any size."""
        fits = len(input_shape) == len(expected) and all(
            isinstance(e, str) or e == size for e, size in zip(expected, input_shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(str(e) for e in ("N", *expected))
            got = ", ".join(str(e) for e in ("N", *input_shape))
            raise ValueError(f"{self.name}: x: expected shape [{wanted}], got [{got}]")


def build_layer(
    kind: type[Layer], settings: Mapping[str, Any], values: Mapping[str, Array], ops: str
) -> Layer:
    """A layer of class `kind` with these settings and arrays.

    Raises ValueError if the values are not all of the layer's arrays, or do not fit; TypeError for
    settings that the constructor does not know.
    """
    arguments: dict[str, Any] = dict(settings) | {"ops": ops}
    if "values" in inspect.signature(kind).parameters:
        arguments["values"] = values
    elif values:
        raise ValueError(
            f"{kind.__name__}: expected a constructor that accepts `values`, to restore its arrays"
        )
    return kind(**arguments)
