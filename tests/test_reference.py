"""The first link of the chain of trust: the reference computes what nested loops compute."""

import math
from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.engine import reference

seeds = st.integers(0, 2**32 - 1)
strides = st.integers(1, 3)
paddings = st.sampled_from(["same", "valid"])
reductions = pytest.mark.parametrize("reduction", ["sum", "mean"])


def close(actual, expected, rtol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-12)


@st.composite
def conv_cases(draw):
    """(x, w, b, stride, padding), a kernel of any shape that fits."""
    N, C, F, kh, kw = (draw(st.integers(1, most)) for most in (2, 3, 3, 5, 5))
    padding = draw(paddings)
    H = draw(st.integers(kh if padding == "valid" else 1, 7))
    W = draw(st.integers(kw if padding == "valid" else 1, 7))
    rng = np.random.default_rng(draw(seeds))
    x, w, b = (rng.standard_normal(shape) for shape in [(N, H, W, C), (kh, kw, C, F), (F,)])
    return x, w, b, draw(strides), padding


@st.composite
def pool_cases(draw):
    """(x, size, stride, padding), x of few different values, so that windows have ties."""
    size = draw(st.integers(1, 4))
    padding = draw(paddings)
    H, W = (draw(st.integers(size if padding == "valid" else 1, 7)) for _ in "HW")
    rng = np.random.default_rng(draw(seeds))
    values = rng.integers(-3, draw(st.sampled_from([-2, 0, 4])), (2, H, W, 3)).astype(float)
    return values, size, draw(strides), padding


# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (28, 5, 1, "same", (28, 2, 2)),
        (28, 2, 2, "same", (14, 0, 0)),
        (7, 2, 2, "same", (4, 0, 1)),  # the odd pixel goes to the end
        (7, 1, 3, "same", (3, 0, 0)),
        (28, 5, 1, "valid", (24, 0, 0)),
        (8, 3, 2, "valid", (3, 0, 0)),  # the last column is left out
        (5, 5, 3, "valid", (1, 0, 0)),
    ],
)
def test_window_geometry(size, kernel, stride, padding, expected):
    assert reference.window_geometry(size, kernel, stride, padding) == expected


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 4))
def test_same_padding_gives_one_output_per_stride(size, kernel, stride):
    positions, before, after = reference.window_geometry(size, kernel, stride, "same")
    assert positions == math.ceil(size / stride)
    assert after - before in (0, 1)


def test_a_kernel_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="kernel: expected at most the image's 4 pixels, got 5"):
        reference.window_geometry(4, 5, 1, "valid")


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match='padding: expected "same" or "valid", got \'full\''):
        reference.window_geometry(4, 3, 1, "full")


def test_pad_images_puts_the_value_around_the_image():
    padded = reference.pad_images(np.ones((1, 2, 2, 1)), 3, 2, 1, "same", value=7)
    assert padded[0, :, :, 0].tolist() == [[7, 7, 7], [1, 1, 7], [1, 1, 7], [7, 7, 7]]


def test_im2col_lays_patches_out_by_row_column_channel():
    x = np.arange(18.0).reshape(1, 3, 3, 2)
    cols = reference.im2col(x, 2, 2, 1, "valid")
    assert cols.shape == (1, 2, 2, 8)
    assert cols[0, 0, 1].tolist() == [2, 3, 4, 5, 8, 9, 10, 11]


@given(conv_cases())
def test_im2col_takes_the_pixels_under_each_window(case):
    x, w, _, stride, padding = case
    kh, kw, C, _ = w.shape
    cols = reference.im2col(x, kh, kw, stride, padding)
    rows = naive.first_pixels(x.shape[1], kh, stride, padding)
    columns = naive.first_pixels(x.shape[2], kw, stride, padding)
    assert cols.shape == (len(x), len(rows), len(columns), kh * kw * C)
    patches = cols.reshape(*cols.shape[:3], kh, kw, C)
    for n, i, j, u, v, c in np.ndindex(patches.shape):
        expected = naive.pixel(x[n], rows[i] + u, columns[j] + v, c, 0)
        assert patches[n, i, j, u, v, c] == expected


@given(conv_cases(), seeds)
def test_col2im_is_the_transpose_of_im2col(case, seed):
    x, w, _, stride, padding = case
    window = (w.shape[0], w.shape[1], stride, padding)
    cols = reference.im2col(x, *window)
    c = np.random.default_rng(seed).standard_normal(cols.shape)
    close(np.sum(cols * c), np.sum(x * reference.col2im(c, x.shape, *window)), rtol=1e-10)


# --- operations ----------------------------------------------------------------------------------


@given(conv_cases())
def test_conv2d_equals_the_loops(case):
    y, _ = reference.conv2d_forward(*case)
    close(y, naive.conv2d(*case))


def test_conv2d_does_not_flip_the_kernel():
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1, 0] = 1
    w = np.arange(9.0).reshape(3, 3, 1, 1)
    y, _ = reference.conv2d_forward(x, w, np.zeros(1))
    assert y[0, :, :, 0].tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]


@given(pool_cases())
def test_max_pool_equals_the_loops(case):
    y, _ = reference.max_pool2d_forward(*case)
    np.testing.assert_array_equal(y, naive.max_pool2d(*case)[0])


@given(pool_cases(), seeds)
def test_max_pool_sends_the_gradient_to_the_first_winner(case, seed):
    x, *window = case
    y, cache = reference.max_pool2d_forward(x, *window)
    dy = np.random.default_rng(seed).standard_normal(y.shape)
    _, winners = naive.max_pool2d(x, *window)
    close(reference.max_pool2d_backward(dy, cache), naive.max_pool2d_backward(dy, winners, x.shape))


def test_a_blank_window_is_won_by_its_first_pixel():
    _, cache = reference.max_pool2d_forward(np.zeros((1, 2, 2, 1)))
    dx = reference.max_pool2d_backward(np.ones((1, 1, 1, 1)), cache)
    assert dx.ravel().tolist() == [1, 0, 0, 0]


def test_padding_never_wins_against_negative_values():
    y, _ = reference.max_pool2d_forward(np.full((1, 3, 3, 1), -5.0))
    assert (y == -5).all()


@given(pool_cases())
def test_average_pool_equals_the_loops(case):
    close(reference.average_pool2d_forward(*case)[0], naive.average_pool2d(*case))


@given(st.integers(1, 3), st.integers(1, 5), seeds)
def test_global_average_pool_equals_the_loops(N, H, seed):
    x = np.random.default_rng(seed).standard_normal((N, H, 4, 2))
    close(reference.global_average_pool2d_forward(x)[0], naive.global_average_pool2d(x))


@given(st.integers(1, 3), st.booleans(), st.sampled_from([1e-5, 0.5]), seeds)
def test_batch_norm_equals_the_loops(N, training, epsilon, seed):
    rng = np.random.default_rng(seed)
    x, (scale, shift) = rng.normal(3, 2, (N, 3, 4, 2)), rng.standard_normal((2, 2))
    statistics = (None, None) if training else (rng.standard_normal(2), rng.uniform(0.5, 2, 2))
    y, _ = reference.batch_norm2d_forward(x, scale, shift, *statistics, epsilon)
    close(y, naive.batch_norm2d(x, scale, shift, epsilon, *statistics))


def test_relu_is_the_larger_of_x_and_0():
    y, cache = reference.relu_forward(np.array([-2.0, -0.0, 0.0, 3.0]))
    assert y.tolist() == [0, 0, 0, 3]
    assert reference.relu_backward(np.full(4, 7.0), cache).tolist() == [0, 0, 0, 7]


def test_dropout_scales_what_the_mask_keeps():
    mask = np.array([True, False, True])
    y, cache = reference.dropout_forward(np.array([1.0, 2.0, 3.0]), mask, 0.25)
    assert y.tolist() == [4, 0, 12]
    assert reference.dropout_backward(np.array([1.0, 1.0, -1.0]), cache).tolist() == [4, 0, -4]


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), seeds)
def test_dense_equals_the_loops(N, D, F, seed):
    rng = np.random.default_rng(seed)
    x, w, b = rng.standard_normal((N, D)), rng.standard_normal((D, F)), rng.standard_normal(F)
    y, _ = reference.dense_forward(x, w, b)
    close(y, naive.dense(x, w, b))


@given(conv_cases())
def test_conv_relu_pool_equals_the_loops(case):
    y, _ = reference.conv_relu_pool_forward(*case)
    positive = np.maximum(naive.conv2d(*case), 0)
    close(y, naive.max_pool2d(positive, 2, 2, "same")[0])


# --- loss ----------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 6), seeds, st.sampled_from([0.0, 0.1, 0.9]))
def test_softmax_cross_entropy_equals_the_loops(N, K, seed, smoothing):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (N, K)), rng.integers(0, K, N)
    losses = naive.softmax_cross_entropy(logits, labels, smoothing)
    close(reference.softmax_cross_entropy_forward(logits, labels, "sum", smoothing)[0], sum(losses))
    close(reference.softmax_cross_entropy_forward(logits, labels, "mean", smoothing)[0], sum(losses) / N)


def test_equal_scores_cost_the_logarithm_of_the_number_of_classes():
    loss, _ = reference.softmax_cross_entropy_forward(np.zeros((3, 10)), np.array([0, 4, 9]))
    assert loss == pytest.approx(math.log(10))


@reductions
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_scores_give_a_finite_loss_and_gradient(reduction, dtype):
    logits = np.array([[1e4, -1e4, 0], [-1e4, -1e4, 1e4]], dtype)
    loss, cache = reference.softmax_cross_entropy_forward(logits, np.array([1, 2]), reduction)
    assert loss == pytest.approx(20_000 if reduction == "sum" else 10_000)
    assert np.isfinite(reference.softmax_cross_entropy_backward(1.0, cache)).all()


@given(seeds, st.floats(-1e3, 1e3))
def test_a_shift_of_all_scores_changes_nothing(seed, shift):
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((4, 5)), rng.integers(0, 5, 4)
    close(reference.softmax(logits + shift), reference.softmax(logits), rtol=1e-9)
    loss, _ = reference.softmax_cross_entropy_forward(logits, labels)
    shifted, _ = reference.softmax_cross_entropy_forward(logits + shift, labels)
    close(shifted, loss, rtol=1e-9)


def test_probabilities_sum_to_1_and_keep_the_ratios():
    p = reference.softmax(np.log(np.array([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]])))
    close(p, np.array([[1, 2, 5], [3, 3, 2]]) / 8)


@reductions
def test_the_gradient_of_the_loss_is_probability_minus_label(reduction):
    logits = np.log(np.array([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]))
    _, cache = reference.softmax_cross_entropy_forward(logits, np.array([2, 0]), reduction)
    expected = np.array([[1, 2, -3], [-5, 3, 2]]) / 8
    dlogits = reference.softmax_cross_entropy_backward(3.0, cache)
    close(dlogits, expected * (3.0 if reduction == "sum" else 1.5))


# --- optimizers ----------------------------------------------------------------------------------


def adam_by_hand(theta, gradients, alpha, beta1, beta2, epsilon, weight_decay=0.0):
    """Algorithm 1 of Kingma & Ba for one number, line by line; the decay as Loshchilov & Hutter add it."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - alpha * m_hat / (math.sqrt(v_hat) + epsilon) - alpha * weight_decay * theta
    return theta


@pytest.mark.parametrize(
    "settings",
    [(1e-4, 0.9, 0.999, 1e-8), (0.1, 0.5, 0.7, 1e-2), (0.1, 0.0, 0.0, 0.5), (0.1, 0.5, 0.7, 1e-2, 0.4)],
)
def test_adam_is_algorithm_1(settings):
    rng = np.random.default_rng(0)
    value, gradients = rng.standard_normal(5), rng.standard_normal((6, 5))
    expected = [adam_by_hand(value[i], gradients[:, i], *settings) for i in range(5)]
    m, v = np.zeros(5), np.zeros(5)
    for t, gradient in enumerate(gradients, start=1):
        reference.adam_update(value, gradient, m, v, t, *settings)
    close(value, expected)


def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient():
    value, zero = np.zeros(3), np.zeros(3)
    reference.adam_update(value, np.array([1e-3, -1.0, 1e3]), zero.copy(), zero.copy(), 1, 0.01)
    close(value, [-0.01, 0.01, -0.01], rtol=2e-5)


def test_adam_adds_epsilon_after_the_root_of_the_corrected_v():
    value, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    reference.adam_update(value, np.array([2.0]), m, v, 1, learning_rate=1.0, epsilon=3.0)
    close(value, [-2 / (2 + 3)])


def test_adam_along_a_product_is_adam_along_the_gradient_of_a_dense_weight():
    rng = np.random.default_rng(0)
    value, x, dy = rng.standard_normal((4, 5)), rng.standard_normal((3, 4)), rng.standard_normal((3, 5))
    (m, v), expected = (np.ones((2, 4, 5))), [value.copy(), np.ones((4, 5)), np.ones((4, 5))]
    _, dw, _ = reference.dense_backward(dy, (x, value))
    reference.adam_update(expected[0], dw, *expected[1:], 2, 0.1, 0.5, 0.7, 1e-2, 0.4)
    reference.adam_product_update(value, x, dy, m, v, 2, 0.1, 0.5, 0.7, 1e-2, 0.4)
    close([value, m, v], expected)


def test_sgd_follows_the_gradient():
    value, velocity = np.array([1.0, 2.0]), np.zeros(2)
    reference.sgd_update(value, np.array([10.0, -10.0]), velocity, learning_rate=0.1)
    close(value, [0, 3])


def test_sgd_with_momentum_keeps_a_part_of_its_velocity():
    value, velocity, path = np.zeros(1), np.zeros(1), [0.0]
    for gradient in [1.0, 1.0, 0.0]:
        reference.sgd_update(value, np.array([gradient]), velocity, learning_rate=0.1, momentum=0.5)
        path.append(value[0])
    close([after - before for before, after in pairwise(path)], [-0.1, -0.15, -0.075])


@pytest.mark.parametrize("decay", [0.0, 0.75, 0.999])
def test_an_average_keeps_its_decay_and_takes_the_rest_from_the_value(decay):
    average, value = np.array([1.0, 2.0, -3.0]), np.array([5.0, 2.0, 1.0])
    expected = [decay * a + (1 - decay) * v for a, v in zip(average, value, strict=True)]
    reference.average_update(average, value, decay)
    close(average, expected)
    assert value.tolist() == [5, 2, 1]
