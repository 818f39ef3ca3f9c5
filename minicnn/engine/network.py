"""A network: a sequence of layers, all their parameters in one array."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from minicnn.engine.arguments import integer
from minicnn.engine.layers.base import REGISTERED, Array, Layer, Shape, State, build_layer
from minicnn.engine.locks import Lock
from minicnn.engine.ops import OpsMemory, find_ops
from minicnn.engine.parameters import (
    Parameter,
    ParameterStore,
    common_dtype,
    grads_of,
    neighbours,
    values_of,
)
from minicnn.engine.shards import Share, Terms
from minicnn.storage.checksummed import read_checksummed, write_checksummed
from minicnn.storage.names import printable
from minicnn.storage.outputs import expect_output
from minicnn.storage.tensors import is_finite_array, name_some

CHUNK = 200  # images that predict works on at once: their feature maps still fit a processor's cache


class Sequential:
    """Layers applied one after the other.

    input_shape is the shape of one input, without the batch axis. All parameters lie side by side in one
    array, `values`, and their gradients in another, `grads`. Layers may be shared between networks: a
    layer that belongs to one already keeps its parameters where they are. A training's gradients of
    convolutions are summed in so many `shards` of the batch, see `minicnn.engine.shards`.

    A training forward and its backward work in memory that the network owns and uses again: what they
    return is overwritten by the next. Everything else is new memory.
    Raises ValueError for no layers, a name used twice, or layers whose shapes do not fit.
    """

    layers: tuple[Layer, ...]
    input_shape: Shape
    name: str
    shapes: list[Shape]
    shards: int
    dtype: np.dtype[Any]

    def __init__(
        self, layers: Iterable[Layer], input_shape: Shape, name: str = "network", *, shards: int = 1
    ) -> None:
        self.layers = tuple(layers)
        if not self.layers:
            raise ValueError("layers: expected at least one, got none")
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: expected layers, got {type(layer).__name__}")
        for name_of_layer, count in Counter(layer.name for layer in self.layers).items():
            if count > 1:
                raise ValueError(f"layers: expected different names, got {name_of_layer!r} twice")
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"input_shape: expected a tuple of integers, got {input_shape!r}")
        self.input_shape = tuple(integer("input_shape", size, at_least=1) for size in input_shape)
        self.name, self.shards = name, integer("shards", shards, at_least=1)
        self.shapes = [self.input_shape]  # shapes[i] goes into layers[i]
        for layer in self.layers:
            self.shapes.append(layer.output_shape(self.shapes[-1]))
        self.dtype = common_dtype(self.parameters())
        if all(p.store is None for p in self.parameters()):
            ParameterStore(self.parameters())
        self._predicting = Lock()
        self.free_memory()

    def __repr__(self) -> str:
        return f"Sequential({self.name!r}: {', '.join(layer.name for layer in self.layers)})"

    # --- parameters and state ---

    def parameters(self) -> list[Parameter]:
        """All parameters in order, each with .name .value .grad."""
        return [p for layer in self.layers for p in layer.parameters]

    @property
    def values(self) -> Array:
        """All parameters as one array. Raises ValueError where layers belong to several networks."""
        return self._as_one_array(values_of)

    @property
    def grads(self) -> Array:
        """All gradients of the last backward as one array. Raises ValueError as `values` does."""
        for p in self.parameters():
            _ = p.grad  # whoever holds the array gets every gradient from here on
        return self._as_one_array(grads_of)

    def state(self) -> dict[str, State]:
        """What is saved but not trained: arrays and random generators, such as "norm1.running_mean"."""
        return {f"{layer.name}.{name}": s for layer in self.layers for name, s in layer.state.items()}

    def generators(self) -> dict[str, np.random.Generator]:
        """The part of the state that is random generators, by name: "dropout.rng"."""
        return {f"{layer.name}.{name}": g for layer in self.layers for name, g in layer.generators().items()}

    def arrays(self) -> dict[str, Array]:
        """Parameters and state that are arrays, by name: "conv1.weight", "norm1.running_mean"."""
        return {f"{layer.name}.{name}": a for layer in self.layers for name, a in layer.arrays().items()}

    def load_values(self, values: Mapping[str, Array]) -> None:
        """Copy values by name, such as "conv1.weight", into all parameters and state arrays.

        Raises ValueError, changing nothing, if names, shapes or dtypes do not fit.
        """
        arrays = self.arrays()
        _expect_names(values, set(arrays))
        for name, array in arrays.items():
            value = values[name]
            if (value.shape, value.dtype) != (array.shape, array.dtype):
                raise ValueError(
                    f"{name}: expected {array.dtype} {list(array.shape)}, "
                    f"got {value.dtype} {list(value.shape)}"
                )
        for name, array in arrays.items():
            array[...] = values[name]

    def use_ops(self, ops: str) -> None:
        """Compute with "kernels" or "reference" from here on."""
        for layer in self.layers:
            layer.use_ops(ops)

    def free_memory(self) -> None:
        """Give back the memory in which trainings and predictions work; the next one asks for new memory."""
        self._use_share(Share(self.shards))
        self._prediction_memory = [OpsMemory(f"{layer.name}, predicting") for layer in self.layers]

    # --- forward and backward ---

    def forward(self, x: Array, training: bool = False, share: Share | None = None) -> Array:
        """Outputs for a batch x [N, *input_shape]; for the tutorial's networks the logits [N, 10].

        With `training`, dropout is on and the output is overwritten by the next training forward; x may then
        be no more than a `share` of the batch, whose backward is `backward_terms`.
        """
        self._check_input(x)
        share = Share(self.shards) if share is None else share
        if training and share != self._share:
            self._use_share(share)
        for layer, memory in zip(self.layers, self._training_memory, strict=True):
            x = layer.forward(x, training, memory.ops(layer.ops) if training else None)
        return x

    @overload
    def backward(self, dy: Array, input_gradient: Literal[True] = True) -> Array: ...
    @overload
    def backward(self, dy: Array, input_gradient: bool) -> Array | None: ...
    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """From dL/doutput to dL/dinput; leaves the gradient in every parameter.

        With `input_gradient=False`, as in training, what lies below the first parameters is skipped,
        and None is returned.
        """
        lowest = self.layers.index(self._lowest_with_parameters)
        for layer in reversed(self.layers[lowest + 1 :]):
            dy = layer.backward(dy)
        if not input_gradient:
            self.layers[lowest].backward(dy, input_gradient=False)
            for layer in self.layers[:lowest]:
                layer.forget()
            return None
        for layer in reversed(self.layers[: lowest + 1]):
            dy = layer.backward(dy)
        return dy

    def backward_terms(self, dy: Array, ready: Callable[[Layer, Terms], None]) -> None:
        """`backward` of a share of a batch, without dL/dinput and without gradients.

        Instead, `ready` gets each layer that has parameters, the highest first, and the terms that their
        gradients are sums of.
        """
        lowest = self.layers.index(self._lowest_with_parameters)
        needed: Array | None = dy
        for index in reversed(range(lowest, len(self.layers))):
            assert needed is not None
            needed, terms = self.layers[index].backward_terms(needed, input_gradient=index > lowest)
            if self.layers[index].parameters:
                ready(self.layers[index], terms)
        for layer in self.layers[:lowest]:
            layer.forget()

    def predict(self, images: Array) -> Array:
        """Probabilities [N, classes] (softmax of the outputs), dropout off.

        images: uint8 [N, H, W] or [N, H, W, C], scaled to 0..1 here, or floats [N, H, W, C] as they
        are. Safe to call from several threads, also beside a training: a backward that waits for its turn
        is not disturbed. Raises ValueError or TypeError for other input.
        """
        images = self._as_input(images)
        if len(self.shapes[-1]) != 1:
            wanted = f"expected a network with scores [N, classes], got outputs {['N', *self.shapes[-1]]}"
            raise ValueError(f"predict: {wanted}")
        outputs = []
        with self._predicting:
            for start in range(0, len(images), CHUNK):
                x = images[start : start + CHUNK]
                if x.dtype == np.uint8:
                    x = np.divide(x, 255, dtype=self.dtype)
                x = np.ascontiguousarray(x, self.dtype)
                for layer, memory in zip(self.layers, self._prediction_memory, strict=True):
                    x, _ = layer.compute(memory.ops(layer.ops), x, training=False)
                outputs.append(find_ops(self.layers[-1].ops).softmax(x))
        return np.concatenate(outputs)

    def _use_share(self, share: Share) -> None:
        self._share = share
        self._training_memory = [OpsMemory(layer.name, share) for layer in self.layers]

    @property
    def _lowest_with_parameters(self) -> Layer:
        return next((layer for layer in self.layers if layer.parameters), self.layers[0])

    def _as_one_array(self, of_group: Any) -> Array:
        groups = neighbours(self.parameters())
        if len(groups) == 1:
            return of_group(groups[0]).reshape(-1)
        if not groups:
            return np.empty(0, self.dtype)
        raise ValueError(f"{self.name}: its layers belong to several networks; use parameters()")

    def _check_input(self, x: Array) -> None:
        if isinstance(x, np.ndarray) and x.ndim and x.shape[1:] != self.input_shape:
            raise ValueError(
                f"{self.name}: x: expected shape [N, {', '.join(map(str, self.input_shape))}], "
                f"got {list(x.shape)}"
            )

    def _as_input(self, images: Array) -> Array:
        images = np.asarray(images)
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise TypeError(f"images: expected uint8 or floats, got {images.dtype}")
        if images.dtype != np.uint8 and not is_finite_array(images):
            raise ValueError("images: expected finite numbers, got NaN or infinity")
        shape = self.input_shape
        if images.dtype == np.uint8 and shape[-1] == 1 and images.ndim == len(shape):
            images = images[..., None]
        if images.shape[1:] != shape or len(images) == 0:
            wanted = ", ".join(map(str, shape))
            raise ValueError(f"images: expected [N, {wanted}] with N >= 1, got {list(images.shape)}")
        return images

    def summary(self) -> None:
        """Print a table of the layers: name and type, output shape, number of parameters."""
        rows = []
        for layer, shape in zip(self.layers, self.shapes[1:], strict=True):
            label = f"{printable(layer.name)} ({type(layer).__name__})"
            count = sum(p.value.size for p in layer.parameters)
            rows.append((label, f"(N, {', '.join(map(str, shape))})", f"{count:,}"))
        head = ("Layer (type)", "Output shape", "Parameters")
        width = [max(len(row[i]) for row in [head, *rows]) + 2 for i in range(3)]
        line = "-" * sum(width)

        def show(row: tuple[str, str, str]) -> str:
            return f"{row[0]:<{width[0]}}{row[1]:<{width[1]}}{row[2]:>{width[2]}}"

        count = sum(p.value.size for p in self.parameters())
        total = f"Total parameters: {count:,} ({count * self.dtype.itemsize / 1e6:.1f} MB)"
        print(
            "\n".join(
                [f"Network: {printable(self.name)}", line, show(head), line, *map(show, rows), line, total]
            )
        )

    # --- copies ---

    def __reduce__(self) -> tuple[Any, ...]:
        """What `copy` and `pickle` need: a network is its layers. So it can be sent to another process.

        Copied together with its optimizer, `copy.deepcopy((network, adam))`, it trains like the original.
        """
        return partial(Sequential, shards=self.shards), (self.layers, self.input_shape, self.name)

    def __copy__(self) -> Sequential:
        return copy.deepcopy(self)

    def astype(self, dtype: DTypeLike) -> Sequential:
        """A copy that computes in `dtype`, float32 or float64."""
        layers = [layer.astype(dtype) for layer in self.layers]
        return Sequential(layers, self.input_shape, self.name, shards=self.shards)

    # --- to and from a file ---

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to one safetensors file; `load_network` reads it back.

        Arrays are stored under their names, the architecture in the metadata; see
        `minicnn.storage.checksummed`. Raises ValueError for a layer whose class is not registered, OSError
        if the file cannot be written (a file of a run never is); a file that was there is untouched.
        """
        expect_output(path)
        write_checksummed(path, self.arrays(), {"minicnn": json.dumps(self.architecture())})

    def architecture(self) -> dict[str, Any]:
        """What is needed, besides the arrays, to build this network again. Plain JSON.

        Raises ValueError for a layer whose class is not registered: it could not be built again.
        """
        for layer in self.layers:
            if REGISTERED.get(type(layer).__name__) is not type(layer):
                raise ValueError(
                    f"{layer.name}: {type(layer).__name__} is not registered, so no file with it could be "
                    "loaded; write @minicnn.register_layer above the class"
                )
        return {
            "name": self.name,
            "input_shape": list(self.input_shape),
            "dtype": self.dtype.name,
            "layers": [{"type": type(layer).__name__} | layer.settings() for layer in self.layers],
        }


def build(architecture: Mapping[str, Any], arrays: Mapping[str, Array], ops: str = "kernels") -> Sequential:
    """The network that `Sequential.architecture` described, with these arrays by name.

    Takes no more memory than the arrays do. Raises ValueError for anything that is not such a
    description, or for arrays that do not fit it.
    """
    try:
        of_layer: dict[str, dict[str, Array]] = {}
        for name, array in arrays.items():
            layer_name, _, own = name.rpartition(".")
            of_layer.setdefault(layer_name, {})[own] = array
        layers: list[Layer] = []
        used: set[str] = set()
        for described in architecture["layers"]:
            settings = dict(described)
            kind = REGISTERED.get(settings.pop("type"))
            if kind is None:
                raise ValueError(
                    f"architecture: unknown layer type {described['type']!r}; import the module that "
                    "registers it first (minicnn.register_layer)"
                )
            values = of_layer.get(settings["name"], {})
            used.update(f"{settings['name']}.{own}" for own in values)
            layers.append(build_layer(kind, settings, values, ops))
        _expect_names(arrays, used)
        network = Sequential(layers, tuple(architecture["input_shape"]), architecture["name"])
        if network.dtype.name != architecture["dtype"]:
            raise ValueError(f"dtype: expected {architecture['dtype']}, got arrays of {network.dtype}")
        return network
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"architecture: not a description of a network ({error!r})") from None


def _expect_names(arrays: Mapping[str, Array], wanted: set[str]) -> None:
    if set(arrays) != wanted:
        raise ValueError(f"parameters: expected {name_some(wanted)}, got {name_some(arrays)}")


def load_network(path: str | os.PathLike[str], ops: str = "kernels") -> Sequential:
    """The network in a file that `Sequential.save` wrote, or in the checkpoint of a run.

    Raises ValueError, naming the file, if there is none in it, or if one byte of it has changed.
    """
    try:
        arrays, texts = read_checksummed(path)
        if "minicnn" not in texts:
            raise ValueError("not a network saved by minicnn (no architecture in it)")
        # What else a checkpoint holds has a slash in its name, and no layer does.
        network = {name: a for name, a in arrays.items() if "/" not in name}
        return build(json.loads(texts["minicnn"]), network, ops)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
