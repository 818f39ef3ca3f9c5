"""Kinks and ties, where there is no derivative: noticed, and neither called an error nor a pass."""

import naive
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from naive import normal

from minicnn import Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential, gradient_check, load_mnist
from minicnn.checks.report import GradientError
from minicnn.engine import reference
from minicnn.engine.initializers import constant
from minicnn.engine.layers import Layer


def relu_report(x, backward=None):
    return gradient_check((reference.relu_forward, backward or reference.relu_backward), np.array(x))


def test_entries_on_a_kink_are_counted_and_not_compared():
    report = relu_report([[-1.0, 0.0, 2.0, 0.0]])
    report.assert_ok()
    assert (report["x"].compared, report["x"].kinks) == (2, 2)


def test_nothing_but_kinks_is_neither_ok_nor_wrong():
    report = relu_report(np.zeros((2, 3)))
    assert (report.ok, report.wrong) == (False, False)
    assert report["x"].verdict == "kinks"
    with pytest.raises(GradientError, match="UNDECIDED: almost all entries of x lie on a kink"):
        report.assert_ok()


def test_a_gradient_that_is_zero_everywhere_is_not_called_tested():
    report = relu_report(-np.ones((2, 3)))
    assert report["x"].verdict == "zero"
    with pytest.raises(GradientError, match="UNDECIDED: the gradient of x is zero everywhere"):
        report.assert_ok()


@pytest.mark.parametrize("distance", [9e-6, 5e-6, 1e-6, 3e-7, -9e-6, -5e-7])
def test_a_kink_within_the_step_is_stepped_around(distance):
    report = relu_report([[distance, 1.0]])
    report.assert_ok()
    assert report["x"].compared == 2
    assert relu_report([[distance, 1.0]], lambda dy, cache: 1.001 * dy).wrong


def test_a_wrong_gradient_beside_kinks_is_wrong():
    assert relu_report([[-1.0, 0.0, 2.0, 0.0]], lambda dy, cache: dy).wrong


# --- what may be claimed on a kink ---------------------------------------------------------------


def relu_claiming(at_zero):
    """The backward of ReLU with a derivative of its own at 0."""
    return lambda dy, cache: dy * np.where(cache[0] == 0, at_zero, cache[0] > 0)


def plain_relu(x):
    return np.maximum(x, 0), (x,)


@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_any_slope_between_the_two_may_be_claimed_on_a_kink(at_zero):
    report = gradient_check((plain_relu, relu_claiming(at_zero)), np.array([[-1.0, 0.0, 2.0, 0.0]]))
    report.assert_ok()
    assert (report["x"].compared, report["x"].kinks) == (2, 2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("at_zero", [5.0, 1.001, -0.001, -1.0, np.nan, np.inf])
def test_anything_else_on_a_kink_is_wrong(at_zero):
    x = np.array([[-1.0, 0.0, 2.0]])
    report = gradient_check((plain_relu, relu_claiming(at_zero)), x, dy=np.ones((1, 3)))
    assert report.wrong
    assert report["x"].where == (0, 1)
    np.testing.assert_equal(report["x"].analytic, at_zero)
    if np.isfinite(at_zero):
        assert report["x"].numerical == pytest.approx(np.clip(at_zero, 0, 1))  # the nearest that is possible


@pytest.mark.parametrize("factor", [5.0, 1.001, -1.0])
def test_a_gradient_that_is_wrong_around_the_kink_too_is_wrong_where_there_are_only_kinks(factor):
    report = relu_report(np.zeros((2, 3)), lambda dy, cache: factor * dy)
    assert report.wrong
    assert report["x"].analytic == pytest.approx(factor * report["x"].numerical) or report["x"].numerical == 0


def test_a_kink_at_the_border_of_the_domain_is_no_error():
    """What is 1e-3 away cannot be looked at: the function is defined up to 1e-4."""

    def forward(x):
        return np.where(np.abs(x) < 1e-4, np.maximum(x, 0), np.nan), (x,)

    report = gradient_check((forward, lambda dy, cache: 5 * dy), np.zeros((2, 3)))
    assert report["x"].verdict == "kinks"


def test_a_maximum_may_share_its_gradient_among_ties_but_not_count_it_twice():
    x = np.array([[3.0, 3.0, 1.0]])

    def forward(x):
        return x.max(axis=1), x

    def backward(share):
        return lambda dy, x: dy[:, None] * np.where(x == x.max(), share, 0)

    assert not gradient_check((forward, backward(0.5)), x).wrong
    assert gradient_check((forward, backward(1.0)), x).wrong  # each alone is possible, both are not
    assert gradient_check((forward, backward(1.5)), x).wrong


class SumOfKinks:
    """y = sum over k of v_k relu(w_k x + b_k), where all b are 0: at x = 0 all ReLUs are on their kink.

    With relu'(0) = 0, as usual, backward returns 0. The slopes of y are 3 to the right and 2 to the left.
    """

    def __init__(self, at_zero=0.0):
        self.w, self.v = np.array([1.0, 2.0, -1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])
        self.b, self.db, self.at_zero = np.zeros(4), None, at_zero

    def forward(self, x):
        self.z = x[:, None] * self.w + self.b
        return np.maximum(self.z, 0) @ self.v

    def backward(self, dy):
        dz = dy[:, None] * self.v * np.where(self.z == 0, self.at_zero, self.z > 0)
        self.db = dz.sum(axis=0)
        return dz @ self.w


def test_where_several_kinks_meet_each_may_have_a_side_of_its_own():
    """0 is not between 2 and 3, and yet it is what a correct network returns."""
    report = gradient_check(SumOfKinks(), np.zeros(1), parameters={"b": "db"}, dy=np.ones(1))
    assert not report.wrong
    assert (report["x"].kinks, report["b"].kinks) == (1, 4)
    assert gradient_check(SumOfKinks(9.0), np.zeros(1), parameters={"b": "db"}, dy=np.ones(1)).wrong


def test_a_blank_image_in_a_network_with_zero_biases_is_no_false_alarm():
    for seed in range(5):
        conv = {"rng": seed, "dtype": np.float64, "bias_init": constant(0), "ops": "reference"}
        layers = [Conv2D(1, 4, 3, **conv), ReLU(ops="reference"), MaxPool2D(ops="reference")]
        layers += [
            Flatten(ops="reference"),
            Dense(36, 5, name="fc", rng=seed, dtype=np.float64, ops="reference"),
        ]
        network = Sequential(layers, (6, 6, 1))
        x = np.zeros((2, 6, 6, 1))
        x[1, 3:] = normal(3, 6, 1, seed=seed)
        report = gradient_check(network, x, entries=80)
        assert not report.wrong, report
        assert report["x"].kinks > 20


# --- what is no kink -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 30, 300])
def test_curvature_is_not_taken_for_a_kink(scale):
    pair = (lambda x: (np.sin(scale * x), x), lambda dy, x: scale * np.cos(scale * x) * dy)
    report = gradient_check(pair, normal(4, 5), tolerance=1e-5)
    report.assert_ok()
    assert report.kinks == 0


def test_ties_in_a_pool_window_are_noticed():
    x = np.array([[3.0, 3.0], [1.0, 0.0]]).reshape(1, 2, 2, 1)
    report = gradient_check((reference.max_pool2d_forward, reference.max_pool2d_backward), x)
    assert (report["x"].compared, report["x"].kinks) == (2, 2)


class Bent:
    """A smooth function of one number, with kinks added: max(u - place, 0) * jump, u the distance from x0."""

    def __init__(self, smooth, kinks, x0=0.0):
        self.smooth, self.kinks, self.x0 = smooth, kinks, x0

    def forward(self, x):
        a, b, c = self.smooth
        y, slope = a * x + b * np.sin(3 * x) + c, a + 3 * b * np.cos(3 * x)
        for place, jump in self.kinks:
            y = y + jump * np.maximum(x - self.x0 - place, 0)
            slope = slope + jump * (x - self.x0 > place)
        return y, slope

    def report(self, factor=1.0):
        pair = (self.forward, lambda dy, slope: factor * slope * dy)
        return gradient_check(pair, np.array([self.x0]))


@pytest.mark.parametrize("jump", [1e-6, 1e-5, 1e-3, 1.0])
@pytest.mark.parametrize(
    "places",
    [[9.09e-7], [3.3e-6], [3e-6, -3e-6]],
    ids=["changes like curvature at a tenth", "changes like curvature at half", "two that cancel"],
)
def test_a_kink_that_looks_like_curvature_is_no_false_alarm(places, jump):
    """Two opposite kinks left and right leave the slopes equal; one at step / 11 fades like curvature."""
    kinks = [(place, jump * np.sign(place)) for place in places]
    function = Bent((1.0, 0.5, 0.0), kinks)
    assert not function.report().wrong
    assert not function.report(1.001).ok


@given(st.integers(0, 2**32 - 1))
@example(479)  # rounding hides the slope at small steps, and a kink lies before the larger ones
def test_kinks_of_any_size_anywhere_near_are_no_false_alarm_and_hide_no_error(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 4)
    places = rng.uniform(-2, 2, count) * 10.0 ** rng.integers(-8, -4)  # the step is 1e-5
    jumps = rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-8, 0.5, count)
    function = Bent(rng.standard_normal(3), list(zip(places, jumps, strict=True)), rng.choice([0.0, 1.0]))
    assert not function.report().wrong
    assert not function.report(1.001).ok


def test_rounding_is_not_taken_for_an_error():
    """A loss of 0.001 made of two numbers near 1000 has lost six digits, and its size does not tell."""

    def forward(x):
        return np.sum((1000 + x**2 / 1000) - 1000, axis=-1), x

    def backward(factor):
        return lambda dy, x: factor * x / 500 * dy[:, None]

    for seed in range(20):
        x = normal(1, 10, seed=seed)
        assert not gradient_check((forward, backward(1)), x).wrong


def test_an_error_of_a_tenth_of_a_percent_is_told_from_the_rounding_it_is_seen_through():
    """Four digits are lost, more than the size of the output tells; small steps see nothing but that."""

    def caught(factor, seed):
        forward = lambda x: ((1e4 + np.sin(x).sum()) - 1e4, x)  # noqa: E731
        pair = forward, lambda dy, x: factor * dy * np.cos(x)
        return gradient_check(pair, normal(1, 1, seed=seed)).wrong

    assert not any(caught(1, seed) for seed in range(100))
    assert sum(caught(1.001, seed) for seed in range(100)) > 80


# --- two traps, on real digits -------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return load_mnist().test.images[:2, ..., None] / 255


def block(bias, pool=None):
    return Sequential(
        [
            Conv2D(1, 4, 5, rng=1, dtype=np.float64, bias_init=constant(bias), ops="reference"),
            ReLU(ops="reference"),
            pool or MaxPool2D(ops="reference"),
        ],
        (28, 28, 1),
    )


def error_without_a_look_at_kinks(net, digits):
    """The largest relative error of conv.bias by plain central differences."""
    y = net.forward(digits, training=True)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    net.backward(dy)
    bias = net.parameters()[1]

    def with_bias(b):
        bias.value[...] = b
        return net.forward(digits).copy()

    analytic, before = bias.grad.copy(), bias.value.copy()
    numerical = naive.numerical_gradient(with_bias, before, dy)
    return np.max(np.abs(analytic - numerical) / np.maximum(np.abs(analytic), np.abs(numerical)))


def test_a_correct_bias_gradient_fails_on_digits_with_bias_0_unless_kinks_are_noticed(digits):
    """Under a blank patch the convolution is exactly its bias: with b = 0 it lies on the ReLU's kink."""
    assert error_without_a_look_at_kinks(block(0), digits) > 0.1
    report = gradient_check(block(0), digits, entries=50)
    assert report["conv.bias"].kinks == 4
    assert (report.ok, report.wrong) == (False, False)

    assert error_without_a_look_at_kinks(block(0.1), digits) < 1e-7
    gradient_check(block(0.1), digits, entries=50).assert_ok()


class EveryMaximumWins(Layer):
    """2x2 max-pool whose backward, like many on the web, gives dy to each entry that equals the maximum."""

    def __init__(self, name="pool", ops="kernels"):
        super().__init__(name, ops)

    def output_shape(self, input_shape):
        H, W, C = input_shape
        return H // 2, W // 2, C

    def compute(self, ops, x, training):
        N, H, W, C = x.shape
        windows = x.reshape(N, H // 2, 2, W // 2, 2, C)
        y = windows.max(axis=(2, 4))
        return y, (windows, y)

    def differentiate(self, ops, dy, cache, input_gradient):
        windows, y = cache
        mask = windows == y[:, :, None, :, None]
        N, H, _, W, _, C = windows.shape
        return (mask * dy[:, :, None, :, None]).reshape(N, 2 * H, 2 * W, C)


def test_a_mask_of_all_maxima_passes_on_random_numbers_and_is_caught_on_digits(digits):
    """Blank windows tie four ways; a bias moves all four, and the mask counts it four times."""
    gradient_check(EveryMaximumWins(), normal(2, 6, 6, 3)).assert_ok()
    gradient_check(block(0.1, EveryMaximumWins()), normal(2, 28, 28, 1), entries=50).assert_ok()
    report = gradient_check(block(0.1, EveryMaximumWins()), digits, entries=50)
    assert report["conv.bias"].verdict == "WRONG"
