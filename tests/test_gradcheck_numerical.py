"""The numerical gradient that is read first, against derivatives worked out by hand."""

import numpy as np
import pytest
from naive import normal

import minicnn
from minicnn.checks.numerical import numerical_gradient


def test_the_gradient_of_a_known_function():
    x = normal(3, 4)
    expected = 3 * x**2 + np.cos(x)
    np.testing.assert_allclose(numerical_gradient(lambda a: np.sum(a**3 + np.sin(a)), x), expected, rtol=1e-7)


def test_entries_that_meet_in_one_term():
    """f = a b^2 + c: df/da = b^2, df/db = 2 a b, df/dc = 1."""
    x = np.array([3.0, 5.0, 7.0])
    gradient = numerical_gradient(lambda v: v[0] * v[1] ** 2 + v[2], x)
    np.testing.assert_allclose(gradient, [25, 30, 1], rtol=1e-9)


def test_it_is_the_central_difference_of_the_step_that_is_given():
    """(|0.5 + 1| - |0.5 - 1|) / 2 = 0.5, where the derivative is 1."""
    assert numerical_gradient(lambda v: abs(v[0]), np.array([0.5]), step=1.0).tolist() == [0.5]


def test_a_number_has_a_gradient_too():
    np.testing.assert_allclose(numerical_gradient(lambda v: v**2, np.array(3.0)), 6, rtol=1e-9)
    assert numerical_gradient(lambda v: 0.0, np.empty((0, 2))).shape == (0, 2)


def test_x_is_put_back_even_if_f_raises():
    x, calls = normal(2, 3), []
    before = x.copy()
    numerical_gradient(lambda a: a.sum(), x)
    np.testing.assert_array_equal(x, before)

    def fails(a):
        calls.append(a.copy())
        return 0.0 if len(calls) < 8 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        numerical_gradient(fails, x)
    np.testing.assert_array_equal(x, before)
    assert calls[7][1, 0] < before[1, 0]  # it was changed when f raised


@pytest.mark.parametrize(
    ("f", "x", "step", "error", "message"),
    [
        (np.sum, np.ones(2, np.float32), 1e-5, TypeError, "x: expected a float64 array, got float32"),
        (np.sum, [1.0, 2.0], 1e-5, TypeError, "x: expected a float64 array, got list"),
        (np.copy, np.ones(2), 1e-5, TypeError, r"f: expected one number, got an array of shape \[2\]"),
        (np.sum, np.ones(2), 0.0, ValueError, "step: expected a number above 0, got 0.0"),
        (np.sum, np.ones(2), float("nan"), ValueError, "step: expected a number above 0, got nan"),
    ],
)
def test_what_cannot_be_differentiated_is_refused(f, x, step, error, message):
    with pytest.raises(error, match=message):
        numerical_gradient(f, x, step)


def test_a_layer_is_checked_with_it_by_hand():
    """What `gradient_check` does, in four lines."""
    layer, x = minicnn.Dense(4, 3, rng=0, dtype=np.float64, ops="reference"), normal(5, 4)
    dy = normal(5, 3, seed=1)
    layer.forward(x, training=True)
    dx = layer.backward(dy)
    np.testing.assert_allclose(numerical_gradient(lambda a: np.sum(dy * layer.forward(a)), x), dx, rtol=1e-6)
