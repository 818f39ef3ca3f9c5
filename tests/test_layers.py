"""Layers: what they refuse and how they say it, then each its own.

What every layer promises is in contract.py (run by test_check_layer.py), its gradient in
test_layer_gradients.py, the fused block against its parts in test_fused.py.
"""

import inspect

import naive
import numpy as np
import pytest

from minicnn.checks.examples import EXAMPLES, upstream
from minicnn.engine import layers
from minicnn.engine.initializers import constant
from minicnn.engine.layers import (
    AveragePool2D,
    BatchNorm2D,
    Conv2D,
    ConvReLUPool,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    MaxPool2D,
    ReLU,
)
from minicnn.engine.parameters import Parameter

SMALL = {getattr(layers, name): example for name, example in EXAMPLES.items()}
WEIGHTED = [Conv2D, ConvReLUPool, Dense]
every_layer = pytest.mark.parametrize("kind", SMALL)
weighted_layers = pytest.mark.parametrize("kind", WEIGHTED)
both_ops = pytest.mark.parametrize("ops", ["kernels", "reference"])


def make(kind, ops="kernels", dtype=np.float32):
    """The small layer of this kind, and a function that draws batches for it."""
    settings, shape = SMALL[kind]
    arguments = inspect.signature(kind).parameters
    chosen = {name: value for name, value in (("dtype", dtype), ("rng", 0)) if name in arguments}
    layer = kind(**settings, ops=ops, **chosen)
    rng = np.random.default_rng(0)

    def batch(N=3):
        return naive.separated(rng, N, *shape).astype(dtype)

    return layer, batch


def gradients(layer):
    return [parameter.grad.copy() for parameter in layer.parameters]


# --- what all layers do --------------------------------------------------------------------------


@every_layer
def test_kernels_and_reference_give_the_same(kind):
    results = []
    for ops in "kernels", "reference":
        layer, batch = make(kind, ops, np.float64)
        y = layer.forward(batch(), training=True)
        results.append([y.copy(), layer.backward(upstream(y)), *gradients(layer)])
    for kernel, reference in zip(*results, strict=True):
        np.testing.assert_allclose(kernel, reference, rtol=1e-12, atol=1e-12)


@every_layer
def test_the_ops_can_be_changed(kind):
    layer, batch = make(kind, "kernels")
    x = batch()
    expected = layer.forward(x).copy()
    layer.use_ops("reference")
    assert layer.ops == "reference"
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-5, atol=1e-6)


@every_layer
def test_two_layers_do_not_share_their_buffers(kind):
    (first, batch), (second, _) = make(kind), make(kind)
    y = first.forward(batch())
    before = y.copy()
    second.forward(batch())
    np.testing.assert_array_equal(y, before)


@both_ops
@weighted_layers
def test_gradients_arrive_without_the_gradient_of_the_input(kind, ops):
    layer, batch = make(kind, ops)
    x = batch()
    y = layer.forward(x, training=True)
    layer.backward(upstream(y))
    expected = gradients(layer)
    layer.forward(x, training=True)
    assert layer.backward(upstream(y), input_gradient=False) is None
    np.testing.assert_equal(gradients(layer), expected)


# --- what all layers refuse ----------------------------------------------------------------------


@every_layer
def test_backward_without_forward_is_refused(kind):
    layer, batch = make(kind)
    shape = layer.output_shape(batch().shape[1:])
    with pytest.raises(RuntimeError, match=f"{layer.name}.backward: no matching forward"):
        layer.backward(np.ones((3, *shape), np.float32))


@pytest.mark.parametrize("evaluations", [1, 2])
@both_ops
@every_layer
def test_an_evaluation_between_forward_and_backward_changes_nothing(kind, ops, evaluations):
    results = []
    for between in 0, evaluations:
        layer, batch = make(kind, ops)
        y = layer.forward(batch(), training=True)
        for _ in range(between):
            layer.forward(batch(5))
        results.append([layer.backward(upstream(y)), *gradients(layer)])
    np.testing.assert_equal(*results)


@every_layer
def test_training_goes_on_after_an_evaluation(kind):
    layer, batch = make(kind)
    x = batch()
    layer.forward(x, training=True)
    layer.forward(x)
    y = layer.forward(x, training=True)
    assert layer.backward(upstream(y)).shape == x.shape


@every_layer
def test_backward_computes_with_the_ops_of_its_forward(kind):
    results = []
    for change in False, True:
        layer, batch = make(kind)
        y = layer.forward(batch(), training=True)
        if change:
            layer.use_ops("reference")
        results.append([layer.backward(upstream(y)), *gradients(layer)])
    np.testing.assert_equal(*results)


@both_ops
@every_layer
def test_a_forward_leaves_the_output_of_the_one_before_alone(kind, ops):
    layer, batch = make(kind, ops)
    outputs = [layer.forward(x, training=True) for x in (batch(), batch(), batch())]
    copies = [y.copy() for y in outputs]
    layer.forward(batch(), training=True)
    np.testing.assert_equal(outputs, copies)


@every_layer
def test_a_dy_of_another_shape_or_dtype_is_refused_and_the_right_one_taken(kind):
    layer, batch = make(kind)
    y = layer.forward(batch(), training=True)
    dy = upstream(y)
    for wrong in dy[1:], dy[..., :-1], dy.astype(np.float64):
        with pytest.raises(ValueError, match=r"dy: expected float32 \[3, .*\], got float") as refusal:
            layer.backward(wrong)
        assert str(refusal.value).endswith(f"got {wrong.dtype} {list(wrong.shape)}")
    layer.backward(dy)


@every_layer
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.complex64])
def test_an_input_of_another_dtype_is_refused(kind, dtype):
    layer, batch = make(kind)
    with pytest.raises(TypeError, match=f"{layer.name}: x: expected float32.*, got {np.dtype(dtype)}"):
        layer.forward(batch().astype(dtype))


@weighted_layers
def test_an_input_of_another_precision_than_the_weights_is_refused(kind):
    layer, batch = make(kind)
    with pytest.raises(TypeError, match=f"{layer.name}: x: expected float32, got float64"):
        layer.forward(batch().astype(np.float64))


@every_layer
def test_an_input_that_is_not_an_array_is_refused(kind):
    layer, batch = make(kind)
    with pytest.raises(TypeError, match=f"{layer.name}: x: expected a NumPy array, got list"):
        layer.forward(batch().tolist())


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (Conv2D, (3, 5, 4), r"conv: x: expected shape \[N, H, W, 2\], got \[N, 5, 4\]"),
        (Conv2D, (3, 5, 4, 1), r"conv: x: expected shape \[N, H, W, 2\], got \[N, 5, 4, 1\]"),
        (ConvReLUPool, (3, 5, 4, 1), r"conv: x: expected shape \[N, H, W, 2\], got \[N, 5, 4, 1\]"),
        (Dense, (3, 5), r"dense: x: expected shape \[N, 6\], got \[N, 5\]"),
        (Dense, (3, 2, 3), r"dense: x: expected shape \[N, 6\], got \[N, 2, 3\]"),
        (MaxPool2D, (3, 5), r"pool: x: expected shape \[N, H, W, C\], got \[N, 5\]"),
        (ReLU, (3,), r"relu: x: expected a batch \[N, ...\] of at least 1, got \[3\]"),
    ],
)
def test_an_input_of_another_shape_is_refused(kind, shape, message):
    layer, _ = make(kind)
    with pytest.raises(ValueError, match=message):
        layer.forward(np.ones(shape, np.float32))


@every_layer
def test_unknown_ops_are_refused(kind):
    with pytest.raises(ValueError, match="ops: expected one of kernels, reference, got 'cuda'"):
        make(kind, "cuda")


# --- each its own --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "weight", "bias"),
    [
        (Conv2D(2, 3, (5, 4), name="c"), (5, 4, 2, 3), (3,)),
        (ConvReLUPool(2, 3, 5, name="c"), (5, 5, 2, 3), (3,)),
        (Dense(6, 4, name="c"), (6, 4), (4,)),
    ],
)
def test_parameters_are_called_after_their_layer(layer, weight, bias):
    assert [(p.name, p.value.shape) for p in layer.parameters] == [("c.weight", weight), ("c.bias", bias)]


@weighted_layers
def test_weights_start_within_two_standard_deviations_and_biases_at_a_tenth(kind):
    layer, _ = make(kind, dtype=np.float64)
    assert 0.05 < np.abs(layer.weight.value).max() <= 0.2
    assert (layer.bias.value == 0.1).all()


@weighted_layers
def test_initializers_can_be_chosen(kind):
    layer = kind(**SMALL[kind][0], weight_init=constant(3), bias_init=constant(4))
    assert (layer.weight.value == 3).all()
    assert (layer.bias.value == 4).all()


@weighted_layers
def test_the_seed_decides_the_weights(kind):
    first, again, other = (kind(**SMALL[kind][0], rng=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.weight.value, again.weight.value)
    assert not np.array_equal(first.weight.value, other.weight.value)


@weighted_layers
def test_two_layers_without_a_seed_start_differently(kind):
    first, second = kind(**SMALL[kind][0]), kind(**SMALL[kind][0])
    assert not np.array_equal(first.weight.value, second.weight.value)


@weighted_layers
def test_float32_weights_are_the_float64_weights_rounded(kind):
    (single, _), (double, _) = make(kind), make(kind, dtype=np.float64)
    np.testing.assert_array_equal(single.weight.value, double.weight.value.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Conv2D, {"in_channels": 2, "filters": 3, "kernel_size": [3, 2], "stride": 2, "padding": "valid"}),
        (
            ConvReLUPool,
            {"in_channels": 2, "filters": 3, "kernel_size": [3, 2], "stride": 2, "padding": "valid"},
        ),
        (Dense, {"in_features": 6, "out_features": 4}),
        (Dropout, {"keep_prob": 0.25}),
        (MaxPool2D, {"size": 3, "stride": 1, "padding": "valid"}),
        (AveragePool2D, {"size": 3, "stride": 1, "padding": "valid"}),
        (BatchNorm2D, {"channels": 2, "momentum": 0.5, "epsilon": 0.25}),
        (ReLU, {}),
        (Flatten, {}),
        (GlobalAveragePool2D, {}),
    ],
)
def test_settings_are_the_arguments_that_make_the_layer_again(kind, settings):
    named = settings | {"name": "one"}
    assert kind(**named).settings() == named


def test_a_parameter_shows_what_it_is():
    assert repr(Parameter("fc.bias", np.zeros(3, np.float32))) == "Parameter('fc.bias', [3], float32)"


@pytest.mark.parametrize("kind", [Conv2D, ConvReLUPool])
@pytest.mark.parametrize(
    "wrong", [{"in_channels": 0}, {"filters": 0}, {"kernel_size": (3, 0)}, {"stride": 0}]
)
def test_convolution_refuses_sizes_below_1(kind, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        kind(**(SMALL[kind][0] | wrong))


@pytest.mark.parametrize("wrong", [{"in_features": 0}, {"out_features": -1}])
def test_dense_refuses_sizes_below_1(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected at least 1"):
        Dense(**(SMALL[Dense][0] | wrong))


@pytest.mark.parametrize("kind", [Conv2D, ConvReLUPool])
def test_a_convolution_has_5x5_filters_unless_told_otherwise(kind):
    assert kind(1, 2).weight.value.shape == (5, 5, 1, 2)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_filters_and_windows_of_one_pixel_work(padding):
    x = np.array([[[[1.0], [-2.0]], [[3.0], [4.0]]]], np.float32)
    one = Conv2D(1, 1, 1, padding=padding, weight_init=constant(2), bias_init=constant(0))
    assert one.forward(x).ravel().tolist() == [2, -4, 6, 8]
    assert MaxPool2D(1, 1, padding).forward(x).ravel().tolist() == [1, -2, 3, 4]


def test_a_pool_is_2x2_unless_told_otherwise():
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    assert MaxPool2D().forward(x).ravel().tolist() == [5, 7, 13, 15]


@pytest.mark.parametrize("layer", [lambda p: Conv2D(1, 1, padding=p), lambda p: MaxPool2D(padding=p)])
def test_an_unknown_padding_is_refused(layer):
    with pytest.raises(ValueError, match="padding: expected"):
        layer("full")


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 16}, {"stride": 0}])
def test_max_pool_refuses_impossible_windows(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        MaxPool2D(**wrong)


def test_the_largest_pool_window_works():
    x = np.zeros((1, 15, 15, 1), np.float32)
    x[0, 14, 14, 0] = 1  # the window's last position, number 224
    layer = MaxPool2D(15, 15)
    assert layer.forward(x).ravel() == [1]
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 1, 1), np.float32)), x)


def test_a_kernel_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="kernel: expected at most the image's 4 pixels, got 5"):
        Conv2D(1, 1, 5, padding="valid").forward(np.ones((1, 4, 4, 1), np.float32))


def test_flatten_keeps_the_order_of_the_numbers():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    assert Flatten().forward(x).tolist() == [list(range(12)), list(range(12, 24))]


# --- dropout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_prob", [0.1, 0.5, 0.9])
def test_dropout_keeps_a_share_of_keep_prob_scaled_by_its_inverse(keep_prob):
    y = Dropout(keep_prob).forward(np.ones((100, 1000)), training=True)
    assert set(np.unique(y)) == {0, 1 / keep_prob}
    deviation = np.sqrt(keep_prob * (1 - keep_prob) / y.size)
    assert np.mean(y > 0) == pytest.approx(keep_prob, abs=5 * deviation)


def test_dropout_does_nothing_in_evaluation():
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_array_equal(Dropout(0.5).forward(x), x)


def test_dropout_that_keeps_all_does_nothing():
    layer, x = Dropout(1.0), np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_array_equal(layer.forward(x, training=True), x)
    np.testing.assert_array_equal(layer.backward(x), x)


def test_dropout_draws_a_new_mask_each_time():
    layer, x = Dropout(0.5), np.ones((1, 100), np.float32)
    assert not np.array_equal(layer.forward(x, training=True).copy(), layer.forward(x, training=True))


def test_dropout_uses_the_mask_of_forward_in_backward():
    layer, x = Dropout(0.5), np.ones((4, 100), np.float32)
    y = layer.forward(x, training=True).copy()
    np.testing.assert_array_equal(layer.backward(x), y)


@both_ops
def test_the_seed_of_dropout_decides_its_masks(ops):
    x = np.ones((4, 100), np.float32)
    first, again, other = (Dropout(0.5, rng=seed, ops=ops).forward(x, training=True) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_two_dropouts_without_a_seed_draw_different_masks():
    assert not np.array_equal(Dropout(0.5).draw_mask((4, 100)), Dropout(0.5).draw_mask((4, 100)))


def test_the_mask_does_not_depend_on_ops_or_dtype():
    masks = [
        Dropout(0.5, rng=0, ops=ops).forward(np.ones((4, 100), dtype), training=True) > 0
        for ops in ("kernels", "reference")
        for dtype in (np.float32, np.float64)
    ]
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


def test_a_generator_can_be_shared_with_dropout():
    rng = np.random.default_rng(3)
    layer = Dropout(0.5, rng=rng)
    before = rng.bit_generator.state
    layer.forward(np.ones((1, 8), np.float32), training=True)
    assert layer.rng is rng
    assert rng.bit_generator.state != before


def test_a_fixed_mask_replaces_the_draw():
    layer = Dropout(0.5)
    layer.fixed_mask = np.array([[True, False, True]])
    state = layer.rng.bit_generator.state
    assert layer.forward(np.ones((1, 3)), training=True).tolist() == [[2, 0, 2]]
    assert layer.rng.bit_generator.state == state


@pytest.mark.parametrize("keep_prob", [0, -0.5, 1.5, float("nan")])
def test_an_impossible_keep_prob_is_refused(keep_prob):
    with pytest.raises(ValueError, match="keep_prob: expected a number above 0 and at most 1, got"):
        Dropout(keep_prob)


@pytest.mark.parametrize("mask", [np.ones((1, 2), bool), np.ones((3, 1), bool), np.ones((1, 3))])
def test_a_fixed_mask_of_another_shape_or_dtype_is_refused(mask):
    layer = Dropout(0.5)
    layer.fixed_mask = mask
    with pytest.raises(ValueError, match=r"dropout.fixed_mask: expected bool \[1, 3\], got"):
        layer.forward(np.ones((1, 3)), training=True)


# --- values that are given -----------------------------------------------------------------------


@weighted_layers
def test_given_values_replace_the_draw_and_decide_the_dtype(kind):
    drawn, _ = make(kind, dtype=np.float64)
    layer = kind(**SMALL[kind][0], values=drawn.arrays())
    assert layer.weight.value.dtype == np.float64
    np.testing.assert_equal(layer.arrays(), drawn.arrays())
    assert not np.shares_memory(layer.weight.value, drawn.weight.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"dense: values: expected weight, bias, got none"),
        ({"weight": np.zeros((6, 4))}, r"dense: values: expected weight, bias, got weight"),
        ({"weight": np.zeros((4, 6)), "bias": np.zeros(4)}, r"dense.weight: expected float64 \[6, 4\]"),
        ({"weight": np.zeros((6, 4)), "bias": np.zeros(4, "f4")}, r"dense.bias: expected float64 \[4\]"),
    ],
)
def test_given_values_that_do_not_fit_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Dense(6, 4, values=values)


def test_values_are_checked_before_any_memory_is_asked_for():
    with pytest.raises(ValueError, match="values: expected weight, bias, got none"):
        Dense(10**15, 10**15, values={})


def test_an_initializer_that_returns_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"dense.weight: expected float32 \[6, 4\], got float32 \[4, 6\]"):
        Dense(6, 4, weight_init=lambda rng, shape: np.zeros(shape[::-1]))


@pytest.mark.parametrize("name", ["", "a/b", 5])
def test_a_name_that_no_file_could_hold_is_refused(name):
    with pytest.raises(ValueError, match="name: expected text without a slash"):
        ReLU(name=name)


# --- batch normalization -------------------------------------------------------------------------


@both_ops
def test_batch_norm_gives_each_channel_mean_0_and_variance_1_in_training(ops):
    x = np.random.default_rng(0).normal(5, 3, (8, 6, 5, 2))
    y = BatchNorm2D(2, epsilon=1e-12, dtype=np.float64, ops=ops).forward(x, training=True)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-9)


@both_ops
def test_batch_norm_learns_running_statistics_in_training_and_uses_them_in_evaluation(ops):
    layer = BatchNorm2D(2, momentum=0.75, dtype=np.float64, ops=ops)
    x = np.random.default_rng(0).normal(5, 3, (8, 6, 5, 2))
    layer.forward(x, training=True)
    mean, variance = 0.25 * x.mean((0, 1, 2)), 0.75 + 0.25 * x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(layer.state["running_mean"], mean)
    np.testing.assert_allclose(layer.state["running_variance"], variance)
    np.testing.assert_allclose(layer.forward(x), (x - mean) / np.sqrt(variance + 1e-5))


def test_an_evaluation_leaves_the_running_statistics_alone():
    layer = BatchNorm2D(2)
    layer.forward(np.ones((3, 4, 4, 2), np.float32))
    assert layer.state["running_mean"].tolist() == [0, 0]
    assert layer.state["running_variance"].tolist() == [1, 1]


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"momentum": 1.0}, {"epsilon": 0.0}])
def test_batch_norm_refuses_impossible_settings(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        BatchNorm2D(**{"channels": 2, **wrong})


# --- average-pooling -----------------------------------------------------------------------------


@both_ops
def test_padding_does_not_count_in_an_average(ops):
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    assert AveragePool2D(ops=ops).forward(x).ravel().tolist() == [2, 3.5, 6.5, 8]


@both_ops
def test_the_global_average_is_that_of_each_channel(ops):
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 2))
    np.testing.assert_allclose(GlobalAveragePool2D(ops=ops).forward(x), x.mean(axis=(1, 2)))
