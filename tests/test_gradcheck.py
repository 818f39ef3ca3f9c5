"""The checker: what it accepts, what it calls wrong, and what it leaves undecided."""

import inspect
import re

import naive
import numpy as np
import pytest

import minicnn
from minicnn import (
    Conv2D,
    ConvReLUPool,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    gradcheck_suite,
    gradient_check,
    kernels,
    layers,
    load_mnist,
    reference,
)
from minicnn.cli import main
from minicnn.gradcheck import GradientError
from minicnn.gradcheck_suite import run_gradcheck
from minicnn.initializers import constant
from minicnn.layers import Layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture(scope="module")
def digits():
    return load_mnist().test.images[:2, ..., None] / 255


# --- functions with a flaw -----------------------------------------------------------------------


def cubes(x):
    return x**3, x


def check_cubes(backward, **options):
    return gradient_check((cubes, backward), normal(3, 5), **options)


def test_a_right_gradient_is_ok():
    report = check_cubes(lambda dy, x: 3 * x**2 * dy)
    report.assert_ok()
    assert report.ok
    assert not report.wrong
    assert report.error < 1e-8
    assert report["x"].compared == 15


def spoil_one(dy, x):
    dx = 3 * x**2 * dy
    dx[2, 4] *= 1.001
    return dx


@pytest.mark.parametrize(
    "backward",
    [
        lambda dy, x: 3 * x**2 * dy * 1.001,
        lambda dy, x: 3 * x**2 * dy * (1 + 1e-5),
        lambda dy, x: 0 * x,
        lambda dy, x: -3 * x**2 * dy,
        lambda dy, x: 3 * x**2,
        lambda dy, x: 3 * x**2 * dy + 1e-3,
        lambda dy, x: np.full_like(x, np.nan),
        lambda dy, x: np.where(x == x[0, 0], np.inf, 3 * x**2 * dy),
        lambda dy, x: 1e9 * x,
        spoil_one,
    ],
)
def test_a_wrong_gradient_is_wrong(backward):
    report = check_cubes(backward)
    assert report.wrong
    assert not report.ok
    with pytest.raises(GradientError, match="WRONG: backward is not the derivative of forward for x"):
        report.assert_ok()


def test_the_report_says_where_the_largest_error_is():
    report = check_cubes(spoil_one)["x"]
    assert report.where == (2, 4)
    assert report.analytic == pytest.approx(1.001 * report.numerical)
    assert report.error == pytest.approx(1e-3, rel=0.01)


def test_a_nan_is_not_covered_by_later_entries():
    def backward(dy, x):
        dx = 3 * x**2 * dy
        dx[0, 1] = np.nan
        return dx

    report = check_cubes(backward)
    assert report["x"].where == (0, 1)
    assert np.isnan(report.error)
    assert report.wrong


@pytest.mark.parametrize("place", [0, 31_415, 99_999])
def test_one_wrong_entry_of_a_large_array_is_found_along_random_directions(place):
    def backward(dy, x):
        dx = 3 * x**2 * dy
        dx[0, place] += 1
        return dx

    report = gradient_check((cubes, backward), normal(1, 100_000), entries=10, directions=3)
    assert report.wrong
    assert report["x"].directions == 3
    gradient_check((cubes, lambda dy, x: 3 * x**2 * dy), normal(1, 100_000), entries=10).assert_ok()


def test_the_upstream_is_random_so_that_errors_cannot_cancel():
    """The sum of a softmax is 1, so with dy = 1 its gradient is 0, and any softmax backward looks right."""

    def forward(x):
        p = reference.softmax(x)
        return p, p

    def wrong(dy, p):
        return 2 * p * (dy - (p * dy).sum(axis=1, keepdims=True))

    ones = gradient_check((forward, wrong), normal(3, 4), dy=np.ones((3, 4)))
    assert not ones.wrong
    assert gradient_check((forward, wrong), normal(3, 4)).wrong


def test_the_seed_decides_the_upstream():
    def right(dy, x):
        return 3 * x**2 * dy

    first, again, other = (check_cubes(right, seed=seed)["x"].analytic for seed in (1, 1, 2))
    assert first == again
    assert first != other


# --- kinks and ties ------------------------------------------------------------------------------


def relu_report(x, backward=None):
    return gradient_check((reference.relu_forward, backward or reference.relu_backward), np.array(x))


def test_entries_on_a_kink_are_counted_and_not_compared():
    report = relu_report([[-1.0, 0.0, 2.0, 0.0]])
    report.assert_ok()
    assert (report["x"].compared, report["x"].kinks) == (2, 2)


def test_nothing_but_kinks_is_neither_right_nor_wrong():
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


# --- two traps, on real digits -------------------------------------------------------------------


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


def test_a_right_bias_gradient_fails_on_digits_with_bias_0_unless_kinks_are_noticed(digits):
    """Under a blank patch the convolution is exactly its bias: with b = 0 it lies on the ReLU's kink."""
    assert error_without_a_look_at_kinks(block(0), digits) > 0.1
    report = gradient_check(block(0), digits, entries=50)
    assert report["conv.bias"].kinks == 4
    assert (report.ok, report.wrong) == (False, False)

    assert error_without_a_look_at_kinks(block(0.1), digits) < 1e-7
    gradient_check(block(0.1), digits, entries=50).assert_ok()


class EveryMaximumWins(Layer):
    """2x2 max-pool whose backward, like many on the web, gives dy to each entry that equals the maximum."""

    def __init__(self):
        super().__init__("pool")

    def output_shape(self, input_shape):
        H, W, C = input_shape
        return H // 2, W // 2, C

    def _forward(self, x, training):
        N, H, W, C = x.shape
        windows = x.reshape(N, H // 2, 2, W // 2, 2, C)
        y = windows.max(axis=(2, 4))
        return y, (windows, y)

    def _backward(self, dy, cache, input_gradient):
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


# --- layers and networks of this package ---------------------------------------------------------


def test_a_float32_layer_is_checked_in_float64_and_left_alone():
    layer = Dense(4, 3)
    layer.weight.grad[:] = 7
    values = layer.weight.value.copy()
    y = layer.forward(normal(2, 4).astype(np.float32), training=True)
    before = y.copy()
    gradient_check(layer, normal(5, 4).astype(np.float32)).assert_ok()
    assert layer.weight.value.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.value, values)
    np.testing.assert_array_equal(y, before)
    assert (layer.weight.grad == 7).all()
    layer.backward(y)  # still belongs to the forward before the check


def small_network():
    net = [ConvReLUPool(1, 3, 3, rng=2), Flatten(), Dense(27, 8, name="a", rng=3), ReLU(), Dropout(0.5)]
    return Sequential([*net, Dense(8, 4, name="b", rng=4)], (6, 6, 1))


def test_a_network_is_left_alone():
    net = small_network()
    values, grads = net.values.copy(), net.grads.copy()
    state = net.layers[4].rng.bit_generator.state
    gradient_check(net, normal(1, 6, 6, 1), entries=5)
    np.testing.assert_array_equal(net.values, values)
    np.testing.assert_array_equal(net.grads, grads)
    assert net.layers[4].rng.bit_generator.state == state


@pytest.mark.parametrize("ops", ["reference", "kernels"])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_with_dropout_is_checked_with_one_mask(ops, training):
    net = small_network()
    net.use_ops(ops)
    report = gradient_check(net, normal(3, 6, 6, 1), training=training)
    report.assert_ok()
    names = ["x", *(f"{layer}.{array}" for layer in ("conv", "a", "b") for array in ("weight", "bias"))]
    assert [array.name for array in report.arrays] == names


def test_a_fixed_mask_of_dropout_is_kept():
    layer, mask = Dropout(0.5), np.array([[True, False, True, True]])
    layer.fixed_mask = mask
    report = gradient_check(layer, np.ones((1, 4)), dy=np.ones((1, 4)))
    report.assert_ok()
    assert report["x"].largest == 2


class FreshMask(Dropout):
    def _backward(self, dy, cache, input_gradient):
        return self.ops.dropout_backward(dy, (self.draw_mask(dy.shape), self.keep_prob))


def test_a_fresh_mask_in_backward_is_wrong():
    assert gradient_check(FreshMask(0.5, ops="reference"), normal(4, 10)).wrong


def test_the_loss_is_checked_with_its_labels():
    labels = np.array([0, 2, 2])
    report = gradient_check(SoftmaxCrossEntropy("mean", "reference"), normal(3, 4), labels)
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["logits"]


# --- layers of a reader --------------------------------------------------------------------------


class TheirDense:
    """As in many a course: parameters and gradients are plain attributes, gradients add up."""

    def __init__(self, dtype=np.float64):
        rng = np.random.default_rng(0)
        self.W, self.b = rng.standard_normal((4, 3)).astype(dtype), np.zeros(3, dtype)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW += self.x.T @ dy
        self.db += dy.sum(axis=0)
        return dy @ self.W.T


def test_a_layer_of_another_make_is_checked_in_two_lines():
    layer = TheirDense()
    report = gradient_check(layer, normal(5, 4), parameters={"W": "dW", "b": "db"})
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "W", "b"]


def test_parameters_are_put_back():
    layer = TheirDense()
    before = layer.W.copy()
    gradient_check(layer, normal(5, 4), parameters={"W": "dW"}, entries=5)
    np.testing.assert_array_equal(layer.W, before)


def test_parameters_that_are_not_named_are_mentioned():
    text = str(gradient_check(TheirDense(), normal(5, 4)))
    assert 'found none; if there are, name them: parameters={"W": "dW"}' in text


class TheirLayerWithParameters(TheirDense):
    def parameters(self):
        parameter = type("Their", (), {})()
        parameter.name, parameter.value, parameter.grad = "W", self.W, self.dW
        return [parameter]


def test_parameters_with_value_and_grad_are_found():
    report = gradient_check(TheirLayerWithParameters(), normal(5, 4))
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "W"]


class TheirDropout:
    def forward(self, x, training=False):
        self.mask = np.random.rand(*x.shape) < 0.5 if training else np.ones(x.shape)
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


def test_numpys_global_random_numbers_are_fixed_too():
    report = gradient_check(TheirDropout(), normal(4, 6))
    report.assert_ok()
    assert np.count_nonzero(report["x"].largest) > 0


class InPlace:
    """Changes its arguments, as its author may not know."""

    def forward(self, x):
        self.negative = x < 0
        x[self.negative] = 0
        return x

    def backward(self, dy):
        dy[self.negative] = 0
        return dy


def test_a_layer_that_changes_its_input_is_judged_by_its_results():
    x = normal(3, 4)
    before = x.copy()
    gradient_check(InPlace(), x).assert_ok()
    np.testing.assert_array_equal(x, before)


def test_functions_name_their_inputs_and_settings_are_passed_on():
    x, w, b = normal(2, 5, 4, 2), normal(3, 2, 2, 3, seed=1), normal(3, seed=2)
    pair = reference.conv2d_forward, reference.conv2d_backward
    report = gradient_check(pair, x, w, b, 2, "valid")
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "w", "b"]


# --- refusals ------------------------------------------------------------------------------------


def test_a_layer_with_float32_parameters_is_refused():
    with pytest.raises(TypeError, match="W: expected float64, got float32"):
        gradient_check(TheirDense(np.float32), normal(5, 4), parameters={"W": "dW"})


def test_a_function_that_computes_in_float32_is_refused():
    pair = (lambda x: (x.astype(np.float32), None), lambda dy, cache: dy)
    with pytest.raises(TypeError, match="forward: expected float64, got float32"):
        gradient_check(pair, normal(2, 3))


def test_a_function_that_is_not_a_function_is_refused():
    rng = np.random.default_rng(0)
    pair = (lambda x: (x + rng.random(), None), lambda dy, cache: dy)
    with pytest.raises(ValueError, match="forward: expected the same output for the same input"):
        gradient_check(pair, normal(2, 3))


def test_infinite_outputs_are_refused():
    pair = (lambda x: (x / 0.0, None), lambda dy, cache: dy)
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match="forward: expected finite numbers"):
        gradient_check(pair, normal(2, 3))


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda dy, x: None, "backward: expected the gradient of x, got None"),
        (lambda dy, x: x[:1], r"expected a gradient of shape \[3, 5\] for x, got \[1, 5\]"),
        (lambda dy, x: (x, x), "backward: expected gradients of x, got 2 arrays"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(backward, message):
    with pytest.raises(ValueError, match=message):
        check_cubes(backward)


def test_integers_have_no_gradient():
    with pytest.raises(TypeError, match="expected at least one array of floats"):
        gradient_check((cubes, lambda dy, x: dy), np.arange(4))


# --- the table -----------------------------------------------------------------------------------


def test_the_report_is_a_table():
    layer = Dense(4, 3, name="fc", ops="reference")
    lines = str(gradient_check(layer, normal(5, 4))).splitlines()
    assert lines[0] == "gradient check of Dense fc"
    assert lines[1].split() == ["array", "shape", "compared", "kinks", "error", "at", "backward", "quotient"]
    assert [line.split()[:5] for line in lines[2:5]] == [
        ["x", "5x4", "20", "of", "20"],
        ["fc.weight", "4x3", "12", "of", "12"],
        ["fc.bias", "3", "3", "of", "3"],
    ]
    assert lines[5].startswith("ok: largest relative error ")


def test_an_array_that_is_not_in_the_report_is_a_key_error():
    with pytest.raises(KeyError, match="expected one of"):
        check_cubes(lambda dy, x: dy)["w"]


# --- the command ---------------------------------------------------------------------------------


def test_every_operation_and_every_layer_is_in_the_command():
    pairs = {name.removesuffix("_backward") for name in kernels.__all__ if name.endswith("_backward")}
    assert {name for name, _ in gradcheck_suite.OPERATIONS} == pairs
    exported = {getattr(layers, name) for name in layers.__all__}
    kinds = {kind for kind in exported if inspect.isclass(kind) and issubclass(kind, Layer)} - {Layer}
    assert set(gradcheck_suite.LAYERS) == kinds
    checks = gradcheck_suite.all_checks()
    for name in (*pairs, *(kind.__name__ for kind in kinds), "network"):
        assert {check.ops for check in checks if check.name == name} == {"reference", "kernels"}


@pytest.mark.parametrize("name", ["dense", "ReLU", "convrelupool", "softmax_cross_entropy"])
def test_one_layer_can_be_chosen(name, capsys):
    assert run_gradcheck(name, seed=3)
    out = capsys.readouterr().out.splitlines()
    rows = [line for line in out[1:-2] if line]
    assert all(row.lower().startswith(name.lower()) for row in rows)
    assert out[-1] == f"gradients right in {len(rows)} of {len(rows)} checks (seed 3)"


def test_an_unknown_layer_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"layer: expected one of conv2d, .*ReLU, network, got 'lstm'"):
        run_gradcheck("lstm")


def test_all_gradients_are_right():
    assert run_gradcheck()


def test_a_wrong_gradient_fails_the_command(monkeypatch, capsys):
    right = reference.relu_backward
    monkeypatch.setattr(reference, "relu_backward", lambda dy, cache: 1.001 * right(dy, cache))
    assert not run_gradcheck("relu")
    out = capsys.readouterr().out
    assert "WRONG: backward is not the derivative of forward for x" in out
    assert out.endswith("gradients right in 2 of 4 checks (seed 0)\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--layer", "relu"], 0, r"(compiling kernels .*\n)?"),
        (["--layer", "lstm"], 2, "minicnn: error: --layer: expected one of conv2d, .*got 'lstm'\n"),
        (["--seed", "-1"], 2, "minicnn: error: --seed: expected 0 or more, got -1\n"),
    ],
)
def test_the_command_ends_with_a_code(arguments, code, message, capsys):
    assert main(["gradcheck", *arguments]) == code
    assert re.fullmatch(message, capsys.readouterr().err)


def test_the_command_ends_with_1_if_a_gradient_is_wrong(monkeypatch):
    monkeypatch.setattr(reference, "relu_backward", lambda dy, cache: dy)
    assert main(["gradcheck", "--layer", "ReLU"]) == 1


def test_the_checker_is_at_the_front_door():
    assert minicnn.gradient_check is gradient_check
