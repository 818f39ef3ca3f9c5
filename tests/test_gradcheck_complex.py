"""The complex step: exact where code allows it, and not believed where it does not."""

import numpy as np
import pytest
from naive import normal

from minicnn import gradient_check
from minicnn.checks.complex_step import complex_slope


def slope_of(f, x, v, dy):
    return complex_slope(lambda name, added: f(x + added), "x", v, dy, f(x))


def test_the_slope_is_exact():
    x, v, dy = normal(3), normal(3, seed=1), normal(3, seed=2)
    found = slope_of(lambda x: np.exp(x) * np.sin(x), x, v, dy)
    expected = np.sum(dy * v * np.exp(x) * (np.sin(x) + np.cos(x)))
    assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.abs(x),  # real again
        lambda x: x.astype(np.float64),  # warns
        lambda x: np.array([float(v) for v in x]),  # raises
    ],
)
def test_code_that_is_not_made_for_complex_numbers_has_none(f):
    assert slope_of(f, normal(3), normal(3), normal(3)) is None


def hidden(factor, f=np.exp):
    """A small curved part beside a large one: differences see few of its digits."""
    forward = lambda x: (np.array([1.0 + 1e-7 * np.sum(f(300 * x)), 3.0]), x)  # noqa: E731
    return forward, lambda dy, x: factor * dy[0] * 3e-5 * np.exp(300 * x)


def test_a_gradient_that_rounding_hides_is_decided_by_the_complex_step():
    x = normal(3) / 300
    gradient_check(hidden(1.0), x).assert_ok()
    assert gradient_check(hidden(1.0001), x).wrong


def test_a_complex_step_that_is_wrong_is_not_believed():
    """conj(z) has the real part of z and the opposite slope."""
    assert not gradient_check(hidden(1.0, lambda z: np.exp(np.conj(z))), normal(3) / 300).wrong
