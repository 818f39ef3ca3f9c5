"""A network: layers in a row, all their parameters in one array."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.engine import layers as layer_types
from minicnn.engine.arguments import integer
from minicnn.engine.initializers import Initializer, constant
from minicnn.engine.kernels.buffers import aligned_empty, aligned_zeros
from minicnn.engine.layers import Layer, Parameter
from minicnn.engine.layers.base import WeightedLayer
from minicnn.storage.checksummed import read_sealed, write_sealed

TRAINING_STATE = ("adam.", "sgd.", "trained.")  # what a run's checkpoint holds besides the parameters
CHUNK = 200  # images that predict works on at once: their feature maps still fit a processor's cache


class Sequential:
    """Layers applied one after the other.

    input_shape is the shape of one input, without the batch axis. All parameters become named views
    of one contiguous array, `values`, and all gradients of another, `grads`.
    Raises ValueError for no layers, a name used twice, or layers whose shapes do not fit.
    """

    def __init__(self, layers: Sequence[Layer], input_shape: tuple[int, ...], name: str = "network") -> None:
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: expected layers, got {type(layer).__name__}")
        names = [layer.name for layer in layers]
        for repeated in {n for n in names if names.count(n) > 1}:
            raise ValueError(f"layers: expected different names, got {repeated!r} twice")
        self.layers = list(layers)
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"input_shape: expected a tuple of integers, got {input_shape!r}")
        self.input_shape = tuple(integer("input_shape", size, at_least=1) for size in input_shape)
        self.name = name
        self._predicting = threading.Lock()
        self.shapes = [self.input_shape]  # shapes[i] goes into layers[i]
        for layer in self.layers:
            self.shapes.append(layer.output_shape(self.shapes[-1]))
        self._gather_parameters()

    def _gather_parameters(self) -> None:
        """Move every parameter and gradient into one array each, and leave views behind."""
        parameters = self.parameters()
        dtypes = {p.value.dtype for p in parameters}
        if len(dtypes) > 1:
            raise ValueError(f"layers: expected one dtype, got {sorted(map(str, dtypes))}")
        self.dtype = dtypes.pop() if dtypes else np.dtype(np.float32)
        size = sum(p.value.size for p in parameters)
        self.values, self.grads = aligned_empty(size, self.dtype), aligned_zeros(size, self.dtype)
        start = 0
        for p in parameters:
            stop = start + p.value.size
            self.values[start:stop] = p.value.ravel()
            if p.grad.any():
                self.grads[start:stop] = p.grad.ravel()
            p.value = self.values[start:stop].reshape(p.value.shape)
            p.grad = self.grads[start:stop].reshape(p.grad.shape)
            start = stop
        for layer in self.layers:
            layer._bind_gradients()

    def parameters(self) -> list[Parameter]:
        """All parameters in order, each with .name .value .grad."""
        return [p for layer in self.layers for p in layer.parameters]

    def use_ops(self, ops: str) -> None:
        """Compute with "kernels" or "reference" from here on."""
        for layer in self.layers:
            layer.use_ops(ops)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs for a batch x [N, *input_shape]; for the tutorial's networks the logits [N, 10]."""
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(
        self, dy: np.ndarray, input_gradient: bool = True, factored: bool = False
    ) -> np.ndarray | None:
        """From dL/doutput to dL/dinput; leaves the gradient in every parameter.

        With `input_gradient=False`, as in training, what lies below the first parameters is skipped,
        and None is returned. With `factored=True` large gradients are left to the optimizer, see
        `Layer.backward`: faster, for a training that steps next and looks at no gradient.
        """
        options: Any = {"factored": True} if factored else {}  # a layer of a reader's own need not know it
        for layer in reversed(self.layers):
            if layer is self._lowest_with_parameters and not input_gradient:
                layer.backward(dy, input_gradient=False, **options)
                return None
            dy = layer.backward(dy, **options)
        return dy

    @property
    def _lowest_with_parameters(self) -> Layer:
        return next((layer for layer in self.layers if layer.parameters), self.layers[0])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities [N, classes] (softmax of the outputs), dropout off.

        images: uint8 [N, H, W] or [N, H, W, C], scaled to 0..1 here, or floats [N, H, W, C] as they
        are. Safe to call from several threads. Raises ValueError or TypeError for other input.
        """
        images = self._as_input(images)
        outputs = []
        with self._predicting:
            for start in range(0, len(images), CHUNK):
                x = images[start : start + CHUNK]
                if x.dtype == np.uint8:
                    x = np.divide(x, 255, dtype=self.dtype)
                logits = self.forward(np.ascontiguousarray(x, self.dtype))
                outputs.append(self.layers[0].ops.softmax(logits))
            for layer in self.layers:
                layer.forget()
        return np.concatenate(outputs)

    def _as_input(self, images: np.ndarray) -> np.ndarray:
        images = np.asarray(images)
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise TypeError(f"images: expected uint8 or floats, got {images.dtype}")
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
            label = f"{layer.name} ({type(layer).__name__})"
            count = sum(p.value.size for p in layer.parameters)
            rows.append((label, f"(N, {', '.join(map(str, shape))})", f"{count:,}"))
        head = ("Layer (type)", "Output shape", "Parameters")
        width = [max(len(row[i]) for row in [head, *rows]) + 2 for i in range(3)]
        line = "-" * sum(width)

        def show(row: tuple[str, str, str]) -> str:
            return f"{row[0]:<{width[0]}}{row[1]:<{width[1]}}{row[2]:>{width[2]}}"

        total = f"Total parameters: {self.values.size:,} ({self.values.nbytes / 1e6:.1f} MB)"
        print("\n".join([f"Network: {self.name}", line, show(head), line, *map(show, rows), line, total]))

    def __reduce__(self) -> tuple:
        """What `copy` and `pickle` need: so a network can be copied, and sent to another process."""
        ops = self.layers[0].ops.__name__.rsplit(".", 1)[-1]
        arrays = {p.name: p.value for p in self.parameters()}
        generators = {
            layer.name: layer.rng for layer in self.layers if isinstance(layer, layer_types.Dropout)
        }
        return _build_again, (self.architecture(), arrays, ops, generators)

    # --- to and from a file ---

    def save(self, path: str | os.PathLike) -> None:
        """Write the network to one safetensors file; `load_network` reads it back.

        Weights are stored under the parameters' names, the architecture in the metadata; see
        `minicnn.storage.checksummed`. Raises OSError, with a file that was there untouched.
        """
        arrays = {p.name: p.value for p in self.parameters()}
        write_sealed(path, arrays, {"minicnn": json.dumps(self.architecture())})

    def architecture(self) -> dict:
        """What is needed, besides the weights, to build this network again. Plain JSON."""
        return {
            "name": self.name,
            "input_shape": list(self.input_shape),
            "dtype": self.dtype.name,
            "layers": [{"type": type(layer).__name__, **layer.settings()} for layer in self.layers],
        }

    def load_values(self, arrays: dict[str, np.ndarray]) -> None:
        """Take over parameter values by name. Raises ValueError, changing nothing, if one does not fit."""
        parameters = {p.name: p.value for p in self.parameters()}
        _expect_names(arrays, set(parameters))
        taken = {n: _fitting(arrays, n, value.shape, value.dtype) for n, value in parameters.items()}
        for name, value in parameters.items():
            value[...] = taken[name]


def build(
    architecture: dict, arrays: dict[str, np.ndarray] | None = None, ops: str = "kernels"
) -> Sequential:
    """The network that `Sequential.architecture` described, with these values by name (None: zeros).

    Takes no more memory than the arrays do. Raises ValueError for anything that is not such a
    description, or for values that do not fit it.
    """
    try:
        built, wanted = [], set()
        for described in architecture["layers"]:
            settings = dict(described)
            kind = settings.pop("type")
            if kind not in layer_types.__all__ or kind in ("Layer", "Parameter"):
                raise ValueError(f"architecture: unknown layer type {kind!r}")
            layer_class = getattr(layer_types, kind)
            if issubclass(layer_class, WeightedLayer):
                settings["dtype"] = np.dtype(architecture["dtype"])
                if arrays is None:
                    settings |= {"weight_init": constant(0), "bias_init": constant(0)}
                else:
                    weight, bias = f"{settings['name']}.weight", f"{settings['name']}.bias"
                    settings["weight_init"] = _values_of(arrays, weight, settings["dtype"])
                    settings["bias_init"] = _values_of(arrays, bias, settings["dtype"])
                    wanted |= {weight, bias}
            built.append(layer_class(**settings, ops=ops))
        if arrays is not None:
            _expect_names(arrays, wanted)
        return Sequential(built, tuple(architecture["input_shape"]), architecture["name"])
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"architecture: not a description of a network ({error!r})") from None


def _build_again(
    architecture: dict, arrays: dict[str, np.ndarray], ops: str, generators: dict[str, np.random.Generator]
) -> Sequential:
    network = build(architecture, arrays, ops)
    for layer in network.layers:
        if isinstance(layer, layer_types.Dropout):
            layer.rng = generators[layer.name]
    return network


def _expect_names(arrays: dict[str, np.ndarray], wanted: set[str]) -> None:
    if set(arrays) != wanted:
        raise ValueError(f"parameters: expected {sorted(wanted)}, got {sorted(arrays)}")


def _values_of(arrays: dict[str, np.ndarray], name: str, dtype: np.dtype) -> Initializer:
    """An initializer that takes a layer's first values from a file."""
    return lambda rng, shape: _fitting(arrays, name, shape, dtype)


def _fitting(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array of that name. Raises ValueError if there is none, or one of another kind."""
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype != dtype:
        got = "none" if array is None else f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"{name}: expected {dtype} {list(shape)}, got {got}")
    return array


def load_network(path: str | os.PathLike, ops: str = "kernels") -> Sequential:
    """The network in a file that `Sequential.save` wrote, or in the checkpoint of a run.

    Raises ValueError, naming the file, if there is none in it, or if one byte of it has changed.
    """
    try:
        arrays, texts = read_sealed(path)
        if "minicnn" not in texts:
            raise ValueError("not a network saved by minicnn (no architecture in it)")
        weights = {name: a for name, a in arrays.items() if not name.startswith(TRAINING_STATE)}
        return build(json.loads(texts["minicnn"]), weights, ops)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
