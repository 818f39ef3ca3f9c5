"""Networks go to PyTorch and ONNX and come back the same; what cannot is refused in one line."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from commands import assert_usage_error, run_main

from minicnn import (
    AveragePool2D,
    BatchNorm2D,
    Conv2D,
    ConvReLUPool,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    load_network,
    softmax_regression,
    tutorial_network,
)
from minicnn.interchange import from_torch, load_onnx, load_torch, save_onnx, save_torch, to_onnx, to_torch

ROOT = Path(__file__).resolve().parents[1]


def odd_network(dtype=np.float32):
    """The layers of the tutorial, in sizes that all differ: 9 x 7 pixels of two colours."""
    rng = np.random.default_rng(0)
    layers = [
        Conv2D(2, 3, (3, 2), name="first", rng=rng, dtype=dtype),
        ReLU(),
        MaxPool2D(3, 1, "same"),
        Conv2D(3, 5, 3, 2, "valid", name="a.second", rng=rng, dtype=dtype),
        MaxPool2D(2, 1, "valid", name="pool2"),
        Flatten(),
        ReLU(name="relu2"),
        Dropout(0.9),
        Dense(3 * 2 * 5, 6, name="middle", rng=rng, dtype=dtype),
        Dense(6, 4, name="last", rng=rng, dtype=dtype),
    ]
    return Sequential(layers, (9, 7, 2), "odd")


def normalized_network(dtype=np.float32):
    """Batch normalization and averages, without padding, so that PyTorch has the same."""
    rng = np.random.default_rng(0)
    layers = [
        Conv2D(2, 3, (3, 2), padding="valid", name="conv", rng=rng, dtype=dtype),
        BatchNorm2D(3, momentum=0.75, epsilon=1e-3, name="norm", dtype=dtype),
        ReLU(),
        AveragePool2D(2, 1, "valid", name="mean"),
        Conv2D(3, 5, 3, name="conv2", rng=rng, dtype=dtype),
        BatchNorm2D(5, name="a.norm", dtype=dtype),
        GlobalAveragePool2D(name="means"),
        Dense(5, 4, name="last", rng=rng, dtype=dtype),
    ]
    return with_statistics(Sequential(layers, (9, 7, 2), "normalized"))


def averaging_network(dtype=np.float32):
    """Averages over windows that reach over the edge of the image, and as the output."""
    rng = np.random.default_rng(0)
    layers = [
        AveragePool2D(3, 2, name="mean"),
        Conv2D(2, 3, 3, name="conv", rng=rng, dtype=dtype),
        AveragePool2D(2, 2, name="mean2"),
        BatchNorm2D(3, dtype=dtype),
        GlobalAveragePool2D(name="means"),
    ]
    return with_statistics(Sequential(layers, (9, 7, 2), "averaging"))


def with_statistics(network):
    """The network with other parameters and statistics than those it starts with."""
    rng = np.random.default_rng(1)
    for name, array in network.arrays().items():
        if "norm" in name:
            array[...] = rng.uniform(0.5, 2, array.shape)
    return network


NETWORKS = {
    "fused": lambda: tutorial_network(seed=1, keep_prob=0.7),
    "plain": lambda: tutorial_network(seed=1, fused=False),
    "softmax": softmax_regression,
    "odd": odd_network,
    "normalized": normalized_network,
    "averaging": averaging_network,
}
every_network = pytest.mark.parametrize("kind", NETWORKS)


def network_and_images(kind):
    network = NETWORKS[kind]()
    rng = np.random.default_rng(2)
    if kind == "softmax":  # which starts at zero
        network.values[...] = rng.normal(0, 0.1, network.values.shape)
    return network, rng.random((7, *network.input_shape), dtype=np.float32)


def channels_first(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def assert_same(a, b):
    """The same layers and names, and arrays equal bit for bit."""
    assert a.architecture() == b.architecture()
    assert_same_arrays(a, b)


def assert_same_arrays(a, b):
    assert list(a.arrays()) == list(b.arrays())
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name], strict=True, err_msg=name)


def zeroed(network):
    """The network with zeros for all arrays."""
    for array in network.arrays().values():
        array[...] = 0
    return network


# --- PyTorch ---


def test_layouts_are_converted():
    state = to_torch(tutorial_network())
    net = {p.name: p.value for p in tutorial_network().parameters()}
    assert list(state) == list(net)
    assert state["conv2.weight"][5, 3, 1, 2] == net["conv2.weight"][1, 2, 3, 5]
    row, column, channel = 2, 6, 40
    before, after = (row * 7 + column) * 64 + channel, (channel * 7 + row) * 7 + column
    assert state["fc1.weight"][11, after] == net["fc1.weight"][before, 11]
    assert state["fc2.weight"][3, 5] == net["fc2.weight"][5, 3]


@every_network
def test_pytorchs_file_comes_back_the_same(tmp_path, kind):
    network, _ = network_and_images(kind)
    save_torch(network, tmp_path / "n.safetensors")
    assert_same(load_torch(tmp_path / "n.safetensors"), network)


@every_network
def test_a_state_dict_fills_a_network_in_place(kind):
    network, _ = network_and_images(kind)
    other = zeroed(NETWORKS[kind]())
    from_torch(to_torch(network), other)
    assert_same(other, network)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("odd", {"first": 0, "a.second": 3, "middle": 8, "last": 10}),
        ("normalized", {"conv": 0, "norm": 1, "conv2": 4, "a.norm": 5, "last": 12}),
    ],
)
def test_the_numbers_of_an_nn_sequential_are_names_too(kind, numbers):
    network, _ = network_and_images(kind)
    state = {}
    for key, value in to_torch(network).items():
        name, array = key.rsplit(".", 1)
        state[f"{numbers[name]}.{array}"] = value
    other = zeroed(NETWORKS[kind]())
    from_torch(state, other)
    assert_same(other, network)


def test_batch_normalization_has_pytorchs_names_and_its_counter_is_ignored():
    network = normalized_network()
    state = to_torch(network)
    ours = network.arrays()
    pairs = {
        "weight": "scale",
        "bias": "shift",
        "running_mean": "running_mean",
        "running_var": "running_variance",
    }
    assert [key for key in state if key.startswith("norm.")] == [f"norm.{name}" for name in pairs]
    for theirs, name in pairs.items():
        np.testing.assert_array_equal(state[f"norm.{theirs}"], ours[f"norm.{name}"])
    other = zeroed(normalized_network())
    from_torch(state | {"norm.num_batches_tracked": np.array(7)}, other)
    assert_same(other, network)


class Unknown(Layer):
    def __init__(self):
        super().__init__("unknown")


@pytest.mark.parametrize("convert", [to_torch, to_onnx])
def test_a_layer_without_an_equivalent_is_refused_by_name(convert):
    if convert is to_onnx:
        pytest.importorskip("onnx")
    where = "ONNX" if convert is to_onnx else "PyTorch"
    with pytest.raises(ValueError, match=f"^unknown: Unknown has no equivalent in {where}$"):
        convert(Sequential([Conv2D(1, 2), Unknown()], (4, 4, 1)))


class Twice(Conv2D):
    """A subclass, which may compute something else."""


def test_a_subclass_of_a_known_layer_is_unknown():
    with pytest.raises(ValueError, match="Twice has no equivalent in PyTorch"):
        to_torch(Sequential([Twice(1, 2)], (4, 4, 1)))


@pytest.mark.parametrize("kind", ["fused", "softmax"])
def test_a_file_without_an_architecture_is_taken_for_a_known_network(tmp_path, kind):
    network, _ = network_and_images(kind)
    path = tmp_path / "n.safetensors"
    safetensors.numpy.save_file(to_torch(network), path)
    np.testing.assert_array_equal(load_torch(path).values, network.values)


def test_half_precision_is_widened(tmp_path):
    network, _ = network_and_images("softmax")
    state = {name: value.astype(np.float16) for name, value in to_torch(network).items()}
    safetensors.numpy.save_file(state, tmp_path / "n.safetensors")
    np.testing.assert_allclose(load_torch(tmp_path / "n.safetensors").values, network.values, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda s: s.pop("fc2.bias"), "fc2.bias"),
        (lambda s: s.update(extra=np.zeros(3, np.float32)), "extra"),
        (lambda s: s.update({"conv1.weight": s["conv1.weight"].transpose(2, 3, 1, 0)}), "conv1.weight"),
        (lambda s: s.update({"fc1.weight": s["fc1.weight"].T}), "fc1.weight"),
        (lambda s: s.update({"fc1.bias": np.zeros(7, np.float32)}), "fc1.bias"),
        (lambda s: s.update({"fc2.bias": np.zeros(10, np.int64)}), "fc2.bias"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, word):
    network = tutorial_network()
    before = network.values.copy()
    state = to_torch(tutorial_network(seed=3))
    change(state)
    with pytest.raises(ValueError, match=re.escape(word)):
        from_torch(state, network)
    np.testing.assert_array_equal(network.values, before)


def test_flattened_images_as_output_are_refused():
    with pytest.raises(ValueError, match="order of its outputs"):
        to_torch(Sequential([Conv2D(1, 3), Flatten()], (4, 4, 1)))


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "not a safetensors file"), (b"junk" * 99, "not a safetensors file")]
)
def test_a_file_that_is_none_of_pytorchs_is_refused(tmp_path, content, word):
    (tmp_path / "n.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=word):
        load_torch(tmp_path / "n.safetensors")


def test_a_minicnn_file_needs_no_conversion(tmp_path):
    softmax_regression().save(tmp_path / "n.safetensors")
    with pytest.raises(ValueError, match="no need"):
        load_torch(tmp_path / "n.safetensors")
    with pytest.raises(ValueError, match="nowhere: No such file or directory"):
        load_torch(tmp_path / "nowhere")


@pytest.mark.parametrize("load", [load_torch, load_onnx])
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path, load):
    if load is load_onnx:
        pytest.importorskip("onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ValueError, match=r"pipe\.onnx: not a regular file"):
        load(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a["layers"][0].update(type="Unknown"), "KeyError"),
        (lambda a: a["layers"][0].update(filters=10**9), "first.weight"),
        (lambda a: a["layers"][0].update(stride="wide"), "stride"),
        (lambda a: a["layers"].pop(), "last"),
        (lambda a: a["layers"].insert(3, {"type": "Conv2D", "name": "more", "in_channels": 3, "filters": 3}),
         "more.weight"),
        (lambda a: a.pop("input_shape"), "input_shape"),
        (lambda a: a.update(dtype="float3"), "float3"),
        (lambda a: a.update(input_shape=[9, 20, 2]), "middle.weight"),
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_the_arrays_is_refused(tmp_path, change, word):
    network = odd_network()
    description = network.architecture()
    change(description)
    metadata = {"minicnn.architecture": json.dumps(description)}
    safetensors.numpy.save_file(to_torch(network), tmp_path / "n.safetensors", metadata)
    with pytest.raises(ValueError, match=word) as caught:
        load_torch(tmp_path / "n.safetensors")
    assert str(caught.value).startswith(str(tmp_path / "n.safetensors: "))
    assert "\n" not in str(caught.value)


def their_twin(network):
    """The same network in PyTorch, with the names that matter."""
    from torch import nn

    def module(layer):
        if isinstance(layer, Conv2D):
            kh, kw, C, F = layer.weight.value.shape
            return nn.Conv2d(C, F, (kh, kw), layer.stride, layer.padding)
        if isinstance(layer, BatchNorm2D):
            return nn.BatchNorm2d(layer.scale.value.size, layer.epsilon, 1 - layer.momentum)
        if isinstance(layer, AveragePool2D):
            return nn.AvgPool2d(layer.size, layer.stride)
        if isinstance(layer, GlobalAveragePool2D):
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if isinstance(layer, MaxPool2D):
            return nn.MaxPool2d(layer.size, layer.stride, layer.size // 2 if layer.size % 2 else 0)
        if isinstance(layer, Dense):
            return nn.Linear(*layer.weight.value.shape)
        return {ReLU: nn.ReLU, Flatten: nn.Flatten, Dropout: nn.Dropout}[type(layer)]()

    twin = nn.Sequential()
    for layer in network.layers:
        parts = layer.name.split(".")
        if isinstance(layer, ConvReLUPool):
            twin.add_module(layer.name, module(layer))
            twin.add_module(f"{layer.name}_relu", nn.ReLU())
            twin.add_module(f"{layer.name}_pool", nn.MaxPool2d(2))
        elif len(parts) == 2 and layer.parameters:  # a module inside a module
            outer = nn.Sequential()
            outer.add_module(parts[1], module(layer))
            twin.add_module(parts[0], outer)
        else:
            twin.add_module(layer.name.replace(".", "_"), module(layer))
    return twin.eval()


@pytest.mark.parametrize("kind", ["fused", "plain", "softmax", "normalized"])
def test_pytorch_computes_the_same_logits(tmp_path, kind):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    network, images = network_and_images(kind)
    save_torch(network, tmp_path / "n.safetensors")
    twin = their_twin(network)
    twin.load_state_dict(load_file(tmp_path / "n.safetensors"))  # strict: all names, no others
    with torch.no_grad():
        logits = twin(torch.tensor(channels_first(images))).numpy()
    expected = network.forward(images)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_pytorch_keeps_the_same_statistics_in_training():
    """The momentum there is one minus the momentum here; both take the unbiased variance."""
    torch = pytest.importorskip("torch")
    network, images = network_and_images("normalized")
    twin = their_twin(network)
    twin.load_state_dict({name: torch.tensor(value) for name, value in to_torch(network).items()})
    twin.train()
    for step in range(3):
        network.forward(images + np.float32(step), training=True)
        twin(torch.tensor(channels_first(images + np.float32(step))))
    state = {name: tensor.numpy() for name, tensor in twin.state_dict().items()}
    for name, value in to_torch(network).items():
        np.testing.assert_allclose(value, state[name], rtol=1e-5, atol=1e-5, err_msg=name)
    other = zeroed(normalized_network())
    from_torch(state, other)  # with the counters
    np.testing.assert_array_equal(other.arrays()["a.norm.running_mean"], state["a.norm.running_mean"])


def test_weights_that_pytorch_saved_come_in(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    twin = their_twin(tutorial_network())
    save_file(twin.state_dict(), tmp_path / "n.safetensors")
    network = load_torch(tmp_path / "n.safetensors")
    images = np.random.default_rng(0).random((5, 28, 28, 1), dtype=np.float32)
    with torch.no_grad():
        logits = twin(torch.tensor(channels_first(images))).numpy()
    np.testing.assert_allclose(network.forward(images), logits, rtol=1e-5, atol=1e-5 * np.abs(logits).max())


def test_bfloat16_is_refused_or_read_but_never_misread(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    twin = their_twin(softmax_regression()).bfloat16()
    save_file(twin.state_dict(), tmp_path / "n.safetensors")
    with pytest.raises(ValueError, match=r"n\.safetensors"):
        load_torch(tmp_path / "n.safetensors")
    assert torch.bfloat16


# --- ONNX ---


@every_network
def test_onnx_comes_back_the_same(tmp_path, kind):
    pytest.importorskip("onnx")
    network, _ = network_and_images(kind)
    save_onnx(network, tmp_path / "n.onnx")
    assert_same(load_onnx(tmp_path / "n.onnx", fused=kind != "plain"), network)


@every_network
def test_onnxruntime_computes_the_same_logits(kind):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    network, images = network_and_images(kind)
    session = onnxruntime.InferenceSession(
        to_onnx(network).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(["logits"], {"images": channels_first(images)})
    expected = network.forward(images)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore")  # of PyTorch's exporters
@pytest.mark.parametrize("exporter", ["onnxscript", "torchscript"])
@pytest.mark.parametrize("kind", ["fused", "plain", "softmax", "normalized"])
def test_what_pytorch_exports_comes_in_and_computes_the_same_logits(tmp_path, kind, exporter):
    pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    if exporter == "onnxscript":
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network, images = network_and_images(kind)
    twin, x = their_twin(network), torch.tensor(channels_first(images))
    twin.load_state_dict({name: torch.tensor(value) for name, value in to_torch(network).items()})
    torch.onnx.export(twin, (x,), tmp_path / "n.onnx", dynamo=exporter == "onnxscript")
    with torch.no_grad():
        logits = twin(x).numpy()
    found = load_onnx(tmp_path / "n.onnx").forward(images)
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-5 * np.abs(logits).max())


@pytest.mark.parametrize("make", [odd_network, normalized_network, averaging_network])
def test_float64_goes_through_onnx(tmp_path, make):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    network = make(np.float64)
    images = np.random.default_rng(0).random((3, 9, 7, 2))
    (logits,) = ReferenceEvaluator(to_onnx(network)).run(None, {"images": channels_first(images)})
    np.testing.assert_allclose(logits, network.forward(images), rtol=1e-9, atol=1e-9)
    save_onnx(network, tmp_path / "n.onnx")
    assert_same(load_onnx(tmp_path / "n.onnx", fused=False), network)
    assert onnx


def foreign(nodes, tensors, shape=("N", 1, 28, 28), outputs=("y",)):
    """A model as another program would write it: without minicnn's names."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(kind, ins, [out], **attributes) for kind, ins, out, attributes in nodes],
        "other",
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value(name, onnx.TensorProto.FLOAT, ("N", "M")) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_a_foreign_chain_is_read(tmp_path):
    """As PyTorch exports it: other names, a Reshape, a Gemm that is not transposed, a Softmax."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    tensors = {
        "w0": rng.normal(0, 0.1, (4, 1, 3, 3)).astype(np.float32),
        "shape": np.array([-1, 4 * 14 * 14]),
        "w1": rng.normal(0, 0.1, (4 * 14 * 14, 10)).astype(np.float32),
        "b1": rng.normal(0, 0.1, 10).astype(np.float32),
    }
    model = foreign(
        [
            ("Conv", ["x", "w0"], "a", {"auto_pad": "SAME_UPPER"}),
            ("Relu", ["a"], "b", {}),
            ("MaxPool", ["b"], "c", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Identity", ["c"], "d", {}),
            ("Reshape", ["d", "shape"], "e", {}),
            ("Gemm", ["e", "w1", "b1"], "f", {}),
            ("Softmax", ["f"], "y", {}),
        ],
        tensors,
    )
    onnx.save(model, tmp_path / "n.onnx")
    network = load_onnx(tmp_path / "n.onnx")
    assert [type(layer) for layer in network.layers] == [ConvReLUPool, Flatten, Dense]
    assert [p.name for p in network.parameters()] == ["conv1.weight", "conv1.bias", "fc1.weight", "fc1.bias"]
    images = rng.random((5, 28, 28, 1), dtype=np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": channels_first(images)})
    np.testing.assert_allclose(network.predict(images), expected, rtol=1e-4, atol=1e-6)


def assert_same_logits(model, path, shape=(28, 28, 1), rows=False):
    """What is read computes what ONNX's own evaluator computes."""
    from onnx.reference import ReferenceEvaluator

    path.write_bytes(model.SerializeToString())
    network = load_onnx(path)
    images = np.random.default_rng(1).random((5, *shape), dtype=np.float32)
    x = images.reshape(5, -1) if rows else channels_first(images)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(network.forward(images), expected, rtol=1e-4, atol=1e-5)
    return network


def test_products_and_their_bias_in_nodes_of_their_own_are_read(tmp_path):
    """As TensorFlow's converter writes them."""
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    tensors = {
        "kernel": rng.normal(0, 0.1, (4, 1, 3, 3)).astype(np.float32),
        "conv_bias": rng.normal(size=(1, 4, 1, 1)).astype(np.float32),
        "shape": np.array([-1, 4 * 28 * 28]),
        "w": rng.normal(0, 0.1, (4 * 28 * 28, 10)).astype(np.float32),
        "b": rng.normal(size=10).astype(np.float32),
    }
    nodes = [
        ("Conv", ["x", "kernel"], "a", {"auto_pad": "SAME_UPPER"}),
        ("Add", ["a", "conv_bias"], "b1", {}),
        ("Relu", ["b1"], "c", {}),
        ("Reshape", ["c", "shape"], "d", {}),
        ("MatMul", ["d", "w"], "e", {}),
        ("Add", ["b", "e"], "y", {}),
    ]
    assert_same_logits(foreign(nodes, tensors), tmp_path / "n.onnx")


@pytest.mark.parametrize("reshape", [True, False])
def test_images_in_rows_are_read_as_images(tmp_path, reshape):
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    tensors = {
        "shape": np.array([-1, 1, 28, 28]), "w0": rng.normal(0, 0.1, (4, 1, 3, 3)).astype(np.float32),
        "w": rng.normal(0, 0.1, (4 * 28 * 28 if reshape else 784, 10)).astype(np.float32),
    }  # fmt: skip
    images = [
        ("Reshape", ["x", "shape"], "a", {}),
        ("Conv", ["a", "w0"], "b", {"auto_pad": "SAME_UPPER"}),
        ("Flatten", ["b"], "c", {}),
    ]
    nodes = [*(images if reshape else []), ("MatMul", ["c" if reshape else "x", "w"], "y", {})]
    network = assert_same_logits(foreign(nodes, tensors, ("N", 784)), tmp_path / "n.onnx", rows=True)
    assert network.input_shape == (28, 28, 1)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module.", "net."])
def test_wrappers_around_a_model_are_taken_off_its_names(prefix):
    network = softmax_regression()
    network.parameters()[0].value[...] = np.random.default_rng(0).random((784, 10))
    state = {prefix + name: array for name, array in to_torch(network).items()}
    loaded = softmax_regression()
    from_torch(state, loaded)
    np.testing.assert_array_equal(loaded.values, network.values)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02"])
def test_a_pickle_of_pytorch_is_refused_with_the_way_out(tmp_path, start):
    (tmp_path / "model.pth").write_bytes(start + bytes(100))
    with pytest.raises(ValueError, match=r"a pickle.*safetensors\.torch\.save_file\(model\.state_dict"):
        load_torch(tmp_path / "model.pth")


def test_the_normalization_of_the_other_side_becomes_a_layer(capsys, here):
    network = softmax_regression(ops="reference")
    network.values[...] = np.random.default_rng(0).normal(size=network.values.size)
    save_torch(network, "t.safetensors")
    code, _, err = run_main(
        capsys, "import", "t.safetensors", "n.safetensors", "--mean", "0.1307", "--std", "0.3081"
    )
    assert (code, err) == (0, [])
    images = np.random.default_rng(1).random((5, 28, 28, 1), dtype=np.float32)
    expected = network.forward((images - np.float32(0.1307)) / np.float32(0.3081))
    np.testing.assert_allclose(load_network("n.safetensors").forward(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "word"),
    [(["--std", "0"], "std"), (["--mean", "nan"], "mean"), (["--mean", "1", "2"], "1 numbers, one for each")],
)
def test_a_normalization_that_does_not_fit_is_refused(capsys, here, given, word):
    save_torch(softmax_regression(), "t.safetensors")
    assert_usage_error(run_main(capsys, "import", "t.safetensors", "n.safetensors", *given), word)
    assert not Path("n.safetensors").exists()


CONSTANTS = {
    "w": np.zeros((4, 1, 3, 3), np.float32), "one": np.ones(1, np.float32), "two": np.ones(2, np.float32)
}  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "word"),
    [
        ([("Sigmoid", ["x"], "y", {})], "Sigmoid"),
        ([("Relu", ["x"], "a", {}), ("Add", ["a", "one"], "y", {})], "an Add only after a Conv or MatMul"),
        ([("Conv", ["x", "w"], "a", {}), ("Add", ["a", "two"], "y", {})], "a bias of 4 numbers"),
        ([("Conv", ["x", "w"], "y", {"pads": [1, 0, 1, 0]})], "pads"),
        ([("Conv", ["x", "w"], "y", {"dilations": [2, 2]})], "dilations"),
        ([("Conv", ["x", "w"], "y", {"strides": [1, 2]})], "strides"),
        ([("MaxPool", ["x"], "y", {"kernel_shape": [2, 3]})], "squares"),
        ([("AveragePool", ["x"], "y", {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1],
                                       "count_include_pad": 1})], "count_include_pad"),
        ([("GlobalAveragePool", ["x"], "y", {})], "Flatten"),
        ([("GlobalAveragePool", ["x"], "a", {}), ("Relu", ["a"], "y", {})], "Flatten"),
        ([("ReduceMean", ["x"], "y", {"axes": [1, 2]})], "axes 2 and 3"),
        ([("ReduceMean", ["x"], "y", {"axes": [2, 3]})], "Flatten"),
        ([("BatchNormalization", ["x", "one", "one", "one", "w"], "y", {})], "dimensions"),
        ([("BatchNormalization", ["x", "one", "one", "one", "two"], "y", {})], "BatchNorm2D that fits"),
        ([("BatchNormalization", ["x", "one", "one", "one", "x"], "y", {})], "constant as input 4"),
        ([("MaxPool", ["x"], "y", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})], "ceil_mode"),
        ([("Relu", ["x"], "a", {}), ("Relu", ["x"], "y", {})], "nodes in a sequence"),
        ([("Softmax", ["x"], "a", {}), ("Relu", ["a"], "y", {})], "nodes in a sequence"),
        ([("Flatten", ["x"], "y", {"axis": 2})], "row"),
        ([("Gemm", ["x", "w"], "y", {})], "dimensions"),
    ],
)  # fmt: skip
def test_a_graph_that_is_no_chain_of_known_layers_is_refused(tmp_path, nodes, word):
    (tmp_path / "n.onnx").write_bytes(foreign(nodes, CONSTANTS).SerializeToString())
    with pytest.raises(ValueError, match=word) as caught:
        load_onnx(tmp_path / "n.onnx")
    assert "n.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"junk" * 99])
def test_a_file_that_is_not_onnx_is_refused(tmp_path, content):
    pytest.importorskip("onnx")
    (tmp_path / "n.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"n\.onnx: not an ONNX model"):
        load_onnx(tmp_path / "n.onnx")


def test_without_the_package_the_message_says_what_to_install(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    for call in (lambda: to_onnx(softmax_regression()), lambda: load_onnx(tmp_path / "n.onnx")):
        with pytest.raises(ImportError, match=r"minicnn\[onnx\]"):
            call()


# --- the commands ---


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("to", "ending"), [("safetensors-torch", "torch.safetensors"), ("onnx", "onnx")])
def test_export_and_import_give_the_network_back(capsys, here, to, ending):
    if to == "onnx":
        pytest.importorskip("onnx")
    network, _ = network_and_images("softmax")
    network.save("n.safetensors")
    code, out, err = run_main(capsys, "export", "n.safetensors", "--to", to)
    assert (code, err) == (0, [])
    assert out[0] == f"written: n.{ending}"
    code, out, err = run_main(capsys, "import", f"n.{ending}", "back.safetensors")
    assert (code, err) == (0, [])
    assert "written: back.safetensors" in out
    assert_same(load_network("back.safetensors"), network)


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["export", "n.safetensors"], "--to"),
        (["export", "n.safetensors", "--to", "keras"], "onnx"),
        (["export", "nowhere", "--to", "onnx"], "nowhere"),
        (["export", "n.safetensors", "--to", "safetensors-torch", "--output", "."], "got the directory ."),
        (["export", "n.safetensors", "--to", "safetensors-torch", "--output", ""], "--output"),
        (
            ["export", "n.safetensors", "--to", "safetensors-torch", "--output", "no/where"],
            "is not a directory",
        ),
        (["import", "nowhere", "out"], "nowhere"),
        (["import", "n.safetensors", "out"], "no need"),
        (["import", "n.safetensors", "n.safetensors"], "being read"),
        (["import", "n.safetensors", ""], "OUTPUT"),
        (["import", "n.safetensors", "no/where"], "no is not a directory"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(capsys, here, argv, word):
    softmax_regression().save("n.safetensors")
    before = Path("n.safetensors").read_bytes()
    assert_usage_error(run_main(capsys, *argv), word)
    assert [path.name for path in here.iterdir()] == ["n.safetensors"]
    assert Path("n.safetensors").read_bytes() == before


# --- the page ---


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's older exporter
def test_the_code_in_the_documentation_runs(here):
    for package in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    text = (ROOT / "notebooks" / "interchange.md").read_text()
    tutorial_network().save("network.safetensors")
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "notebooks/interchange.md", "exec"), names)


# --- what must not come in ---


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_neither_imported_nor_saved(tmp_path, number):
    network = softmax_regression()
    state = to_torch(network)
    state["fc.bias"][3] = number
    safetensors.numpy.save_file(state, tmp_path / "n.safetensors")
    with pytest.raises(ValueError, match=r"n.safetensors: fc.bias: expected finite numbers"):
        load_torch(tmp_path / "n.safetensors")
    with pytest.raises(ValueError, match="fc.bias: expected finite numbers"):
        from_torch(state, network)
    network.parameters()[1].value[3] = number
    with pytest.raises(ValueError, match="fc.bias: expected finite numbers"):
        network.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_weights_beside_an_onnx_model_are_read_from_that_file_alone(tmp_path):
    onnx = pytest.importorskip("onnx")
    network = softmax_regression(seed=3)
    save_onnx(network, tmp_path / "n.onnx")
    beside = {"save_as_external_data": True, "size_threshold": 0, "location": "n.data"}
    onnx.save(onnx.load(tmp_path / "n.onnx"), tmp_path / "n.onnx", **beside)
    assert_same(load_onnx(tmp_path / "n.onnx"), network)
    (tmp_path / "n.data").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"n.onnx: No such file"):
        load_onnx(tmp_path / "n.onnx")
    (tmp_path / "n.data").symlink_to("elsewhere")
    with pytest.raises(ValueError, match="expected weights in a file beside it, got 'n.data'"):
        load_onnx(tmp_path / "n.onnx")
