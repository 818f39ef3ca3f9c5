"""Hostile ONNX models, and files of weights beside them."""

import os

import numpy as np
from cases import BILLION, case, content

from minicnn.storage import limits


def onnx_case(name, edit, kinds=("onnx",), **more):
    def make(path, good):
        import onnx

        model = onnx.load_model_from_string(good)
        edit(model, onnx)
        path.write_bytes(model.SerializeToString())

    make.__name__ = name
    return case(*kinds, **more)(make)


def tensor(model, name):
    return next(t for t in model.graph.initializer if t.name.endswith(name))


def set_external(tensor, location, **place):
    tensor.data_location = 1
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    for key, value in ({"location": location} | place).items():
        tensor.external_data.add(key=key, value=str(value))


def a_billion_outputs_without_inputs(model, onnx):
    weight = tensor(model, "weight")
    weight.dims[:] = [BILLION, 0]
    weight.raw_data = b""
    del model.graph.node[-1].input[2:]


def other_dims(model, onnx):
    tensor(model, "bias").dims[:] = [1 << 40]


def not_a_number(model, onnx):
    tensor(model, "bias").raw_data = np.full(10, np.nan, np.float32).tobytes()


def many_nodes(model, onnx):
    old = model.graph.node[0]
    previous = old.input[0]
    nodes = []
    for number in range(10_000):
        nodes.append(onnx.helper.make_node("Relu", [previous], [f"x{number}"]))
        previous = f"x{number}"
    nodes += [*model.graph.node]
    nodes[10_000].input[0] = previous
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def a_huge_pool(model, onnx):
    node = onnx.helper.make_node(
        "MaxPool",
        [model.graph.node[0].input[0]],
        ["pooled"],
        kernel_shape=[BILLION] * 2,
        strides=[1, 1],
        auto_pad="SAME_UPPER",
    )
    model.graph.node[0].input[0] = "pooled"
    model.graph.node.insert(0, node)


def a_constant_in_another_file(model, onnx):
    value = onnx.TensorProto(name="constant", data_type=1, dims=[10])
    set_external(value, "/etc/passwd")
    node = onnx.helper.make_node("Constant", [], ["constant"], value=value)
    model.graph.node.insert(0, node)


onnx_case("a billion outputs without inputs", a_billion_outputs_without_inputs)
onnx_case("a shape that its bytes do not have", other_dims)
onnx_case("a weight that is not a number", not_a_number)
onnx_case("10,000 nodes", many_nodes, read_by=[""])
onnx_case("a pool over a billion pixels", a_huge_pool)
onnx_case("a constant in another file", a_constant_in_another_file)
for place in ("../elsewhere", "/etc/passwd", "/dev/zero", "", ".", "pipe/../x", "a\x00b"):
    onnx_case(
        f"weights in {place!r}", lambda model, onnx, place=place: set_external(tensor(model, "bias"), place)
    )
for what, place in (("before the beginning", {"offset": -8}), ("of a terabyte", {"length": 1 << 40})):
    onnx_case(
        f"weights {what}",
        lambda model, onnx, place=place: set_external(tensor(model, "bias"), "weights.data", **place),
        kinds=["weights"],
    )


@case("onnx", "weights", read_by={"weights": [""]})
def as_many_sparse_bytes_as_are_read(path, good):
    path.write_bytes(good)
    os.truncate(path, limits.ONNX)


@content("onnx")
def the_beginning_of_a_message_repeated(good):
    return b"\x3a\xff\xff\xff\x7f" * 1000
