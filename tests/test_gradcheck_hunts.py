"""Hunts: values of all sizes, arrays that share memory, calls that change what is not theirs, small errors.

Each case once fooled a gradient checker: right code was called wrong, or wrong code right.
"""

import numpy as np
import pytest
from naive import normal

from minicnn import gradient_check


def unary(f, derivative):
    """A function and its backward, and a backward that is wrong by 0.1 %."""

    def forward(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return f(x), x

    return tuple((forward, lambda dy, x, k=k: k * dy * derivative(x)) for k in (1, 1.001))


FUNCTIONS = {
    "log at 5e-6": (unary(np.log, lambda x: 1 / x), 5e-6 * (1 + np.arange(4.0))),
    "log at 1e-12": (unary(np.log, lambda x: 1 / x), 1e-12 * (1 + np.arange(4.0))),
    "sqrt at 1e-4": (unary(np.sqrt, lambda x: 0.5 / np.sqrt(x)), 1e-4 * (1 + np.arange(4.0))),
    "sqrt at 1e12": (unary(np.sqrt, lambda x: 0.5 / np.sqrt(x)), 1e12 * (1 + np.arange(4.0))),
    "square at 1e-12": (unary(np.square, lambda x: 2 * x), 1e-12 * (1 + np.arange(4.0))),
    "square at 1e12": (unary(np.square, lambda x: 2 * x), 1e12 * (1 + np.arange(4.0))),
    "sin at 1e8": (unary(np.sin, np.cos), 1e8 + np.arange(4.0)),
    "1 / x at 1e-7": (unary(lambda x: 1 / x, lambda x: -1 / x**2), 1e-7 * (1 + np.arange(4.0))),
    "x / max(x, 1e-12) at 0": (
        unary(lambda x: x / np.maximum(np.abs(x), 1e-12), lambda x: np.where(np.abs(x) < 1e-12, 1e12, 0)),
        np.zeros(3),
    ),
    "exp(-x^2) at 1 and 5": (
        unary(lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)),
        np.array([1.0, 5.0]),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_of_any_size_are_judged_rightly(name):
    (right, wrong), x = FUNCTIONS[name]
    gradient_check(right, x).assert_ok()
    assert gradient_check(wrong, x).wrong


def softmax_loss(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(x)), 0]).mean() if p[:, 0].all() else np.inf
    return loss, p


def softmax_loss_backward(dy, p):
    d = p.copy()
    d[:, 0] -= 1
    return dy * d / len(p)


@pytest.mark.parametrize("scores", [[40.0, 0, 1, -0.5], [0.0, 40, 1, -0.5], [1e5 - 1, 1e5, 1e5 + 1, 1e5]])
def test_softmax_of_far_scores_is_no_false_alarm(scores):
    report = gradient_check((softmax_loss, softmax_loss_backward), np.array([scores]))
    assert not report.wrong, report


def normed(x, epsilon=1e-5):
    d = x - x.mean(axis=0)
    std = np.sqrt((d * d).mean(axis=0) + epsilon)
    return d / std, (d / std, std)


def normed_backward(dy, cache):
    y, std = cache
    return (dy - dy.mean(axis=0) - y * (dy * y).mean(axis=0)) / std


@pytest.mark.parametrize(("scale", "shift"), [(1e-5, 0), (1e-3, 0), (1, 1e9), (1e9, 0), (1e-5, 1)])
def test_batch_norm_of_values_of_any_size(scale, shift):
    x = scale * normal(6, 3) + shift
    assert not gradient_check((normed, normed_backward), x).wrong
    report = gradient_check((normed, lambda dy, cache: 1.01 * normed_backward(dy, cache)), x)
    assert report.wrong or (shift == 1e9 and not report.ok)  # there, x keeps seven digits


def test_a_bias_before_batch_norm_has_gradient_0_and_is_ok():
    """All of its gradient is rounding: about 1e-17, where finite differences see 1e-11."""
    pair = (lambda x, b: normed(x + b), lambda dy, c: (normed_backward(dy, c), normed_backward(dy, c).sum(0)))
    for seed in range(6):
        report = gradient_check(pair, normal(5, 3, seed=seed), normal(3, seed=seed), seed=seed)
        report.assert_ok()
        assert report["b"].unused
        assert "note: the output does not depend on b" in str(report)
    off = lambda dy, c: (normed_backward(dy, c), normed_backward(dy, c).sum(0) + 1e-3)  # noqa: E731
    assert gradient_check((pair[0], off), normal(5, 3), normal(3)).wrong


def test_an_unused_input_is_ok_if_its_gradient_is_0():
    forward = lambda x, u: (x**2, x)  # noqa: E731
    report = gradient_check((forward, lambda dy, x: (2 * x * dy, 0 * x)), normal(3), normal(3))
    report.assert_ok()
    assert report["u"].unused
    assert gradient_check((forward, lambda dy, x: (2 * x * dy, 1e-9 + 0 * x)), normal(3), normal(3)).wrong


def test_units_that_are_off_here_are_not_taken_for_unused():
    relu = lambda x: (np.maximum(x, 0), x > 0)  # noqa: E731
    report = gradient_check((relu, lambda dy, on: dy * on), -np.ones((2, 3)))
    assert report["x"].verdict == "zero"


# --- small errors --------------------------------------------------------------------------------


def cubes(x):
    return x * x * x, x


@pytest.mark.parametrize("factor", [1.0001, 0.9999])
def test_a_hundredth_of_a_percent_is_found_at_any_scale(factor):
    for scale in 1e-6, 1, 1e6:
        pair = (lambda x, s=scale: (s * x**3, x), lambda dy, x, s=scale: factor * 3 * s * x**2 * dy)
        assert gradient_check(pair, normal(3, 4)).wrong


def test_one_entry_of_a_million_is_found_and_named():
    def backward(dy, x):
        dx = 3 * x**2 * dy
        dx[271, 828] += 1
        return dx

    report = gradient_check((cubes, backward), normal(1000, 1000))
    assert report.wrong
    assert report["x"].where == (271, 828)


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((40, 50), 1.0001), ((1000, 1000), 1.01)],  # a direction through n entries sees 1 / sqrt(n) of one
)
@pytest.mark.parametrize("place", [(0, 0), (27, 28), (-1, -1)])
def test_one_entry_that_is_off_by_little_is_found_and_named(shape, factor, place):
    def backward(dy, x):
        dx = 3 * x**2 * dy
        dx[place] *= factor
        return dx

    x = normal(*shape)
    x[place] = 1
    report = gradient_check((cubes, backward), x)
    assert report.wrong
    assert report["x"].where == tuple(k % n for k, n in zip(place, shape, strict=True))


@pytest.mark.parametrize("stride", [1, 2])
def test_an_error_at_stride_2_only(stride):
    """The last window is forgotten where windows leave a border."""

    def forward(x):
        starts = range(0, x.shape[1] - 2, stride)
        return np.stack([(x[:, i : i + 3] ** 2).sum(axis=1) for i in starts], axis=1), (x, starts)

    def backward(dy, cache):
        x, starts = cache
        dx = np.zeros_like(x)
        for k, i in enumerate(starts):
            if stride == 1 or i + 3 < x.shape[1]:
                dx[:, i : i + 3] += 2 * x[:, i : i + 3] * dy[:, k : k + 1]
        return dx

    assert gradient_check((forward, backward), normal(2, 9)).wrong == (stride == 2)


def test_an_error_in_odd_columns_only():
    def backward(dy, x):
        dx = 3 * x**2 * dy
        if x.shape[1] % 2:
            dx[:, -1] = 0
        return dx

    assert gradient_check((cubes, backward), normal(3, 5)).wrong
    gradient_check((cubes, backward), normal(3, 4)).assert_ok()


def every_maximum(dy, cache):
    x, y = cache
    return dy[:, None] * (x == y[:, None])


def first_maximum(dy, cache):
    x, y = cache
    dx = np.zeros(x.shape)
    dx[np.arange(len(x)), x.argmax(axis=1)] = dy
    return dx


def test_a_gradient_for_every_tied_maximum_is_wrong_without_any_layer_around_it():
    forward = lambda x: (x.max(axis=1), (x, x.max(axis=1)))  # noqa: E731
    for x in np.zeros((3, 4)), np.round(normal(20, 4)), np.ones((1, 2)):
        assert gradient_check((forward, every_maximum), x).wrong
        assert not gradient_check((forward, first_maximum), x).wrong


def test_kinks_everywhere_leave_the_verdict_open():
    forward = lambda x: (np.abs(x).sum(axis=1), x)  # noqa: E731
    report = gradient_check((forward, lambda dy, x: dy[:, None] * np.sign(x)), np.zeros((4, 5)))
    assert report["x"].verdict == "kinks"


def test_steps_have_gradient_0_whatever_is_claimed():
    forward = lambda x: (np.round(x * 1000) / 1000, x)  # noqa: E731
    assert gradient_check((forward, lambda dy, x: dy), normal(3, 4)).wrong
    assert not gradient_check((forward, lambda dy, x: 0 * dy), normal(3, 4)).wrong


def test_noise_leaves_the_verdict_open():
    """The eighth digit of the output depends on the input at random: it is a function, and has no slope."""

    def forward(x):
        return x**2 + 1e-8 * np.sin(1e15 * x), x

    report = gradient_check((forward, lambda dy, x: 2 * x * dy), normal(3, 4))
    assert not report.wrong
    assert gradient_check((forward, lambda dy, x: 3 * x * dy), normal(3, 4)).wrong


# --- results that are not the same twice ---------------------------------------------------------


def test_a_backward_that_adds_to_its_result_of_before_is_refused():
    total = np.zeros((3, 4))

    def backward(dy, x):
        total[...] += 3 * x**2 * dy
        return total

    with pytest.raises(ValueError, match="backward: expected the same gradient of x for the same input"):
        gradient_check((cubes, backward), normal(3, 4))


def test_a_forward_that_drifts_is_refused():
    calls = []

    def forward(x):
        calls.append(0)
        return x**3 * (1 + 1e-3 * (len(calls) > 5)), x

    with pytest.raises(ValueError, match="forward: expected the same output for the same input"):
        gradient_check((forward, lambda dy, x: 3 * x**2 * dy), normal(3, 4))


# --- what calls change ---------------------------------------------------------------------------


class Layer:
    """y = x W."""

    def __init__(self):
        self.W, self.dW = normal(4, 3), np.zeros((4, 3))

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dy):
        self.dW = self.x.T @ dy
        return dy @ self.W.T


class StepsInBackward(Layer):
    def backward(self, dy):
        dx = super().backward(dy)
        self.W -= 0.1 * self.dW
        return dx


class ReplacesInBackward(Layer):
    def backward(self, dy):
        dx = super().backward(dy)
        self.W = self.W - 0.1 * self.dW
        return dx


class DecaysInForward(Layer):
    def forward(self, x):
        self.W *= 0.9
        return super().forward(x)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (StepsInBackward, "backward moves W"),
        (ReplacesInBackward, "backward replaces W"),
    ],
)
def test_a_parameter_that_backward_changes_is_put_back_and_named(kind, change):
    layer = kind()
    held, before = layer.W, layer.W.copy()
    report = gradient_check(layer, normal(5, 4), parameters={"W": "dW"})
    report.assert_ok()
    assert report.verdict.endswith(f"; {change}")
    assert layer.W is held
    np.testing.assert_array_equal(layer.W, before)


def test_a_parameter_that_forward_changes_is_put_back_and_named():
    """y and dx are those of 0.9 W."""
    layer = DecaysInForward()
    before = layer.W.copy()
    report = gradient_check(layer, normal(5, 4), parameters={"W": "dW"})
    assert "forward moves W" in report.verdict
    assert report["x"].verdict == "ok"
    np.testing.assert_array_equal(layer.W, before)


def test_a_parameter_that_shrinks_in_a_step_that_is_zero_is_not_named():
    report = gradient_check(Layer(), normal(5, 4), parameters={"W": "dW"})
    assert report.changed == []


class Fails(Layer):
    calls = 0

    def forward(self, x):
        self.calls += 1
        if np.any(np.abs(self.W - normal(4, 3)) > 1e-7):
            raise RuntimeError("no")
        return super().forward(x)


@pytest.mark.parametrize("entries", [None, 3])
def test_an_exception_leaves_parameters_where_they_were(entries):
    layer = Fails()
    before = layer.W.copy()
    with pytest.raises(RuntimeError, match="no"):
        gradient_check(layer, normal(5, 4), parameters={"W": "dW"}, entries=entries)
    np.testing.assert_array_equal(layer.W, before)


class Tied:
    """y = x W U with U = W^T in the same memory, as in an autoencoder."""

    def __init__(self, factor=1.0):
        self.W = normal(4, 3)
        self.U, self.factor = self.W.T, factor

    def forward(self, x):
        self.x, self.h = x, x @ self.W
        return self.h @ self.U

    def backward(self, dy):
        self.dU = self.factor * self.h.T @ dy
        dh = dy @ self.U.T
        self.dW = self.x.T @ dh
        return dh @ self.W.T


def test_tied_weights_under_two_names_are_one_array():
    report = gradient_check(Tied(), normal(5, 4), parameters={"W": "dW", "U": "dU"})
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "W + U"]
    assert "note: W and U are one array: compared is the sum of their gradients" in report.notes
    assert gradient_check(Tied(2.0), normal(5, 4), parameters={"W": "dW", "U": "dU"}).wrong


def test_a_read_only_parameter_is_refused_in_one_line():
    layer = Layer()
    layer.W = np.broadcast_to(1.0, (4, 3))
    with pytest.raises(ValueError, match="W: expected an array that can be changed, got a read-only one"):
        gradient_check(layer, normal(5, 4), parameters={"W": "dW"})


# --- inputs of all kinds -------------------------------------------------------------------------


def test_inputs_may_be_views_broadcast_and_the_same_array_twice():
    product = (lambda a, b: (a * b, (a, b)), lambda dy, c: (dy * c[1], dy * c[0]))
    base = normal(4, 6)
    for a, b in [(base[:, ::2], base[:, 1::2]), (base, base), (base, np.broadcast_to(2.0, (4, 6)))]:
        before = base.copy()
        gradient_check(product, a, b).assert_ok()
        np.testing.assert_array_equal(base, before)


def test_arrays_in_lists_and_dictionaries_are_varied():
    def forward(xs, weights):
        return xs[0] * weights["a"] + xs[1] * weights["b"], (xs, weights)

    def backward(dy, cache, factor=1.0):
        xs, w = cache
        return [dy * w["a"], dy * w["b"]], {"a": factor * dy * xs[0], "b": dy * xs[1]}

    arguments = [normal(3), normal(3, seed=1)], {"a": normal(3, seed=2), "b": normal(3, seed=3)}
    report = gradient_check((forward, backward), *arguments)
    report.assert_ok()
    assert [a.name for a in report.arrays] == ["xs[0]", "xs[1]", "weights['a']", "weights['b']"]
    wrong = gradient_check((forward, lambda dy, c: backward(dy, c, 2.0)), *arguments)
    assert wrong["weights['a']"].verdict == "WRONG"


def test_numpy_scalars_are_varied_and_python_floats_are_named():
    pair = (lambda x, s, e: (s * x + e, (x, s)), lambda dy, c: (dy * c[1], np.sum(dy * c[0])))
    report = gradient_check(pair, normal(3), np.float64(2.0), 1e-5)
    report.assert_ok()
    assert [a.name for a in report.arrays] == ["x", "s"]
    assert report.notes == ["note: e is a Python float: not varied"]


def test_several_outputs_have_several_upstream_gradients():
    forward = lambda x: ((x**2, np.sin(x)), x)  # noqa: E731
    backward = lambda dy, x: dy[0] * 2 * x + dy[1] * np.cos(x)  # noqa: E731
    gradient_check((forward, backward), normal(3, 4)).assert_ok()
    assert gradient_check((forward, lambda dy, x: dy[0] * 2 * x), normal(3, 4)).wrong


def test_gradients_of_all_arguments_may_be_none_for_those_that_have_none():
    pair = (lambda x, k: (x**k, (x, k)), lambda dy, c: (c[1] * c[0] ** (c[1] - 1) * dy, None))
    gradient_check(pair, normal(3, 4), 3).assert_ok()


# --- float32 -------------------------------------------------------------------------------------


def test_code_that_computes_in_float32_is_checked_in_float32():
    def forward(x, w):
        x, w = x.astype(np.float32), w.astype(np.float32)
        return np.tanh(x @ w), (x, w)

    def backward(dy, cache, factor=1.0):
        x, w = cache
        dz = dy * (1 - np.tanh(x @ w) ** 2) * np.float32(factor)
        return dz @ w.T, x.T @ dz

    for seed in range(20):
        arrays = normal(5, 4, seed=seed) / 2, normal(4, 3, seed=seed + 100) / 2
        report = gradient_check((forward, backward), *arrays, dtype=np.float32)
        report.assert_ok()
        wrong = (forward, lambda dy, c: backward(dy, c, 1.02))
        assert gradient_check(wrong, *arrays, dtype=np.float32).wrong


def test_float32_parameters_are_checked_in_float32():
    layer = Layer()
    layer.W = layer.W.astype(np.float32)
    report = gradient_check(layer, normal(5, 4), parameters={"W": "dW"}, dtype=np.float32)
    report.assert_ok()
    with pytest.raises(ValueError, match="dtype: expected float64 or float32"):
        gradient_check(layer, normal(5, 4), dtype=np.float16)
