"""Networks: parameters in one array, prediction, files, and the tutorial's network computed anew."""

import copy
import hashlib
import json
import pickle
import struct
import threading

import numpy as np
import pytest
import safetensors.numpy
from numpy.lib.stride_tricks import sliding_window_view

from minicnn import (
    SGD,
    Adam,
    BatchNorm2D,
    Conv2D,
    ConvReLUPool,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    load_network,
    register_layer,
    softmax_regression,
    tutorial_network,
)
from minicnn.engine import network
from minicnn.engine.initializers import constant
from minicnn.engine.network import build

NAMES = [f"{layer}.{array}" for layer in ("conv1", "conv2", "fc1", "fc2") for array in ("weight", "bias")]


def small(dtype=np.float32, keep_prob=0.5, seed=0):
    """A network with a layer of every kind, for images of 6 x 5 x 1."""
    rng = np.random.default_rng(seed)
    return Sequential(
        [
            ConvReLUPool(1, 2, 3, name="block", rng=rng, dtype=dtype),  # 3 x 3 x 2
            Conv2D(2, 3, (2, 1), name="conv", rng=rng, dtype=dtype),
            MaxPool2D(3, 1, name="pool"),
            Flatten(),
            Dense(27, 4, name="dense", rng=rng, dtype=dtype),
            ReLU(),
            Dropout(keep_prob, rng=seed),
            Dense(4, 3, name="scores", rng=rng, dtype=dtype),
        ],
        (6, 5, 1),
        "small",
    )


def batch(N=4, dtype=np.float32):
    return np.random.default_rng(1).random((N, 6, 5, 1)).astype(dtype)


def gradients(net):
    return [p.grad.copy() for p in net.parameters()]


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [True, False])
def test_the_tutorial_network_has_its_parameters_in_order(fused):
    net = tutorial_network(fused=fused)
    assert [p.name for p in net.parameters()] == NAMES
    assert [p.value.shape for p in net.parameters()] == [
        (5, 5, 1, 32),
        (32,),
        (5, 5, 32, 64),
        (64,),
        (3136, 1024),
        (1024,),
        (1024, 10),
        (10,),
    ]
    assert net.values.size == 3_274_634


def test_softmax_regression_has_7850_parameters_that_are_zero():
    net = softmax_regression()
    assert net.values.size == 7850
    assert not net.values.any()


def test_parameters_and_gradients_are_views_of_one_array_each_without_gaps():
    net = small()
    for whole, parts in (
        (net.values, [p.value for p in net.parameters()]),
        (net.grads, [p.grad for p in net.parameters()]),
    ):
        whole[:] = np.arange(whole.size)
        np.testing.assert_array_equal(np.concatenate([part.ravel() for part in parts]), whole)


def test_gathering_keeps_the_values_and_gradients_of_the_layers():
    layer = Dense(3, 2, rng=4)
    before = layer.weight.value.copy()
    layer.weight.grad[:] = 7
    net = Sequential([layer], (3,))
    np.testing.assert_array_equal(net.parameters()[0].value, before)
    assert (net.parameters()[0].grad == 7).all()
    assert np.shares_memory(layer.weight.value, net.values)


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_backward_writes_into_the_array_of_gradients(ops):
    net = small()
    net.use_ops(ops)
    net.grads[:] = np.nan
    net.backward(np.ones_like(net.forward(batch(), training=True)))
    assert np.isfinite(net.grads).all()


def test_weights_come_from_the_seed_and_are_alike_plain_and_fused_in_both_dtypes():
    first = tutorial_network(seed=3).values
    np.testing.assert_array_equal(first, tutorial_network(seed=3, fused=False, ops="reference").values)
    np.testing.assert_array_equal(first, tutorial_network(seed=3, dtype=np.float64).values.astype(np.float32))
    assert not np.array_equal(first, tutorial_network(seed=4).values)


def test_weights_are_truncated_normal_and_biases_a_tenth():
    for p in tutorial_network(dtype=np.float64).parameters():
        if p.name.endswith("bias"):
            assert (p.value == 0.1).all()
        else:
            assert np.abs(p.value).max() <= 0.2
            assert p.value.std() == pytest.approx(0.088, rel=0.1)


def test_the_dropout_of_the_tutorial_follows_the_seed():
    def mask(seed):
        (dropout,) = (layer for layer in tutorial_network(seed).layers if isinstance(layer, Dropout))
        return dropout.draw_mask((100,))

    np.testing.assert_array_equal(mask(0), mask(0))
    assert not np.array_equal(mask(0), mask(1))


@pytest.mark.parametrize("make", [tutorial_network, softmax_regression])
@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_all_layers_compute_with_the_ops_asked_for(make, ops):
    assert {layer.ops for layer in make(ops=ops).layers} == {ops}


def test_the_summary_lists_layers_shapes_and_the_total(capsys):
    tutorial_network(fused=False).summary()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["conv1", "(Conv2D)", "(N,", "28,", "28,", "32)", "832"] in lines
    assert ["conv2.pool", "(MaxPool2D)", "(N,", "7,", "7,", "64)", "0"] in lines
    assert ["fc1", "(Dense)", "(N,", "1024)", "3,212,288"] in lines
    assert ["Total", "parameters:", "3,274,634", "(13.1", "MB)"] in lines


# --- forward and backward ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_goes_through_the_network(dtype):
    net = small(dtype)
    y = net.forward(batch(dtype=dtype), training=True)
    dx = net.backward(np.ones_like(y))
    assert {net.dtype, net.values.dtype, net.grads.dtype, y.dtype, dx.dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize("make", [small, softmax_regression], ids=["small", "softmax"])
def test_gradients_are_the_same_without_the_gradient_of_the_input(make):
    net = make()
    x = np.random.default_rng(0).random((4, *net.input_shape)).astype(np.float32)
    for layer in net.layers:
        if isinstance(layer, Dropout):
            layer.keep_prob = 1.0
    dy = np.random.default_rng(1).standard_normal(net.forward(x, training=True).shape).astype(np.float32)
    assert net.backward(dy).shape == x.shape
    expected = gradients(net)
    net.grads[:] = np.nan
    net.forward(x, training=True)
    assert net.backward(dy, input_gradient=False) is None
    np.testing.assert_equal(gradients(net), expected)


def test_without_the_gradient_of_the_input_nothing_below_the_first_parameters_is_computed(monkeypatch):
    net, asked = softmax_regression(), []
    flatten, dense = net.layers
    monkeypatch.setattr(flatten, "backward", lambda *args: asked.append("flatten"))
    monkeypatch.setattr(dense, "backward", lambda dy, input_gradient: asked.append(input_gradient))
    net.backward(np.ones((1, 10), np.float32), input_gradient=False)
    assert asked == [False]


def test_a_backward_that_skips_the_lowest_layers_leaves_nothing_for_the_next():
    net = Sequential([ReLU(), Dense(3, 2, rng=0)], (3,))
    net.forward(np.ones((4, 3), np.float32), training=True)
    net.backward(np.ones((4, 2), np.float32), input_gradient=False)
    net.forward(-np.ones((5, 3), np.float32))
    assert not net.backward(np.ones((5, 2), np.float32)).any()


# --- a large gradient, which is multiplied when it is read ---------------------------------------


def large(ops="kernels"):
    """A network whose first gradient is left as a product."""
    layers = [Dense(400, 300, name="large", rng=0), Dense(300, 2, name="small", rng=1)]
    net = Sequential(layers, (400,))
    net.use_ops(ops)
    return net


def large_batch(seed=0):
    return np.random.default_rng(seed).standard_normal((3, 400)).astype(np.float32)


def backward(net, x, dy=((1, -2), (3, 1), (-1, 2))):
    net.forward(x, training=True)
    net.backward(np.array(dy, np.float32))


both_ops = pytest.mark.parametrize("ops", ["kernels", "reference"])


def true_gradient(net, x):
    """dL/dweight of the large layer after `backward`, computed anew."""
    weight = net.layers[1].weight.value
    return x.T @ (np.array(((1, -2), (3, 1), (-1, 2)), np.float32) @ weight.T)


@both_ops
def test_a_large_gradient_stays_a_product_until_it_is_read(ops):
    net, x = large(ops), large_batch()
    backward(net, x)
    weight = net.parameters()[0]
    assert weight.pending is not None
    np.testing.assert_allclose(weight.grad, true_gradient(net, x), rtol=1e-4, atol=1e-6)
    assert weight.pending is None


@both_ops
def test_a_gradient_that_was_read_is_written_by_every_later_backward(ops):
    net = large(ops)
    grad = net.parameters()[0].grad
    for seed in 0, 1:
        backward(net, large_batch(seed))
        np.testing.assert_allclose(grad, true_gradient(net, large_batch(seed)), rtol=1e-4, atol=1e-6)


@both_ops
@pytest.mark.parametrize("training", [False, True])
def test_a_forward_between_backward_and_step_changes_nothing(ops, training):
    results = []
    for between in False, True:
        net = large(ops)
        backward(net, large_batch())
        if between:
            net.forward(large_batch(1), training)
            net.predict(large_batch(2))
        Adam(net.parameters(), 0.1, ops=ops).step()
        results.append(net.values.copy())
    np.testing.assert_array_equal(*results)


def test_what_the_caller_does_with_its_arrays_after_backward_changes_nothing():
    net, x = large(), large_batch()
    backward(net, x)
    x[:] = np.nan
    assert np.isfinite(net.grads).all()


@both_ops
@pytest.mark.parametrize("make", [Adam, SGD])
def test_the_step_obeys_what_is_written_into_a_gradient(ops, make):
    net = large(ops)
    before = net.values.copy()
    backward(net, large_batch())
    for p in net.parameters():
        p.grad = np.zeros_like(p.grad)
    make(net.parameters(), 0.1, ops=ops).step()
    np.testing.assert_array_equal(net.values, before)


@both_ops
def test_a_step_along_a_product_equals_the_step_along_the_gradient_that_was_read(ops):
    results = []
    for read in False, True:
        net = large(ops)
        adam = Adam(net.parameters(), 0.1, ops=ops)
        for seed in 0, 1, 2:
            backward(net, large_batch(seed))
            if read:
                assert net.grads.any()
            adam.step()
        results.append(net.values.copy())
    np.testing.assert_array_equal(*results)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"large.weight.grad: expected float32 \[400, 300\], got"):
        large().parameters()[0].grad = np.zeros((300, 400))


# --- layers that are shared ----------------------------------------------------------------------


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_an_optimizer_moves_layers_that_another_network_shares(ops):
    whole = small(keep_prob=1)
    whole.use_ops(ops)
    adam = Adam(whole.parameters(), 0.1, ops=ops)
    part = Sequential(whole.layers[:-2], (6, 5, 1), "part")
    before = [p.value.copy() for p in whole.parameters()]
    whole.backward(np.ones_like(whole.forward(batch(), training=True)))
    adam.step()
    for p, value in zip(whole.parameters(), before, strict=True):
        assert p.grad.any()
        assert not np.array_equal(p.value, value)
    assert [np.shares_memory(p.value, whole.values) for p in part.parameters()] == [True] * 6
    np.testing.assert_array_equal(part.values, whole.values[: part.values.size])


def test_a_value_that_is_assigned_is_moved_by_the_optimizer():
    net = small()
    adam = Adam(net.parameters(), 0.1)
    weight = net.layers[0].weight
    weight.value = np.zeros(weight.value.shape)
    net.backward(np.ones_like(net.forward(batch(), training=True)))
    adam.step()
    assert weight.value.any()
    assert np.shares_memory(weight.value, net.values)


def test_layers_of_several_networks_have_no_one_array():
    first, second = Dense(3, 3, name="a"), Dense(3, 3, name="b")
    for layer in first, second:
        Sequential([layer], (3,))
    both = Sequential([first, second], (3,))
    assert both.forward(np.ones((1, 3), np.float32)).shape == (1, 3)
    with pytest.raises(ValueError, match="its layers belong to several networks"):
        _ = both.values


@pytest.mark.long
@pytest.mark.timeout(120)  # were a check quadratic, this would take hours
def test_two_hundred_thousand_layers_are_built_or_refused():
    count = 200_000
    net = Sequential((ReLU(name=f"relu{i}", ops="reference") for i in range(count)), (3,))
    described = net.architecture()
    assert len(build(described, {}, "reference").layers) == count
    with pytest.raises(ValueError, match="got 'relu0' twice"):
        build(described | {"layers": described["layers"] * 2}, {}, "reference")
    with pytest.raises(ValueError, match=rf"got layer0\.weight, .* and {count - 10} more"):
        build(described, {f"layer{i}.weight": np.ones(1) for i in range(count)}, "reference")


def test_the_layers_of_a_network_cannot_be_exchanged():
    net = Sequential([ReLU()], (3,))
    with pytest.raises(TypeError):
        net.layers[0] = Dense(3, 3)
    assert not hasattr(net.layers, "append")


def test_layers_may_come_from_a_generator():
    assert len(Sequential((ReLU(name=name) for name in "ab"), (3,)).layers) == 2


def test_training_switches_dropout_on():
    net, x = small(), batch()
    evaluated = net.forward(x).copy()
    np.testing.assert_array_equal(net.forward(x), evaluated)
    assert not np.array_equal(net.forward(x, training=True), evaluated)


def test_a_network_without_parameters_works():
    net = Sequential([ReLU(), Flatten()], (2, 2))
    x = np.array([[[1, -1], [-2, 2]]], np.float32)
    assert net.forward(x, training=True).tolist() == [[1, 0, 0, 2]]
    assert net.backward(np.ones((1, 4), np.float32)).tolist() == [[[1, 0], [0, 1]]]


def test_kernels_and_reference_give_the_same():
    results = []
    for ops in "kernels", "reference":
        net = small(np.float64)
        net.use_ops(ops)
        y = net.forward(batch(dtype=np.float64), training=True)
        results.append([y.copy(), net.backward(np.ones_like(y)), *gradients(net)])
    for kernel, reference in zip(*results, strict=True):
        np.testing.assert_allclose(kernel, reference, rtol=1e-11, atol=1e-12)


def test_backward_before_forward_is_refused():
    with pytest.raises(RuntimeError, match=r"scores.backward: no matching forward"):
        small().backward(np.ones((4, 3), np.float32))


@pytest.mark.parametrize("evaluations", [1, 2])
def test_an_evaluation_between_forward_and_backward_changes_nothing(evaluations):
    results = []
    for between in 0, evaluations:
        net = small()
        dy = np.ones_like(net.forward(batch(), training=True))
        for _ in range(between):
            net.forward(batch(2))
            net.predict(batch(3))
        results.append([net.backward(dy), *gradients(net)])
    np.testing.assert_equal(*results)


@pytest.mark.parametrize("shape", [(6, 5), (4, 6, 5), (4, 6, 5, 2), (4, 30)])
def test_an_input_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"small: x: expected shape|block: x: expected "):
        small().forward(np.ones(shape, np.float32))


def test_layers_that_do_not_fit_are_refused_when_the_network_is_built():
    with pytest.raises(ValueError, match=r"b: x: expected shape \[N, 5\], got \[N, 4\]"):
        Sequential([Dense(3, 4, name="a"), Dense(5, 2, name="b")], (3,))


def test_an_input_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"conv: x: expected shape \[N, H, W, 1\], got \[N, 28, 28\]"):
        Sequential([Conv2D(1, 2)], (28, 28))


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="layers: expected at least one, got none"):
        Sequential([], (3,))


def test_a_name_used_twice_is_refused():
    with pytest.raises(ValueError, match="layers: expected different names, got 'relu' twice"):
        Sequential([ReLU(), ReLU()], (3, 3))


def test_two_dtypes_are_refused():
    layers = [Dense(3, 3, name="a"), Dense(3, 3, name="b", dtype=np.float64)]
    with pytest.raises(ValueError, match=r"parameters: expected one dtype, got float32, float64"):
        Sequential(layers, (3,))


# --- the whole network, computed anew ------------------------------------------------------------
# Shares nothing with minicnn: windows by strides instead of im2col, einsum instead of products of
# matrices, dx as a convolution with the flipped kernel instead of col2im, pooling by reshape.


def windows(x):
    """x [N, H, W, C] -> [N, H, W, C, 5, 5], the pixels around each pixel."""
    return sliding_window_view(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), (5, 5), axis=(1, 2))


def pool(x):
    """Of each 2 x 2 block the largest, and a one-hot map of the first place where it stood."""
    N, H, W, C = x.shape
    blocks = x.reshape(N, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
    first = np.eye(4)[blocks.argmax(axis=1)]
    return blocks.max(axis=1).reshape(N, H // 2, W // 2, C), first


def unpool(dy, first):
    N, H, W, C = dy.shape
    spread = (first * dy.reshape(-1, 1)).reshape(N, H, W, C, 2, 2)
    return spread.transpose(0, 1, 4, 2, 5, 3).reshape(N, 2 * H, 2 * W, C)


def logits_and_gradients(p, images, dlogits):
    """Logits of the tutorial's network, and dL/dp for each of its eight parameters by name."""
    kept = {}
    x = images
    for name in "conv1", "conv2":
        patches = windows(x)
        z = np.einsum("nijcuv,uvcf->nijf", patches, p[f"{name}.weight"], optimize=True) + p[f"{name}.bias"]
        pooled, first = pool(z * (z > 0))
        kept[name] = patches, z, first
        x = pooled
    flat = x.reshape(len(x), -1)
    hidden = flat @ p["fc1.weight"] + p["fc1.bias"]
    active = hidden * (hidden > 0)
    logits = active @ p["fc2.weight"] + p["fc2.bias"]

    g = {"fc2.weight": active.T @ dlogits, "fc2.bias": dlogits.sum(0)}
    dhidden = (dlogits @ p["fc2.weight"].T) * (hidden > 0)
    g |= {"fc1.weight": flat.T @ dhidden, "fc1.bias": dhidden.sum(0)}
    dx = (dhidden @ p["fc1.weight"].T).reshape(x.shape)
    for name in "conv2", "conv1":
        patches, z, first = kept[name]
        dz = unpool(dx, first) * (z > 0)
        g[f"{name}.weight"] = np.einsum("nijcuv,nijf->uvcf", patches, dz, optimize=True)
        g[f"{name}.bias"] = dz.sum((0, 1, 2))
        flipped = p[f"{name}.weight"][::-1, ::-1]
        dx = np.einsum("nijfuv,uvcf->nijc", windows(dz), flipped, optimize=True)
    return logits, g


@pytest.fixture(scope="module")
def anew():
    """Images, dL/dlogits, and the logits and gradients that belong to them."""
    rng = np.random.default_rng(5)
    images = np.zeros((6, 28, 28, 1))
    images[:, 4:24, 4:24] = rng.random((6, 20, 20, 1))  # with a blank border, like a digit
    images[0] = 0
    dlogits = rng.standard_normal((6, 10))
    parameters = {p.name: p.value for p in tutorial_network(dtype=np.float64).parameters()}
    return images, dlogits, *logits_and_gradients(parameters, images, dlogits)


@pytest.mark.parametrize("ops", ["kernels", "reference"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_the_tutorial_network_equals_an_independent_computation(anew, fused, ops):
    images, dlogits, logits, expected = anew
    net = tutorial_network(keep_prob=1, dtype=np.float64, fused=fused, ops=ops)
    actual = net.forward(images, training=True)
    assert np.abs(actual - logits).max() < 1e-9 * np.abs(logits).max()
    net.backward(dlogits)
    assert [p.name for p in net.parameters()] == NAMES
    for p in net.parameters():
        g = expected[p.name]
        assert np.abs(p.grad - g).max() < 1e-9 * np.abs(g).max(), p.name


# --- prediction ----------------------------------------------------------------------------------


def digits(N=5):
    return np.random.default_rng(2).integers(0, 256, (N, 6, 5), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_are_probabilities(dtype):
    p = small(dtype).predict(digits())
    assert p.shape == (5, 3)
    assert p.dtype == dtype
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_predictions_are_the_softmax_of_the_logits():
    net = small(np.float64)
    z = np.exp(net.forward(batch(dtype=np.float64)))
    np.testing.assert_allclose(net.predict(batch(dtype=np.float64)), z / z.sum(1, keepdims=True))


def test_bytes_and_floats_predict_the_same():
    net, images = small(), digits()
    expected = net.predict(images)
    np.testing.assert_array_equal(net.predict(images[..., None]), expected)
    floats = images[..., None].astype(np.float32) / 255
    np.testing.assert_array_equal(net.predict(floats), expected)
    np.testing.assert_allclose(net.predict(floats.astype(np.float64)), expected, rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 2, 4, 5])
def test_predicting_in_chunks_equals_predicting_at_once(monkeypatch, chunk):
    net = small(np.float64)
    expected = net.predict(digits())
    monkeypatch.setattr(network, "CHUNK", chunk)
    np.testing.assert_allclose(net.predict(digits()), expected, rtol=1e-12)


def test_predictions_are_not_overwritten_by_the_next():
    net = small()
    first = net.predict(digits())
    before = first.copy()
    net.predict(255 - digits())
    np.testing.assert_array_equal(first, before)


def test_predict_leaves_the_images_and_the_dropout_alone():
    net, images = small(), digits()
    before, state = images.copy(), net.layers[6].rng.bit_generator.state
    net.predict(images)
    np.testing.assert_array_equal(images, before)
    assert net.layers[6].rng.bit_generator.state == state


def test_a_prediction_leaves_nothing_to_differentiate():
    net = small()
    net.predict(digits(4))
    with pytest.raises(RuntimeError, match="no matching forward"):
        net.backward(np.ones((4, 3), np.float32))


def test_threads_can_predict_at_the_same_time(monkeypatch):
    net = small()
    monkeypatch.setattr(network, "CHUNK", 1)  # many chances to get in each other's way
    inputs = [digits(N) for N in (30, 50, 70, 90)]
    expected = [net.predict(images) for images in inputs]
    wrong = []

    def work(images, right):
        for _ in range(5):
            if not np.array_equal(net.predict(images), right):
                wrong.append(len(images))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("shape", [(0, 6, 5), (6, 5), (4, 5, 6), (4, 6, 5, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"images: expected \[N, 6, 5, 1\] with N >= 1, got"):
        small().predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.int64, bool, complex])
def test_images_of_another_dtype_are_refused(dtype):
    with pytest.raises(TypeError, match="images: expected uint8 or floats, got"):
        small().predict(np.zeros((4, 6, 5, 1), dtype))


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_network_comes_back_the_same(tmp_path, dtype):
    net = small(dtype, keep_prob=0.75)
    net.save(tmp_path / "net.safetensors")
    loaded = load_network(tmp_path / "net.safetensors")
    assert loaded.architecture() == net.architecture()
    assert loaded.values.dtype == dtype
    np.testing.assert_array_equal(loaded.values, net.values)
    np.testing.assert_array_equal(loaded.predict(digits()), net.predict(digits()))


@pytest.mark.parametrize("fused", [True, False])
def test_the_tutorial_network_comes_back_the_same(tmp_path, fused):
    net = tutorial_network(seed=1, keep_prob=0.7, fused=fused)
    net.save(tmp_path / "net")
    loaded = load_network(str(tmp_path / "net"), ops="reference")
    assert loaded.architecture() == net.architecture()
    np.testing.assert_array_equal(loaded.values, net.values)
    assert {layer.ops for layer in loaded.layers} == {"reference"}


def test_a_network_described_in_numpys_numbers_can_be_saved(tmp_path):
    net = Sequential([Dropout(np.float32(0.5)), Dense(3, 2)], (3,))
    net.save(tmp_path / "net.safetensors")
    assert load_network(tmp_path / "net.safetensors").layers[0].keep_prob == 0.5


def test_a_saved_network_can_be_read_by_others(tmp_path):
    net = small()
    net.save(tmp_path / "net")
    arrays = safetensors.numpy.load_file(tmp_path / "net")
    assert set(arrays) == {p.name for p in net.parameters()}
    for p in net.parameters():
        np.testing.assert_array_equal(arrays[p.name], p.value)


def test_saving_replaces_an_older_file(tmp_path):
    small(seed=1).save(tmp_path / "net")
    small(seed=2).save(tmp_path / "net")
    np.testing.assert_array_equal(load_network(tmp_path / "net").values, small(seed=2).values)
    assert [file.name for file in tmp_path.iterdir()] == ["net"]


def test_values_that_do_not_fit_are_refused_and_change_nothing():
    net = small()
    arrays = {p.name: p.value + 1 for p in net.parameters()}
    for wrong in (
        arrays | {"more": np.zeros(1)},
        {name: arrays[name] for name in list(arrays)[1:]},
        arrays | {"scores.bias": np.zeros(4, np.float32)},
        arrays | {"scores.bias": np.zeros(3, np.float64)},
    ):
        with pytest.raises(ValueError, match=r"more|block|scores.bias"):
            build(net.architecture(), wrong)
        with pytest.raises(ValueError, match=r"more|block|scores.bias"):
            net.load_values(wrong)
    np.testing.assert_array_equal(net.values, small().values)


def test_values_are_taken_over_by_name():
    net, other = small(seed=1), small(seed=2)
    net.load_values({p.name: p.value for p in reversed(other.parameters())})
    np.testing.assert_array_equal(net.values, other.values)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a small saved network."""
    path = tmp_path_factory.mktemp("saved") / "net"
    Sequential([Dense(2, 3, name="a"), ReLU(), Dropout(0.5), Dense(3, 1, name="b")], (2,)).save(path)
    return path.read_bytes()


def refused(path, content):
    """Whether load_network refuses this content by a ValueError that names the file."""
    path.write_bytes(content)
    try:
        load_network(path)
    except ValueError as error:
        return str(path) in str(error)
    return False


def complaint(path):
    with pytest.raises(ValueError, match=str(path)) as caught:
        load_network(path)
    return str(caught.value)


def described(architecture, **arrays):
    text = architecture if isinstance(architecture, str) else json.dumps(architecture)
    return sealed(safetensors.numpy.save(arrays, {"minicnn": text, "sha256": "0" * 64}))


def sealed(data):
    """With the digest that fits, so that nothing but the description can be refused."""
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def test_a_truncated_file_is_refused_by_name(tmp_path, saved):
    for length in range(len(saved)):
        assert refused(tmp_path / "net", saved[:length]), length


def test_a_damaged_file_causes_no_other_error(tmp_path, saved):
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(saved)
        damaged[rng.integers(len(saved))] = rng.integers(256)
        refused(tmp_path / "net", bytes(damaged))  # or it is still valid: a weight has changed


DENSE = {"type": "Dense", "name": "a", "in_features": 2, "out_features": 1}
GOOD = {"name": "n", "input_shape": [2], "dtype": "float32", "layers": [DENSE]}
ARRAYS = {"a.weight": np.zeros((2, 1), np.float32), "a.bias": np.zeros(1, np.float32)}


def test_the_description_that_the_next_test_spoils_is_good(tmp_path):
    assert not refused(tmp_path / "net", described(GOOD, **ARRAYS))


@pytest.mark.parametrize(
    "architecture",
    [
        "",
        "{",
        "null",
        "[1]",
        "[" * 100_000,
        {},
        GOOD | {"layers": []},
        GOOD | {"layers": 5},
        GOOD | {"layers": [5]},
        GOOD | {"layers": [DENSE, DENSE]},
        GOOD | {"layers": [DENSE, {"type": "Layer", "name": "b"}]},
        GOOD | {"layers": [DENSE | {"type": "os"}]},
        GOOD | {"layers": [DENSE | {"type": None}]},
        GOOD | {"layers": [DENSE | {"in_features": "2"}]},
        GOOD | {"layers": [DENSE | {"in_features": 3}]},
        GOOD | {"layers": [DENSE | {"in_features": 10**15}]},
        GOOD | {"layers": [DENSE | {"surprise": 1}]},
        GOOD | {"input_shape": [3]},
        GOOD | {"input_shape": None},
        GOOD | {"dtype": "float64"},
        GOOD | {"dtype": "int32"},
        GOOD | {"dtype": "nonsense"},
    ],
    ids=lambda a: (a if isinstance(a, str) else json.dumps(a))[:100].replace('"', ""),
)
def test_a_file_with_another_description_is_refused_by_name(tmp_path, architecture):
    assert refused(tmp_path / "net", described(architecture, **ARRAYS))
    assert "SHA-256" not in complaint(tmp_path / "net")


@pytest.mark.parametrize("dtype", ["F64", "I32", "BF16", "F8_E5M2"])
def test_a_file_with_arrays_of_another_dtype_is_refused_by_name(tmp_path, dtype):
    size = {"F64": 8, "I32": 4, "BF16": 2, "F8_E5M2": 1}[dtype]
    header = {
        "__metadata__": {"minicnn": json.dumps(GOOD), "sha256": "0" * 64},
        "a.weight": {"dtype": dtype, "shape": [2, 1], "data_offsets": [0, 2 * size]},
        "a.bias": {"dtype": dtype, "shape": [1], "data_offsets": [2 * size, 3 * size]},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    data = sealed(struct.pack("<Q", len(text)) + text + bytes(3 * size))
    assert refused(tmp_path / "net", data)
    assert "SHA-256" not in complaint(tmp_path / "net")


def test_a_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(safetensors.numpy.save(ARRAYS))
    with pytest.raises(ValueError, match="other: not saved by minicnn"):
        load_network(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="absent: cannot be read .No such file"):
        load_network(tmp_path / "absent")


def test_a_directory_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_network(tmp_path)


def test_a_network_can_be_built_from_its_description_as_plain_json():
    described = small(np.float64)
    net = build(json.loads(json.dumps(described.architecture())), described.arrays())
    assert net.architecture() == described.architecture()
    np.testing.assert_array_equal(net.values, described.values)


# --- layers of one's own, and state that is not trained ------------------------------------------


class Unregistered(ReLU):
    pass


@register_layer
class Counting(Layer):
    """y = scale * x, and how many batches it has learned from."""

    def __init__(self, size, *, name="counting", rng=None, dtype=np.float32, values=None, ops="kernels"):
        super().__init__(name, ops)
        drawn = {"scale": ((size,), constant(2))}
        self.declare(drawn, {"seen": ((1,), 0)}, values=values, rng=rng, dtype=dtype)
        self.state["rng"] = np.random.default_rng(0)

    def settings(self):
        return super().settings() | {"size": self.parameters[0].value.size}

    def compute(self, ops, x, training):
        if training:
            self.state["seen"] += 1
            self.state["rng"].random()
        return x * self.parameters[0].value, x

    def differentiate(self, ops, dy, cache, input_gradient):
        self.parameters[0].set_gradient((dy * cache).sum(axis=0))
        return dy * self.parameters[0].value


def with_state():
    """A network with every kind of state, after a training forward."""
    layers = [BatchNorm2D(1, name="adam"), Flatten(), Counting(30), Dropout(0.5), Dense(30, 3, name="sgd.m")]
    net = Sequential(layers, (6, 5, 1), "with state")
    net.forward(batch(), training=True)
    return net


COPIES = {
    "save": lambda net, path: (net.save(path), load_network(path))[1],
    "deepcopy": lambda net, path: copy.deepcopy(net),
    "copy": lambda net, path: copy.copy(net),
    "pickle": lambda net, path: pickle.loads(pickle.dumps(net)),
    "astype": lambda net, path: net.astype(np.float32),
}
every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)


@every_copy
def test_a_copy_has_the_arrays_of_the_network_and_memory_of_its_own(duplicate, tmp_path):
    net = with_state()
    twin = duplicate(net, tmp_path / "net")
    assert list(twin.arrays()) == list(net.arrays())
    assert twin.state()["counting.seen"].tolist() == [1]
    for name, array in twin.arrays().items():
        np.testing.assert_array_equal(array, net.arrays()[name], err_msg=name)
        assert not np.shares_memory(array, net.arrays()[name])
    np.testing.assert_array_equal(twin.forward(batch()), net.forward(batch()))


@pytest.mark.parametrize("duplicate", [COPIES["deepcopy"], COPIES["pickle"]], ids=["deepcopy", "pickle"])
def test_a_copy_draws_the_same_random_numbers_from_generators_of_its_own(duplicate):
    net = with_state()
    twin = duplicate(net, None)
    np.testing.assert_array_equal(twin.forward(batch(), True), net.forward(batch(), True))
    assert twin.state()["dropout.rng"] is not net.state()["dropout.rng"]


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_a_copy_computes_with_the_same_ops(ops):
    net = with_state()
    net.use_ops(ops)
    assert {layer.ops for layer in copy.deepcopy(net).layers} == {ops}


def test_a_network_with_a_layer_that_is_not_registered_is_not_saved(tmp_path):
    net = Sequential([Unregistered()], (3,))
    with pytest.raises(ValueError, match="relu: Unregistered is not registered.*register_layer"):
        net.save(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_is_not_registered_can_be_copied():
    assert type(copy.deepcopy(Sequential([Unregistered()], (3,))).layers[0]) is Unregistered


def test_another_class_of_a_registered_name_is_refused():
    other = type("Dense", (ReLU,), {})
    with pytest.raises(ValueError, match="Dense: a layer class of this name is registered by minicnn"):
        register_layer(other)


def test_a_file_with_an_unknown_layer_says_what_to_import(tmp_path):
    path = tmp_path / "net"
    path.write_bytes(described(GOOD | {"layers": [DENSE | {"type": "Gated"}]}, **ARRAYS))
    assert "unknown layer type 'Gated'; import the module that registers it first" in complaint(path)
