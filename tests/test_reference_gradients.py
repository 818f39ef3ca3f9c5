"""The second link: every backward of the reference is the numerical gradient of its forward.

In float64, with a random upstream gradient, away from kinks and ties.
"""

import naive
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minicnn.engine import reference

seeds = st.integers(0, 2**32 - 1)
strides = st.integers(1, 3)
paddings = st.sampled_from(["same", "valid"])


def check(op, arrays, *settings, **more):
    """Compare what op's backward returns with central differences in each of the arrays."""
    forward = getattr(reference, f"{op}_forward")
    y, cache = forward(*arrays, *settings, **more)
    dy = np.random.default_rng(1).standard_normal(np.shape(y))
    gradients = getattr(reference, f"{op}_backward")(dy, cache)
    if isinstance(gradients, np.ndarray):
        gradients = (gradients,)
    assert len(gradients) == len(arrays)
    for k, gradient in enumerate(gradients):
        with_k = lambda a, k=k: forward(*arrays[:k], a, *arrays[k + 1 :], *settings, **more)[0]  # noqa: E731
        expected = naive.numerical_gradient(with_k, arrays[k], dy)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


@st.composite
def conv_arrays(draw, padding, most=5):
    """x, w, b for a kernel of any shape that fits."""
    N, C, F, kh, kw = (draw(st.integers(1, size)) for size in (2, 2, 3, 3, 3))
    H = draw(st.integers(kh if padding == "valid" else 1, most))
    W = draw(st.integers(kw if padding == "valid" else 1, most))
    rng = np.random.default_rng(draw(seeds))
    return [rng.standard_normal(shape) for shape in [(N, H, W, C), (kh, kw, C, F), (F,)]]


def test_the_numerical_gradient_of_a_known_function():
    x, dy = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[1.0, 10.0], [-2.0, 0.0]])
    gradient = naive.numerical_gradient(lambda a: a**3, x, dy)
    np.testing.assert_allclose(gradient, 3 * x**2 * dy, rtol=1e-8)


@given(seeds, st.integers(1, 50))
def test_separated_values_are_separated(seed, size):
    values = np.append(naive.separated(np.random.default_rng(seed), size), 0)
    assert np.diff(np.sort(values)).min() > 0.39 / size


@given(st.data(), strides, paddings)
def test_conv2d(data, stride, padding):
    check("conv2d", data.draw(conv_arrays(padding)), stride, padding)


@given(seeds, st.integers(1, 3), strides, paddings, st.integers(3, 6), st.integers(3, 6))
def test_max_pool2d(seed, size, stride, padding, H, W):
    x = naive.separated(np.random.default_rng(seed), 2, H, W, 2)
    check("max_pool2d", [x], size, stride, padding)


@given(seeds, st.integers(1, 3), strides, paddings, st.integers(3, 6), st.integers(3, 6))
def test_average_pool2d(seed, size, stride, padding, H, W):
    check(
        "average_pool2d", [np.random.default_rng(seed).standard_normal((2, H, W, 2))], size, stride, padding
    )


@given(seeds, st.integers(1, 4), st.integers(1, 4))
def test_global_average_pool2d(seed, H, W):
    check("global_average_pool2d", [np.random.default_rng(seed).standard_normal((2, H, W, 3))])


@given(seeds, st.integers(1, 3), st.integers(2, 4), st.booleans(), st.sampled_from([1e-5, 0.5]))
def test_batch_norm2d(seed, N, H, training, epsilon):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(3, 2, (N, H, 3, 2)), *rng.standard_normal((2, 2))]
    statistics = (None, None) if training else (rng.standard_normal(2), rng.uniform(0.5, 2, 2))
    check("batch_norm2d", arrays, *statistics, epsilon)


@given(seeds, st.sampled_from([(7,), (3, 4), (2, 3, 3, 2)]))
def test_relu(seed, shape):
    check("relu", [naive.separated(np.random.default_rng(seed), *shape)])


@given(seeds, st.sampled_from([(7,), (3, 4), (2, 3, 3, 2)]), st.sampled_from([0.1, 0.5, 1.0]))
def test_dropout(seed, shape, keep_prob):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < keep_prob
    check("dropout", [rng.standard_normal(shape)], mask=mask, keep_prob=keep_prob)


@given(seeds, st.integers(1, 3), st.integers(1, 6), st.integers(1, 4))
def test_dense(seed, N, D, F):
    rng = np.random.default_rng(seed)
    check("dense", [rng.standard_normal(shape) for shape in [(N, D), (D, F), (F,)]])


@given(st.data(), strides, paddings)
def test_conv_relu_pool(data, stride, padding):
    arrays = data.draw(conv_arrays(padding, most=4))
    assume(away_from_kinks(reference.conv2d_forward(*arrays, stride, padding)[0]))
    check("conv_relu_pool", arrays, stride, padding)


def away_from_kinks(y):
    """No entry is near 0, no two entries of one image and channel are near each other."""
    maps = np.moveaxis(y, 3, 1).reshape(len(y) * y.shape[3], -1)
    ordered = np.sort(np.c_[maps, np.zeros(len(maps))], axis=1)
    return np.diff(ordered).min() > 1e-4


@given(
    seeds, st.integers(1, 4), st.integers(1, 5), st.sampled_from(["sum", "mean"]), st.sampled_from([0.0, 0.3])
)
def test_softmax_cross_entropy(seed, N, K, reduction, label_smoothing):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, N)
    check("softmax_cross_entropy", [rng.normal(0, 2, (N, K))], labels, reduction, label_smoothing)


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        ("conv2d", [(2, 4, 4, 2), (3, 3, 2, 3), (3,)]),
        ("conv_relu_pool", [(2, 4, 4, 2), (3, 3, 2, 3), (3,)]),
        ("dense", [(2, 4), (4, 3), (3,)]),
    ],
)
def test_the_input_gradient_can_be_left_out(op, shapes):
    rng = np.random.default_rng(0)
    y, cache = getattr(reference, f"{op}_forward")(*(rng.standard_normal(shape) for shape in shapes))
    backward, dy = getattr(reference, f"{op}_backward"), rng.standard_normal(y.shape)
    dx, *others = backward(dy, cache, input_gradient=False)
    assert dx is None
    for other, expected in zip(others, backward(dy, cache)[1:], strict=True):
        np.testing.assert_array_equal(other, expected)


def test_every_backward_of_the_reference_is_checked_here():
    ops = {name.removesuffix("_backward") for name in vars(reference) if name.endswith("_backward")}
    assert {f"test_{op}" for op in ops} <= set(globals())
