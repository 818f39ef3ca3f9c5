"""The arrays of a network as a `state_dict` of PyTorch, and back.

`TWINS` lists the layers that PyTorch has too, with the names and the layout of their arrays there. A new
layer needs one entry.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from minicnn.engine import layers
from minicnn.engine.layers.base import REGISTERED, Array, Layer, Shape, build_layer
from minicnn.engine.network import Sequential
from minicnn.storage import limits
from minicnn.storage.files import PathLike, read_regular
from minicnn.storage.outputs import write_output
from minicnn.storage.tensors import expect_finite, name_some, parse_tensors
from minicnn.tutorial import softmax_regression, tutorial_network

ARCHITECTURE = "minicnn.architecture"  # the metadata that describes the network of the weights
Image = Shape | None  # the shape [H, W, C] of the images that were flattened before a layer, if any


# --- the layers ---


class Twin(NamedTuple):
    """An array of a layer in PyTorch: its name there, and the conversion of the values."""

    name: str
    to_torch: Callable[[Array, Image], Array]
    from_torch: Callable[[Array, Image], Array]


def _same(name: str) -> Twin:
    return Twin(name, lambda array, image: array, lambda array, image: array)


def _dense_to_torch(w: Array, image: Image) -> Array:
    if image is None:
        return w.T
    return w.reshape(*image, -1).transpose(3, 2, 0, 1).reshape(w.shape[1], -1)  # [H, W, C, F] -> [F, C, H, W]


def _dense_from_torch(w: Array, image: Image) -> Array:
    if image is None:
        return w.T
    H, W, C = image
    return w.reshape(-1, C, H, W).transpose(2, 3, 1, 0).reshape(-1, len(w))


_CONVOLUTION = {
    "weight": Twin("weight", lambda w, _: w.transpose(3, 2, 0, 1), lambda w, _: w.transpose(2, 3, 1, 0)),
    "bias": _same("bias"),
}

# For each layer the names of its arrays here, and what they are there, in the order of PyTorch and ONNX.
TWINS: dict[type[Layer], dict[str, Twin]] = {
    layers.Conv2D: _CONVOLUTION,
    layers.ConvReLUPool: _CONVOLUTION,
    layers.Dense: {"weight": Twin("weight", _dense_to_torch, _dense_from_torch), "bias": _same("bias")},
    layers.BatchNorm2D: {
        "scale": _same("weight"),
        "shift": _same("bias"),
        "running_mean": _same("running_mean"),
        "running_variance": _same("running_var"),
    },
    layers.ReLU: {},
    layers.Dropout: {},
    layers.Flatten: {},
    layers.MaxPool2D: {},
    layers.AveragePool2D: {},
    layers.GlobalAveragePool2D: {},
}
PICKLED = (
    "a pickle, as torch.save writes it, which could run code when read; in PyTorch, write the weights with "
    "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
)
# What DataParallel, torch.compile and modules of one's own put in front of every name.
WRAPPERS = {"module", "_orig_mod", "model", "net", "network"}
COUNTER = ".num_batches_tracked"  # the end of a name that only PyTorch has; no result depends on it


def expect_equivalents(network: Sequential, known: Mapping[type[Layer], Any], where: str) -> None:
    """Raise ValueError unless all layers of a network are `known` in PyTorch or ONNX."""
    for layer in network.layers:
        if type(layer) not in known:
            raise ValueError(f"{layer.name}: {type(layer).__name__} has no equivalent in {where}")
    *_, last = _image_shapes(network)
    if last is not None and last[:2] != (1, 1) and last[2] != 1:
        raise ValueError(f"a final Flatten has no equivalent in {where}: the order of its outputs differs")


class Builder:
    """Builds a network layer by layer from PyTorch's arrays."""

    input_shape: Shape
    dtype: np.dtype[Any]
    shape: Shape

    def __init__(self, input_shape: Shape, dtype: np.dtype | type) -> None:
        self.input_shape, self.dtype = input_shape, np.dtype(dtype)
        self.shape = input_shape  # of what goes into the next layer
        self.layers: list[Layer] = []
        self._image: Image = None

    def add(
        self, kind: type[Layer], settings: Mapping[str, Any], tensors: Mapping[str, Array | None]
    ) -> None:
        """Append a layer of class `kind`; `tensors` has its arrays by PyTorch's names."""
        values = {}
        for name, twin in TWINS[kind].items():
            key = f"{settings['name']}.{twin.name}"
            tensor = _expect_floats(key, tensors[twin.name])
            try:
                values[name] = twin.from_torch(tensor, self._image).astype(self.dtype)
            except ValueError:
                wanted = f"one that fits a {kind.__name__} after {list(self.shape)}"
                raise ValueError(f"{key}: expected {wanted}, got {list(tensor.shape)}") from None
        layer = build_layer(kind, settings, values, "kernels")
        self._image = _image_after(layer, self.shape, self._image)
        self.shape = layer.output_shape(self.shape)
        self.layers.append(layer)

    def network(self, name: str) -> Sequential:
        """The network of all layers."""
        return Sequential(self.layers, self.input_shape, name)


def _image_after(layer: Layer, shape: Shape, image: Image) -> Image:
    """The images that were flattened before what follows `layer`; `shape` goes into the layer."""
    if isinstance(layer, layers.Flatten) and len(shape) == 3:
        return shape
    return None if isinstance(layer, layers.Dense) else image


def _image_shapes(network: Sequential) -> Iterator[Image]:
    """The flattened images before every layer, and after the last."""
    image: Image = None
    for layer, shape in zip(network.layers, network.shapes, strict=False):
        yield image
        image = _image_after(layer, shape, image)
    yield image


# --- the state ---


def to_torch(network: Sequential) -> dict[str, np.ndarray]:
    """The arrays of a network as the `state_dict` of the same layers in PyTorch, as NumPy arrays.

    Raises ValueError for a network that has no equivalent there: with other types of layers, or with
    flattened images as its output.
    """
    expect_equivalents(network, TWINS, "PyTorch")
    state = {}
    for layer, image in zip(network.layers, _image_shapes(network), strict=False):
        arrays = layer.arrays()
        for name, twin in TWINS[type(layer)].items():
            state[f"{layer.name}.{twin.name}"] = np.array(twin.to_torch(arrays[name], image), order="C")
    return state


def from_torch(state: Mapping[str, np.ndarray], network: Sequential) -> None:
    """Load a `state_dict`, given as NumPy arrays, into a network.

    The names must be those of `network`, or the numbers of an `nn.Sequential` (0.weight, 0.bias,
    3.weight, ...). Raises ValueError, changing nothing, for names, shapes or types that do not fit.
    """
    expected = to_torch(network)
    state = _with_names(state, list(dict.fromkeys(name.rpartition(".")[0] for name in expected)))
    missing, extra = name_some(set(expected) - set(state)), name_some(set(state) - set(expected))
    if missing or extra:
        wanted, got = missing or "no more arrays", extra or "no such array"
        raise ValueError(f"state_dict: expected {wanted}, got {got}")
    values = {}
    for layer, image in zip(network.layers, _image_shapes(network), strict=False):
        for name, twin in TWINS[type(layer)].items():
            key = f"{layer.name}.{twin.name}"
            value, shape = _expect_floats(key, state[key]), expected[key].shape
            if value.shape != shape:
                raise ValueError(f"{key}: expected {list(shape)}, got {list(value.shape)}")
            values[f"{layer.name}.{name}"] = twin.from_torch(value, image).astype(network.dtype)
    network.load_values(values)


def _expect_floats(name: str, value: np.ndarray | None) -> np.ndarray:
    if value is None or value.dtype.kind != "f":
        raise ValueError(f"{name}: expected floats, got {'nothing' if value is None else value.dtype}")
    if not value.size:  # of shape [1000000000, 0], say: an output of that size has no weights in the file
        raise ValueError(f"{name}: expected numbers, got an array of shape {list(value.shape)}")
    expect_finite({name: value})
    return value


def _with_names(state: Mapping[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """The state without counters and wrappers, and names of layers for the numbers of an `nn.Sequential`."""
    state = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    while len(first := {key.partition(".")[0] for key in state}) == 1 and first <= WRAPPERS:
        state = {key.partition(".")[2]: value for key, value in state.items()}
    if not all(re.fullmatch(r"\d+\.\w+", key) for key in state):
        return state
    numbers = sorted({int(key.split(".")[0]) for key in state})
    if len(numbers) != len(names):
        return state
    name_of = dict(zip(numbers, names, strict=True))
    split = {key: key.split(".") for key in state}
    return {f"{name_of[int(number)]}.{kind}": state[key] for key, (number, kind) in split.items()}


# --- files ---


def save_torch(network: Sequential, path: PathLike) -> None:
    """Write a safetensors file for PyTorch's `load_state_dict`: see `to_torch`.

    The metadata describes the network, for `load_torch`. Raises ValueError or OSError.
    """
    state = to_torch(network)
    metadata = {"format": "pt", ARCHITECTURE: json.dumps(network.architecture())}
    write_output(path, safetensors.numpy.save(state, metadata))


def load_torch(path: PathLike, network: Sequential | None = None) -> Sequential:
    """The network with the weights from a safetensors file of a PyTorch `state_dict`.

    They are loaded into `network`, which is returned. Without it, a new network is built, as the metadata
    of `save_torch` describes it; any other file must fit the tutorial's network or the softmax regression.
    Raises ValueError, naming the file, for one that cannot be used.
    """
    name = os.fspath(path)
    try:
        content = read_regular(path, 8 + limits.HEADER + limits.ARRAYS)
        if content[:2] == b"PK" or content[:1] == b"\x80":
            raise ValueError(PICKLED)
        state, metadata = parse_tensors(content)
        if "minicnn" in metadata:
            raise ValueError("already a minicnn file, no need to convert it")
        if network is None and ARCHITECTURE in metadata:
            return _build(json.loads(metadata[ARCHITECTURE]), state)
        if network is None:
            network = softmax_regression() if len(state) == 2 else tutorial_network()
        from_torch(state, network)
        return network
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror or error}") from None
    except (ValueError, TypeError, RecursionError) as error:  # JSON may be nested arbitrarily deep
        raise ValueError(f"{name}: {error}") from None


def _build(architecture: Any, state: Mapping[str, np.ndarray]) -> Sequential:
    """The network that `Sequential.architecture` described, with the arrays of a `state_dict`."""
    try:
        builder = Builder(tuple(architecture["input_shape"]), architecture["dtype"])
        for described in architecture["layers"]:
            settings = dict(described)
            kind, name = REGISTERED[settings.pop("type")], settings["name"]
            if kind not in TWINS:
                raise ValueError(f"{name}: {kind.__name__} has no equivalent in PyTorch")
            tensors = {twin.name: state.get(f"{name}.{twin.name}") for twin in TWINS[kind].values()}
            builder.add(kind, settings, tensors)
        network = builder.network(architecture["name"])
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{ARCHITECTURE}: expected a description of the network ({error!r})") from None
    from_torch(state, network)  # refuses arrays that belong to no layer
    return network
