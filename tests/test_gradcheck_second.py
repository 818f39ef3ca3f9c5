"""Second derivatives: three functions are checked, the gradient and the gradient of the gradient."""

import numpy as np
import pytest
from naive import normal

from minicnn import gradient_check


def cubes(x):
    return x**3, x


def cubes_backward(dy, x):
    return 3 * x**2 * dy


def cubes_double_backward(v, dy, x):
    return 3 * x**2 * v, 6 * x * dy * v


def test_the_gradient_of_a_gradient():
    report = gradient_check((cubes, cubes_backward, cubes_double_backward), normal(3, 4))
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "second: dy", "second: x"]


@pytest.mark.parametrize(
    ("double_backward", "wrong"),
    [
        (lambda v, dy, x: (3 * x**2 * v, 6.006 * x * dy * v), "second: x"),
        (lambda v, dy, x: (3 * x**2 * v, 0 * x), "second: x"),
        (lambda v, dy, x: (3 * x**2, 6 * x * dy * v), "second: dy"),
    ],
)
def test_a_wrong_second_derivative_is_wrong_and_the_first_is_not(double_backward, wrong):
    report = gradient_check((cubes, cubes_backward, double_backward), normal(3, 4))
    assert [array.name for array in report.arrays if array.verdict == "WRONG"] == [wrong]


def product(x, w):
    return x @ w, (x, w)


def product_backward(dy, cache):
    x, w = cache
    return dy @ w.T, x.T @ dy


def product_double_backward(v, dy, cache):
    (x, w), (vx, vw) = cache, v
    return vx @ w + x @ vw, dy @ vw.T, vx.T @ dy


def test_a_function_of_two_arrays_has_two_gradients_and_each_has_a_gradient():
    functions = product, product_backward, product_double_backward
    report = gradient_check(functions, normal(3, 4), normal(4, 2))
    report.assert_ok()
    names = [array.name for array in report.arrays]
    assert names == ["x", "w", "second: dy", "second: x", "second: w"]


def test_the_normalization_whose_deviation_is_held_constant_in_the_second_derivative():
    """y = x / s, s = sqrt(mean x^2): right once, and wrong where s should have been differentiated again."""

    def forward(x):
        s = np.sqrt(np.mean(x * x))
        return x / s, (x, s)

    def backward(dy, cache):
        x, s = cache
        return dy / s - x * np.mean(dy * x) / s**3

    def double_backward(v, dy, cache):
        x, s = cache
        ddy = v / s - x * np.mean(v * x) / s**3
        vx, vdy, dyx, n = np.mean(v * x), np.sum(v * dy), np.mean(dy * x), x.size
        ddx = -x * vdy / (n * s**3) - (v * dyx + dy * vx) / s**3 + 3 * x * vx * dyx / s**5
        return ddy, ddx

    def held(v, dy, cache):
        ddy, _ = double_backward(v, dy, cache)
        x, s = cache
        return ddy, -(v * np.mean(dy * x) + dy * np.mean(v * x)) / s**3

    gradient_check((forward, backward, double_backward), normal(6)).assert_ok()
    assert gradient_check((forward, backward, held), normal(6))["second: x"].verdict == "WRONG"


def test_a_loss_has_a_hessian_times_a_vector():
    """dloss is a number here, and an input of the gradient."""
    a = normal(4, 4)
    forward = lambda x: (0.5 * x @ a @ x, x)  # noqa: E731
    backward = lambda dloss, x: dloss * 0.5 * (a + a.T) @ x  # noqa: E731
    double_backward = lambda v, dloss, x: (0.5 * v @ (a + a.T) @ x, dloss * 0.5 * (a + a.T) @ v)  # noqa: E731
    gradient_check((forward, backward, double_backward), normal(4)).assert_ok()
