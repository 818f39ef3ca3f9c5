"""A network as an ONNX model.

`WRITERS` lists the layers that can be written, with the nodes that compute the same. A new layer needs one
entry, and one in `minicnn.interchange.torch.TWINS` if it has arrays: they are the inputs of its first node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minicnn.engine import layers
from minicnn.engine.layers.base import Layer, Shape
from minicnn.engine.network import Sequential
from minicnn.engine.reference import window_geometry
from minicnn.interchange.torch import TWINS, expect_equivalents, to_torch
from minicnn.storage.files import PathLike
from minicnn.storage.outputs import write_output

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 8  # old enough for every ONNX runtime since 2022


class Node(NamedTuple):
    """What computes a layer, or a part of it. `suffix` follows the layer's name, `constant` is an input."""

    op: str
    attributes: dict[str, Any]
    suffix: str = ""
    constant: np.generic | None = None


def windows(shape: Shape, kernel: Shape, stride: int, padding: str) -> dict[str, Any]:
    """The attributes of a node with windows that move over images of `shape` [H, W, ...]."""
    (_, top, bottom), (_, left, right) = (
        window_geometry(size, k, stride, padding) for size, k in zip(shape[:2], kernel, strict=True)
    )
    return {"kernel_shape": kernel, "strides": [stride, stride], "pads": [top, left, bottom, right]}


def _convolution(layer: Any, shape: Shape) -> list[Node]:
    return [Node("Conv", windows(shape, layer.weight.value.shape[:2], layer.stride, layer.padding))]


def _block(layer: Any, shape: Shape) -> list[Node]:
    pool = windows(layers.Conv2D.output_shape(layer, shape), (2, 2), 2, "same")
    return [*_convolution(layer, shape), Node("Relu", {}, ".relu"), Node("MaxPool", pool, ".pool")]


def _max_pool(layer: Any, shape: Shape) -> list[Node]:
    return [Node("MaxPool", windows(shape, (layer.size, layer.size), layer.stride, layer.padding))]


def _average_pool(layer: Any, shape: Shape) -> list[Node]:
    attributes = windows(shape, (layer.size, layer.size), layer.stride, layer.padding)
    return [Node("AveragePool", attributes | {"count_include_pad": 0})]


def _global_average_pool(layer: Any, shape: Shape) -> list[Node]:
    return [Node("GlobalAveragePool", {}), Node("Flatten", {}, ".flatten")]  # [N, C, 1, 1] -> [N, C]


def _batch_norm(layer: Any, shape: Shape) -> list[Node]:
    return [Node("BatchNormalization", {"epsilon": layer.epsilon, "momentum": layer.momentum})]


def _dropout(layer: Any, shape: Shape) -> list[Node]:
    return [Node("Dropout", {}, constant=np.float32(1 - layer.keep_prob))]


WRITERS: dict[type[Layer], Callable[[Any, Shape], list[Node]]] = {
    layers.Conv2D: _convolution,
    layers.ConvReLUPool: _block,
    layers.MaxPool2D: _max_pool,
    layers.AveragePool2D: _average_pool,
    layers.GlobalAveragePool2D: _global_average_pool,
    layers.BatchNorm2D: _batch_norm,
    layers.Dropout: _dropout,
    layers.Dense: lambda layer, shape: [Node("Gemm", {"transB": 1})],
    layers.ReLU: lambda layer, shape: [Node("Relu", {})],
    layers.Flatten: lambda layer, shape: [Node("Flatten", {})],
}


def to_onnx(network: Sequential) -> onnx.ModelProto:
    """The network as an ONNX model: "images" [N, C, H, W], scaled to 0..1, to "logits" [N, classes].

    Raises ValueError for a network that has no equivalent in ONNX, ImportError without the package.
    """
    onnx = import_onnx()
    expect_equivalents(network, WRITERS, "ONNX")
    if len(network.input_shape) != 3:
        raise ValueError(f"expected a network for images [H, W, C], got {list(network.input_shape)}")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    tensors = [from_array(value, name) for name, value in to_torch(network).items()]
    nodes: list[Any] = []
    value = "images"
    for layer, shape in zip(network.layers, network.shapes, strict=False):
        arrays = [f"{layer.name}.{twin.name}" for twin in TWINS[type(layer)].values()]
        for op, attributes, suffix, constant in WRITERS[type(layer)](layer, shape):
            name = f"{layer.name}{suffix}"
            if constant is not None:
                arrays.append(f"{name}.constant")
                tensors.append(from_array(np.asarray(constant), arrays[-1]))
            nodes.append(helper.make_node(op, [value, *arrays], [f"{name}.output"], name=name, **attributes))
            value, arrays = f"{name}.output", []

    nodes[-1].output[0] = "logits"
    H, W, C = network.input_shape
    number = helper.np_dtype_to_tensor_dtype(network.dtype)
    images = helper.make_tensor_value_info("images", number, ["N", C, H, W])
    logits = helper.make_tensor_value_info("logits", number, ["N", *_channels_first(network.shapes[-1])])
    graph = helper.make_graph(nodes, network.name, [images], [logits], tensors)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="minicnn")
    onnx.checker.check_model(model, full_check=True)
    return model


def _channels_first(shape: Shape) -> Shape:
    return shape if len(shape) == 1 else (shape[-1], *shape[:-1])


def save_onnx(network: Sequential, path: PathLike) -> None:
    """Write the network as an ONNX file: see `to_onnx`. Raises ValueError, ImportError or OSError."""
    write_output(path, to_onnx(network).SerializeToString())


def import_onnx() -> Any:
    """The package `onnx`. Raises ImportError with a hint if it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise ImportError('ONNX needs one more package: pip install "minicnn[onnx]"') from None
    return onnx
