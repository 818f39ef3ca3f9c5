"""Weights to and from PyTorch, networks to and from ONNX.

Both put channels first, minicnn puts them last. So on the way, and back,

    images               [N, H, W, C]    become  [N, C, H, W]
    convolution weights  [kh, kw, C, F]  become  [F, C, kh, kw]
    dense weights        [D, F]          become  [F, D]

and the D inputs of a dense layer that follows a Flatten change their order from (row, column,
channel) to (channel, row, column). Parameters keep their names: conv1.weight, ..., fc2.bias. Fused
and plain networks have the same parameters. notebooks/interchange.md shows both ways with code.

This module needs neither PyTorch nor, for PyTorch's files, anything beyond what minicnn needs; ONNX
needs the package `onnx`: pip install "minicnn[onnx]".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from minicnn.engine.arguments import FLOATS
from minicnn.engine.initializers import constant
from minicnn.engine.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from minicnn.engine.network import Sequential, build
from minicnn.engine.reference import window_geometry
from minicnn.storage.files import write_whole
from minicnn.tutorial import softmax_regression, tutorial_network

if TYPE_CHECKING:
    import onnx

ARCHITECTURE = "minicnn.architecture"  # the metadata that says what network the weights belong to
OPSET, IR_VERSION = 17, 8  # of ONNX: old enough for every runtime since 2022

PathLike = str | os.PathLike[str]


# --- PyTorch ---


def to_torch(network: Sequential) -> dict[str, np.ndarray]:
    """The parameters as PyTorch's `state_dict` of the same layers has them, as NumPy arrays.

    Raises ValueError for a network that has no twin there: layers of other types, or flattened
    images as its output.
    """
    state = {}
    for layer, image in _weighted_layers(network):
        w = layer.weight.value
        if isinstance(layer, Conv2D):
            w = w.transpose(3, 2, 0, 1)  # [kh, kw, C, F] -> [F, C, kh, kw]
        elif image is not None:
            w = w.reshape(*image, -1).transpose(3, 2, 0, 1).reshape(w.shape[1], -1)
        else:
            w = w.T
        state[layer.weight.name] = np.ascontiguousarray(w)
        state[layer.bias.name] = layer.bias.value.copy()
    return state


def from_torch(state: Mapping[str, np.ndarray], network: Sequential) -> None:
    """Let a network take over the parameters of a `state_dict`, given as NumPy arrays.

    The names must be those of `network`, or the numbers of an `nn.Sequential` (0.weight, 0.bias,
    3.weight, ...). Raises ValueError, changing nothing, for names, shapes or types that do not fit.
    """
    layers = list(_weighted_layers(network))
    state = _by_name(state, [layer.name for layer, _ in layers])
    values = dict(state)
    for layer, image in layers:
        wanted, name = layer.weight.value.shape, layer.weight.name
        there: tuple[int, ...]
        back: tuple[int, ...]
        w = state.get(name)
        if w is None:
            continue  # load_values says what is missing
        F = wanted[-1]
        there, back = (F, wanted[0]), (1, 0)
        if isinstance(layer, Conv2D):
            there, back = (F, wanted[2], *wanted[:2]), (2, 3, 1, 0)
        if w.shape != there:
            raise ValueError(f"{name}: expected {list(there)}, got {list(w.shape)}")
        if image is not None:
            H, W, C = image
            values[name] = w.reshape(F, C, H, W).transpose(2, 3, 1, 0).reshape(wanted)
        else:
            values[name] = w.transpose(back)
    for name, value in values.items():
        if value.dtype.kind != "f":
            raise ValueError(f"{name}: expected floats, got {value.dtype}")
        values[name] = value.astype(network.dtype)
    network.load_values(values)


def save_torch(network: Sequential, path: PathLike) -> None:
    """Write a safetensors file that PyTorch's `load_state_dict` takes: see `to_torch`.

    The architecture lies in the metadata, for `load_torch`. Raises ValueError or OSError.
    """
    metadata = {"format": "pt", ARCHITECTURE: json.dumps(network.architecture())}
    write_whole(path, safetensors.numpy.save(to_torch(network), metadata))


def load_torch(path: PathLike, network: Sequential | None = None) -> Sequential:
    """The network with the weights of a safetensors file of a PyTorch `state_dict`.

    `network` takes them over and is returned. Without it, a new one is built: what `save_torch`
    wrote says which; any other file must fit the tutorial's network or the softmax regression.
    Raises ValueError, naming the file, for one that cannot be used.
    """
    name = os.fspath(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if "minicnn" in metadata:
            raise ValueError("a file of minicnn's own, not of PyTorch: no need to convert it")
        if network is None:
            network = _network_for(metadata, state)
        from_torch(state, network)
        return network
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror or error}") from None
    except safetensors.SafetensorError as error:
        raise ValueError(f"{name}: not a safetensors file ({error})") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # NumPy has no name for some types of numbers, and no limit for the depth of JSON.
        raise ValueError(f"{name}: {error}") from None


def _weighted_layers(network: Sequential) -> Iterator[tuple[Conv2D | Dense, tuple[int, ...] | None]]:
    """Every layer with weights, and the shape [H, W, C] of what was flattened before it, if so."""
    flattened = None
    for layer, shape in zip(network.layers, network.shapes, strict=False):
        if isinstance(layer, Flatten):
            flattened = shape if len(shape) == 3 else flattened
        elif isinstance(layer, Conv2D):  # and ConvReLUPool
            yield layer, None
        elif isinstance(layer, Dense):
            yield layer, flattened
            flattened = None
        elif not isinstance(layer, ReLU | MaxPool2D | Dropout):
            raise ValueError(f"{layer.name}: a layer of type {type(layer).__name__} has no twin elsewhere")
    if flattened is not None and flattened[:2] != (1, 1) and flattened[2] != 1:
        raise ValueError("a network that ends with a Flatten has its outputs in another order elsewhere")


def _by_name(state: Mapping[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """The state with the layers' names, if it has the numbers of an `nn.Sequential` instead."""
    numbers = sorted({int(key.split(".")[0]) for key in state if re.fullmatch(r"\d+\.(weight|bias)", key)})
    if len(numbers) != len(names) or len(state) != 2 * len(names):
        return dict(state)
    return {
        f"{name}.{kind}": state[f"{number}.{kind}"]
        for number, name in zip(numbers, names, strict=True)
        for kind in ("weight", "bias")
        if f"{number}.{kind}" in state
    }


def _network_for(metadata: Mapping[str, str], state: Mapping[str, np.ndarray]) -> Sequential:
    if ARCHITECTURE in metadata:
        return build(json.loads(metadata[ARCHITECTURE]))
    return softmax_regression() if len(state) == 2 else tutorial_network()


# --- ONNX: writing ---


def to_onnx(network: Sequential) -> onnx.ModelProto:
    """The network as an ONNX model: "images" [N, C, H, W], scaled to 0..1, to "logits" [N, classes].

    Raises ValueError for a network that cannot be told in ONNX, ImportError without the package.
    """
    onnx = _onnx()
    state = to_torch(network)
    if len(network.input_shape) != 3:
        raise ValueError(f"expected a network for images [H, W, C], got {list(network.input_shape)}")
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in state.items()]
    nodes: list[Any] = []

    def add(kind: str, name: str, *more: str, **attributes: Any) -> None:
        before = nodes[-1].output[0] if nodes else "images"
        made = onnx.helper.make_node(kind, [before, *more], [f"{name}.output"], name=name, **attributes)
        nodes.append(made)

    for layer, shape in zip(network.layers, network.shapes, strict=False):
        name = layer.name
        if isinstance(layer, Conv2D):
            windows = _windows(shape, layer.weight.value.shape[:2], layer.stride, layer.padding)
            add("Conv", name, layer.weight.name, layer.bias.name, **windows)
            if isinstance(layer, ConvReLUPool):
                H, W, _ = Conv2D.output_shape(layer, shape)
                add("Relu", f"{name}.relu")
                add("MaxPool", f"{name}.pool", **_windows((H, W), (2, 2), 2, "same"))
        elif isinstance(layer, MaxPool2D):
            add("MaxPool", name, **_windows(shape, (layer.size, layer.size), layer.stride, layer.padding))
        elif isinstance(layer, Dense):
            add("Gemm", name, layer.weight.name, layer.bias.name, transB=1)
        elif isinstance(layer, Dropout):
            ratio = np.float32(1 - layer.keep_prob)
            tensors.append(onnx.numpy_helper.from_array(ratio, f"{name}.ratio"))
            add("Dropout", name, f"{name}.ratio")
        else:
            add({"ReLU": "Relu", "Flatten": "Flatten"}[type(layer).__name__], name)

    nodes[-1].output[0] = "logits"
    H, W, C = network.input_shape
    number = onnx.helper.np_dtype_to_tensor_dtype(network.dtype)
    images = onnx.helper.make_tensor_value_info("images", number, ["N", C, H, W])
    logits = onnx.helper.make_tensor_value_info("logits", number, ["N", *network.shapes[-1]])
    graph = onnx.helper.make_graph(nodes, network.name, [images], [logits], tensors)
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(
        graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="minicnn"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def save_onnx(network: Sequential, path: PathLike) -> None:
    """Write the network as an ONNX file: see `to_onnx`. Raises ValueError, ImportError or OSError."""
    write_whole(path, to_onnx(network).SerializeToString())


def _windows(shape: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: str) -> dict[str, Any]:
    (_, top, bottom), (_, left, right) = (
        window_geometry(size, k, stride, padding) for size, k in zip(shape[:2], kernel, strict=True)
    )
    return {"kernel_shape": kernel, "strides": [stride, stride], "pads": [top, left, bottom, right]}


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise ImportError('ONNX needs one more package: pip install "minicnn[onnx]"') from None
    return onnx


# --- ONNX: reading ---


def load_onnx(path: PathLike, fused: bool = True) -> Sequential:
    """The network in an ONNX file: one of `save_onnx`, or a chain of such layers, as PyTorch exports it.

    What is understood: Conv, Relu, MaxPool, Flatten (or a Reshape that does the same), Gemm, Dropout,
    Identity, and a Softmax at the end (`predict` computes it anyway). With `fused`, convolution, ReLU
    and 2x2 max-pool become one layer. Raises ValueError, naming the file, for anything else, and
    ImportError without the package.
    """
    onnx = _onnx()
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        return _Chain(onnx, model.graph).network(fused)
    except OSError as error:
        raise ValueError(f"{os.fspath(path)}: {error.strerror or error}") from None
    except Exception as error:  # a file that is not ONNX makes its readers raise this and that
        text = " ".join(str(error).split())[:200] or type(error).__name__
        what = "" if isinstance(error, _NotAChainError) else "not an ONNX model that can be read: "
        raise ValueError(f"{os.fspath(path)}: {what}{text}") from None


class _NotAChainError(ValueError):
    """Something in a graph that a `Sequential` of minicnn's layers cannot say."""


class _Chain:
    """Reads a graph, node by node, as layers that follow one another."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        to_array = onnx.numpy_helper.to_array
        self.attribute = onnx.helper.get_attribute_value
        self.name = graph.name or "network"
        self.constants = {tensor.name: to_array(tensor) for tensor in graph.initializer}
        self.layers: list[Layer] = []
        self.state: dict[str, np.ndarray] = {}  # as PyTorch has it

        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            raise _NotAChainError(f"expected one input, got {len(inputs)}")
        sizes = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        if len(sizes) != 4 or min(sizes[1:]) < 1:
            raise _NotAChainError(f"expected images [N, C, H, W] of known size, got {sizes}")
        self.dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type))
        if self.dtype not in FLOATS:
            raise _NotAChainError(f"expected images of float32 or float64, got {self.dtype}")
        self.input_shape: tuple[int, ...] = (sizes[2], sizes[3], sizes[1])
        self.shape: tuple[int, ...] = self.input_shape

        value, over = inputs[0].name, False
        for node in graph.node:
            attributes = {a.name: self.attribute(a) for a in node.attribute}
            if node.op_type == "Constant" and "value" in attributes:
                self.constants[node.output[0]] = to_array(attributes["value"])
                continue
            if over or not node.input or node.input[0] != value:
                raise _NotAChainError(f"{node.name or node.op_type}: expected nodes that follow one another")
            over = node.op_type in ("Softmax", "LogSoftmax")
            if not over and node.op_type != "Identity":
                self._read(node, attributes)
            value = node.output[0]
        if [output.name for output in graph.output] != [value]:
            raise _NotAChainError("expected the output of the last node as the only output")

    def network(self, fused: bool) -> Sequential:
        """The layers read, with their weights."""
        layers = _fuse(self.layers, self.dtype) if fused else self.layers
        network = Sequential(layers, self.input_shape, self.name)
        from_torch(self.state, network)
        return network

    def _read(self, node: Any, attributes: dict[str, Any]) -> None:
        readers = {
            "Conv": self._convolution,
            "Relu": lambda node, attributes: ReLU(name=self._free_name(node, "relu")),
            "MaxPool": self._pool,
            "Flatten": self._flatten,
            "Reshape": self._flatten,
            "Gemm": self._dense,
            "Dropout": self._dropout,
        }
        if node.op_type not in readers:
            raise _NotAChainError(f"{node.op_type}: expected only {', '.join(readers)}")
        layer = readers[node.op_type](node, attributes)
        try:
            self.shape = layer.output_shape(self.shape)
        except ValueError as error:
            raise _NotAChainError(str(error)) from None
        self.layers.append(layer)

    def _convolution(self, node: Any, attributes: dict[str, Any]) -> Layer:
        w = self._weights(node, 4)
        F, C, kh, kw = w.shape
        if attributes.get("group", 1) != 1 or set(attributes.get("dilations", [1])) != {1}:
            raise _NotAChainError(f"{node.name}: expected a convolution without groups and dilations")
        stride, padding = self._geometry(node, attributes, (kh, kw))
        name = self._weighted_name(node, "conv", w)
        return Conv2D(C, F, (kh, kw), stride, padding, name=name, dtype=self.dtype, **_ZEROS)

    def _dense(self, node: Any, attributes: dict[str, Any]) -> Layer:
        w = self._weights(node, 2)
        plain = attributes.get("alpha", 1) == attributes.get("beta", 1) == 1
        if not plain or attributes.get("transA", 0):
            raise _NotAChainError(f"{node.name}: expected a Gemm that computes x @ w + b")
        w = w if attributes.get("transB", 0) else w.T  # [F, D]
        name = self._weighted_name(node, "fc", w)
        return Dense(w.shape[1], w.shape[0], name=name, dtype=self.dtype, **_ZEROS)

    def _pool(self, node: Any, attributes: dict[str, Any]) -> Layer:
        kernel = tuple(attributes["kernel_shape"])
        if len(set(kernel)) != 1 or set(attributes.get("dilations", [1])) != {1}:
            raise _NotAChainError(f"{node.name}: expected a max-pool over squares, got {list(kernel)}")
        stride, padding = self._geometry(node, attributes, kernel)
        if attributes.get("ceil_mode", 0) and any((s - kernel[0]) % stride for s in self.shape[:2]):
            raise _NotAChainError(f"{node.name}: expected a max-pool of whole windows (ceil_mode 0)")
        return MaxPool2D(kernel[0], stride, padding, name=self._free_name(node, "pool"))

    def _flatten(self, node: Any, attributes: dict[str, Any]) -> Layer:
        if node.op_type == "Reshape":
            target = [int(size) for size in self._constant(node, 1)]
            flat = len(target) == 2 and target[1] in (-1, int(np.prod(self.shape)))
        else:
            flat = attributes.get("axis", 1) == 1
        if not flat:
            raise _NotAChainError(f"{node.name}: expected each image in one row")
        return Flatten(name=self._free_name(node, "flatten"))

    def _dropout(self, node: Any, attributes: dict[str, Any]) -> Layer:
        ratio = float(self._constant(node, 1)) if len(node.input) > 1 and node.input[1] else 0.5
        return Dropout(round(1 - ratio, 6), name=self._free_name(node, "dropout"))

    def _geometry(self, node: Any, attributes: dict[str, Any], kernel: tuple[int, ...]) -> tuple[int, str]:
        """Stride and padding of windows, in minicnn's words."""
        strides = set(attributes.get("strides", [1, 1]))
        pads = attributes.get("pads", [0, 0, 0, 0])
        auto = attributes.get("auto_pad", b"NOTSET")
        stride = max(strides)
        named = {b"SAME_UPPER": "same", b"VALID": "valid"}
        for padding in ("same", "valid"):
            try:
                asked = list(pads) == _windows(self.shape, kernel, stride, padding)["pads"]
            except ValueError:  # a kernel larger than the image
                continue
            if len(strides) == 1 and (named.get(auto) == padding or (auto == b"NOTSET" and asked)):
                return stride, padding
        got = f"strides {sorted(strides)}, pads {list(pads)}, auto_pad {auto.decode()}"
        raise _NotAChainError(f'{node.name}: expected the padding "same" or "valid", got {got}')

    def _weights(self, node: Any, dimensions: int) -> np.ndarray:
        w = self._constant(node, 1)
        if w.ndim != dimensions:
            raise _NotAChainError(
                f"{node.name}: expected weights of {dimensions} dimensions, got {list(w.shape)}"
            )
        return w

    def _constant(self, node: Any, index: int) -> np.ndarray:
        if len(node.input) <= index or node.input[index] not in self.constants:
            raise _NotAChainError(f"{node.name or node.op_type}: expected its input {index} as a constant")
        return self.constants[node.input[index]]

    def _weighted_name(self, node: Any, kind: str, w: np.ndarray) -> str:
        """A name for a layer, under which its weights [F, ...] are noted: conv1 for conv1.weight."""
        name, dot, end = node.input[1].rpartition(".")
        if not (dot and end == "weight" and re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", name)):
            name = self._free_name(node, kind)
        bias = self._constant(node, 2) if len(node.input) > 2 else np.zeros(len(w), w.dtype)
        self.state |= {f"{name}.weight": w, f"{name}.bias": np.broadcast_to(bias, len(w))}
        return name

    def _free_name(self, node: Any, kind: str) -> str:
        """The node's name, if it is a plain one and free, or one by number: relu, relu2, ..."""
        taken = {layer.name for layer in self.layers}
        if re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", node.name) and node.name not in taken:
            return node.name
        number = 1
        numbered = kind in ("conv", "fc")  # conv1, conv2, fc1, ...
        while (name := f"{kind}{number}" if numbered or number > 1 else kind) in taken:
            number += 1
        return name


_ZEROS: dict[str, Any] = {"weight_init": constant(0), "bias_init": constant(0)}


def _fuse(layers: list[Layer], dtype: np.dtype) -> list[Layer]:
    """The layers with every convolution, ReLU and 2x2 max-pool in a row made one."""
    fused: list[Layer] = []
    for layer in layers:
        fused.append(layer)
        if [type(one) for one in fused[-3:]] != [Conv2D, ReLU, MaxPool2D]:
            continue
        conv, _, pool = fused[-3:]
        assert isinstance(conv, Conv2D) and isinstance(pool, MaxPool2D)  # noqa: PT018
        if (pool.size, pool.stride, pool.padding) == (2, 2, "same"):
            fused[-3:] = [ConvReLUPool(**conv.settings(), dtype=dtype, **_ZEROS)]
    return fused
