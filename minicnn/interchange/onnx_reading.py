"""An ONNX model as a network, if it is a sequence of layers that minicnn has.

`READERS` lists the operations of ONNX that are understood. A new one needs one entry.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.engine import layers
from minicnn.engine.arguments import FLOATS
from minicnn.engine.layers.base import Layer
from minicnn.engine.network import Sequential
from minicnn.interchange.onnx import import_onnx, windows
from minicnn.interchange.torch import TWINS, Builder
from minicnn.storage import limits
from minicnn.storage.files import PathLike, open_regular, read_regular
from minicnn.storage.names import is_bare

PLAIN_NAME = re.compile(r"[A-Za-z]\w*(\.\w+)*")


def load_onnx(path: PathLike, fused: bool = True) -> Sequential:
    """The network in an ONNX file: from `save_onnx`, or a sequence of such layers, as PyTorch exports it.

    It may contain the operations of `READERS`, Identity, and a Softmax at the end (`predict` computes it
    anyway). With `fused`, convolution, ReLU and 2x2 max-pool become one layer. Raises ValueError, naming
    the file, for anything else, and ImportError without the package.
    """
    onnx = import_onnx()
    try:
        model = onnx.load_model_from_string(read_regular(path, limits.ONNX))
        _read_external(model.graph, Path(path).parent)
        onnx.checker.check_model(model)
        return _Graph(onnx, model.graph).network(fused)
    except OSError as error:
        raise ValueError(f"{os.fspath(path)}: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception as error:  # onnx raises all kinds of exceptions for a file that is not ONNX
        text = " ".join(str(error).split())[:200] or type(error).__name__
        what = "" if isinstance(error, _NoEquivalentError) else "not an ONNX model that can be read: "
        raise ValueError(f"{os.fspath(path)}: {what}{text}") from None


class _NoEquivalentError(ValueError):
    """Something in a graph that has no equivalent in minicnn."""


def _read_external(graph: Any, directory: Path) -> None:
    """Fetch the weights that lie in a file of their own beside the model, as PyTorch writes them.

    The package would open any kind of file. Raises ValueError for a name that leads out of the directory.
    """
    room = limits.ONNX
    for tensor in graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if not place:
            continue
        name, offset, length = (place.get(key, "0") for key in ("location", "offset", "length"))
        if not is_bare(name) or (directory / name).is_symlink():
            raise _NoEquivalentError(f"{tensor.name}: expected weights in a file beside it, got {name!r}")
        with open_regular(directory / name, limits.ONNX) as file:
            size = int(length) or os.fstat(file.fileno()).st_size - int(offset)
            room -= size
            if int(offset) < 0 or size < 0 or room < 0:
                raise _NoEquivalentError(f"{tensor.name}: expected at most {limits.ONNX:,} bytes of weights")
            file.seek(int(offset))
            tensor.raw_data = file.read(size)
        tensor.data_location = 0  # TensorProto.DEFAULT: here
        del tensor.external_data[:]


class _Node:
    """A node of the graph, with its attributes and those of its inputs that are constants."""

    def __init__(self, node: Any, attributes: dict[str, Any], constants: dict[str, np.ndarray]) -> None:
        self.op, self.name, self.inputs = node.op_type, node.name, list(node.input)
        self.attributes, self._constants = attributes, constants

    def get(self, attribute: str, default: Any) -> Any:
        return self.attributes.get(attribute, default)

    def error(self, expected: str, got: object = None) -> _NoEquivalentError:
        got = "" if got is None else f", got {got}"
        return _NoEquivalentError(f"{self.name or self.op}: expected {expected}{got}")

    def has(self, index: int) -> bool:
        return len(self.inputs) > index and self.inputs[index] != ""

    def constant(self, index: int, dimensions: int | None = None) -> np.ndarray:
        """Input number `index`, which must be a constant; input 0 is the output of the node before."""
        if not self.has(index) or self.inputs[index] not in self._constants:
            raise self.error(f"a constant as input {index}")
        value = self._constants[self.inputs[index]]
        if dimensions is not None and value.ndim != dimensions:
            raise self.error(f"weights of {dimensions} dimensions", list(value.shape))
        return value


class _Graph:
    """Reads a graph node by node as a sequence of layers."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        def to_array(tensor: Any) -> np.ndarray:
            if tensor.external_data:  # of a constant; the package would open any file
                raise _NoEquivalentError(f"{tensor.name}: expected the constant in the model itself")
            return onnx.numpy_helper.to_array(tensor)

        constants = {tensor.name: to_array(tensor) for tensor in graph.initializer}
        self.name = graph.name or "network"
        self.rows = False  # whether the images, with one channel, still are the rows of a matrix
        self.unbiased = False  # whether the last layer may still get its bias from an Add
        self.pooled = False  # whether a global average, [N, C, 1, 1], still has to be flattened

        inputs = [value for value in graph.input if value.name not in constants]
        if len(inputs) != 1:
            raise _NoEquivalentError(f"expected one input, got {len(inputs)}")
        sizes = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        if len(sizes) == 2 and sizes[1] > 0 and math.isqrt(sizes[1]) ** 2 == sizes[1]:
            self.rows = True  # images [N, H * W], one in each row
            sizes = [sizes[0], 1, math.isqrt(sizes[1]), math.isqrt(sizes[1])]
        if len(sizes) != 4 or min(sizes[1:]) < 1:
            raise _NoEquivalentError(f"expected images [N, C, H, W] or [N, H * W] of known size, got {sizes}")
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type))
        if dtype not in FLOATS:
            raise _NoEquivalentError(f"expected images of float32 or float64, got {dtype}")
        self.builder = Builder((sizes[2], sizes[3], sizes[1]), dtype)
        self._taken: set[str] = set()  # names of layers
        self._numbers: Counter[str] = Counter()  # of names made here, the last one

        value, finished = inputs[0].name, False
        for proto in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
            node = _Node(proto, attributes, constants)
            if node.op == "Constant" and "value" in attributes:
                constants[proto.output[0]] = to_array(attributes["value"])
                continue
            if node.op == "Add" and node.inputs[1:] == [value]:
                node.inputs.reverse()
            if finished or node.inputs[:1] != [value]:
                raise node.error("nodes in a sequence")
            finished = node.op in ("Softmax", "LogSoftmax")
            if not finished and node.op != "Identity":
                self._read(node)
            value = proto.output[0]
        if self.pooled:
            raise _NoEquivalentError("expected a Flatten after the global average")
        if [output.name for output in graph.output] != [value]:
            raise _NoEquivalentError("expected the output of the last node as the only output")

    def network(self, fused: bool) -> Sequential:
        """The network that was read."""
        if fused:
            self.builder.layers = _fuse(self.builder.layers)
        return self.builder.network(self.name)

    def _read(self, node: _Node) -> None:
        if node.op not in READERS:
            raise _NoEquivalentError(f"{node.op}: expected only {', '.join(READERS)}")
        if self.pooled and node.op not in ("Flatten", "Reshape"):
            raise node.error("a Flatten after the global average")
        if self.rows and node.op != "Reshape":
            self.rows = False
            self._taken.add("flatten")
            self.builder.add(layers.Flatten, {"name": "flatten"}, {})
        READERS[node.op](self, node)
        self.unbiased = node.op in ("MatMul", "Conv") and not node.has(2)

    def add(
        self, node: _Node, kind: type[Layer], tensors: list[np.ndarray] | None = None, **settings: Any
    ) -> None:
        """Add the layer that a node computes; `tensors` are its arrays, in the order of ONNX."""
        names = [twin.name for twin in TWINS[kind].values()]
        settings["name"] = self._free_name(node, kind)
        self._taken.add(settings["name"])
        try:
            self.builder.add(kind, settings, dict(zip(names, tensors or [], strict=True)))
        except ValueError as error:
            raise node.error(f"a {kind.__name__} that fits", error) from None

    def _free_name(self, node: _Node, kind: type[Layer]) -> str:
        """A name for a layer: that of its weights (conv1 for conv1.weight), of its node, or a number."""
        weights, _, end = (node.inputs[1] if TWINS[kind] else "").rpartition(".")
        for name in (weights if end == "weight" else "", node.name):
            if PLAIN_NAME.fullmatch(name) and name not in self._taken:
                return name
        start = DEFAULT_NAMES.get(kind, node.op.lower())
        while True:
            self._numbers[start] += 1
            number = self._numbers[start]
            name = start if number == 1 and kind not in DEFAULT_NAMES else f"{start}{number}"
            if name not in self._taken:  # conv1, conv2, ...; relu, relu2, ...
                return name

    def geometry(self, node: _Node, kernel: tuple[int, ...]) -> tuple[int, str]:
        """The stride and padding of windows, as minicnn describes them."""
        strides, pads = set(node.get("strides", [1, 1])), list(node.get("pads", [0, 0, 0, 0]))
        auto = node.get("auto_pad", b"NOTSET")
        if set(node.get("dilations", [1])) != {1}:
            raise node.error("windows without dilations")
        stride = max(strides)
        named = {b"SAME_UPPER": "same", b"VALID": "valid"}
        for padding in ("same", "valid"):
            try:
                fits = pads == windows(self.builder.shape, kernel, stride, padding)["pads"]
            except ValueError:  # a kernel larger than the image
                continue
            if len(strides) == 1 and (named.get(auto) == padding or (auto == b"NOTSET" and fits)):
                return stride, padding
        got = f"strides {sorted(strides)}, pads {pads}, auto_pad {auto.decode()}"
        raise node.error('the padding "same" or "valid"', got)

    def pool(self, node: _Node, kind: type[Layer]) -> None:
        """Add a max-pool or average-pool."""
        kernel = tuple(node.attributes["kernel_shape"])
        if len(set(kernel)) != 1:
            raise node.error("a pool over squares", list(kernel))
        stride, padding = self.geometry(node, kernel)
        if node.get("ceil_mode", 0) and any((s - kernel[0]) % stride for s in self.builder.shape[:2]):
            raise node.error("a pool over whole windows (ceil_mode 0)")
        if node.get("count_include_pad", 0) and any(node.get("pads", [0])):
            raise node.error("an average without the padding (count_include_pad 0)")
        self.add(node, kind, size=kernel[0], stride=stride, padding=padding)


def _read_convolution(graph: _Graph, node: _Node) -> None:
    w = node.constant(1, dimensions=4)
    F, C, *kernel = w.shape
    if node.get("group", 1) != 1:
        raise node.error("a convolution without groups", node.get("group", 1))
    stride, padding = graph.geometry(node, tuple(kernel))
    settings = {"in_channels": C, "filters": F, "kernel_size": kernel, "stride": stride, "padding": padding}
    graph.add(node, layers.Conv2D, [w, _bias(node, F, w.dtype)], **settings)


def _read_dense(graph: _Graph, node: _Node) -> None:
    w = node.constant(1, dimensions=2)
    if not node.get("alpha", 1) == node.get("beta", 1) == 1 or node.get("transA", 0):
        raise node.error("a Gemm that computes x @ w + b")
    w = w if node.get("transB", 0) else w.T  # [F, D]
    F, D = w.shape
    graph.add(node, layers.Dense, [w, _bias(node, F, w.dtype)], in_features=D, out_features=F)


def _read_matmul(graph: _Graph, node: _Node) -> None:
    w = node.constant(1, dimensions=2)  # [D, F]
    D, F = w.shape
    bias = np.zeros(F, w.dtype)
    graph.add(node, layers.Dense, [w.T, bias], in_features=D, out_features=F)


def _read_add(graph: _Graph, node: _Node) -> None:
    """The bias of a convolution or product that came without one, as TensorFlow writes it."""
    if not graph.unbiased:
        raise node.error("an Add only after a Conv or MatMul without a bias")
    arrays = graph.builder.layers[-1].arrays()
    added = node.constant(1)
    # [F], [1, F], or [1, F, 1, 1] after a convolution
    channel = 1 if added.ndim == 4 else added.ndim - 1
    if added.shape != tuple(arrays["bias"].size if axis == channel else 1 for axis in range(added.ndim)):
        raise node.error(f"a bias of {arrays['bias'].size} numbers", list(added.shape))
    arrays["bias"][...] = added.reshape(-1)


def _bias(node: _Node, size: int, dtype: np.dtype) -> np.ndarray:
    return np.broadcast_to(node.constant(2) if node.has(2) else dtype.type(0), size)


def _read_batch_norm(graph: _Graph, node: _Node) -> None:
    if node.get("training_mode", 0):
        raise node.error("a batch normalization for inference (training_mode 0)")
    arrays = [node.constant(index, dimensions=1) for index in range(1, 5)]
    momentum, epsilon = (
        float(str(np.float32(node.get(name, default))))  # float32, in which 0.9 is 0.899999976
        for name, default in (("momentum", 0.9), ("epsilon", 1e-5))
    )
    graph.add(node, layers.BatchNorm2D, arrays, channels=arrays[0].size, momentum=momentum, epsilon=epsilon)


def _read_global_average_pool(graph: _Graph, node: _Node) -> None:
    graph.add(node, layers.GlobalAveragePool2D)
    graph.pooled = True


def _read_mean(graph: _Graph, node: _Node) -> None:
    axes = node.constant(1).tolist() if node.has(1) else node.get("axes", [])
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise node.error("a mean over the axes 2 and 3", axes)
    graph.add(node, layers.GlobalAveragePool2D)
    graph.pooled = bool(node.get("keepdims", 1))


def _read_flatten(graph: _Graph, node: _Node) -> None:
    if node.op == "Reshape":
        target = [int(size) for size in node.constant(1)]
        if graph.rows:  # from rows to images
            H, W, C = graph.builder.shape
            if len(target) == 4 and target[1:] in ([C, H, W], [-1, H, W], [C, -1, W], [C, H, -1]):
                graph.rows = False
                return
        flat = len(target) == 2 and target[1] in (-1, int(np.prod(graph.builder.shape)))
    else:
        flat = node.get("axis", 1) == 1
    if not flat:
        raise node.error("a Flatten that keeps the images apart, one in each row")
    if graph.pooled:  # minicnn's GlobalAveragePool2D returns [N, C]
        graph.pooled = False
    else:
        graph.add(node, layers.Flatten)


def _read_dropout(graph: _Graph, node: _Node) -> None:
    ratio = float(node.constant(1)) if node.has(1) else 0.5
    graph.add(node, layers.Dropout, keep_prob=round(1 - ratio, 6))


READERS: dict[str, Callable[[_Graph, _Node], None]] = {
    "Conv": _read_convolution,
    "Relu": lambda graph, node: graph.add(node, layers.ReLU),
    "MaxPool": lambda graph, node: graph.pool(node, layers.MaxPool2D),
    "AveragePool": lambda graph, node: graph.pool(node, layers.AveragePool2D),
    "GlobalAveragePool": _read_global_average_pool,
    "ReduceMean": _read_mean,
    "BatchNormalization": _read_batch_norm,
    "Flatten": _read_flatten,
    "Reshape": _read_flatten,
    "Gemm": _read_dense,
    "MatMul": _read_matmul,
    "Add": _read_add,
    "Dropout": _read_dropout,
}

DEFAULT_NAMES: dict[type[Layer], str] = {
    layers.Conv2D: "conv",
    layers.Dense: "fc",
    layers.BatchNorm2D: "norm",
}  # of layers that the graph does not name


def _fuse(plain: list[Layer]) -> list[Layer]:
    """The layers, with every sequence of convolution, ReLU and 2x2 max-pool fused into one."""
    fused: list[Layer] = []
    for layer in plain:
        fused.append(layer)
        if [type(one) for one in fused[-3:]] != [layers.Conv2D, layers.ReLU, layers.MaxPool2D]:
            continue
        pool = layer.settings()
        if (pool["size"], pool["stride"], pool["padding"]) == (2, 2, "same"):
            conv = fused[-3]
            fused[-3:] = [layers.ConvReLUPool(**conv.settings(), values=conv.arrays())]
    return fused
