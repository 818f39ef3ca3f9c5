"""The checker: what it calls correct, what it calls wrong, what it refuses, and what it reports."""

import re

import numpy as np
import pytest
from naive import normal

import minicnn
from minicnn import Dense, gradient_check
from minicnn.checks.report import GradientError
from minicnn.engine import reference


def cubes(x):
    return x * x * x, x


def check_cubes(backward, **options):
    return gradient_check((cubes, backward), normal(3, 5), **options)


def test_a_correct_gradient_is_ok():
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


@pytest.mark.filterwarnings("error")  # the report says it all
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
def test_one_wrong_entry_of_a_large_array_is_found_along_directions_and_localised(place):
    def backward(dy, x):
        dx = 3 * x**2 * dy
        dx[0, place] += 1
        return dx

    report = gradient_check((cubes, backward), normal(1, 100_000), entries=10, directions=3)
    assert report.wrong
    assert report["x"].where == (0, place)
    report = gradient_check((cubes, lambda dy, x: 3 * x**2 * dy), normal(1, 100_000), entries=10)
    report.assert_ok()
    assert report["x"].directions == 4  # three at random, and all entries alike


def test_a_sample_of_a_gradient_that_is_mostly_zero_meets_some_of_the_rest():
    x = normal(100, 100)
    x[:, 1:] = -1
    report = gradient_check((reference.relu_forward, reference.relu_backward), x, entries=6, directions=0)
    assert report["x"].verdict == "ok"


def test_the_upstream_is_random_so_that_errors_cannot_cancel():
    """The sum of a softmax is 1, so with dy = 1 its gradient is 0, and any softmax backward looks correct."""

    def forward(x):
        p = reference.softmax(x)
        return p, p

    def wrong(dy, p):
        return 2 * p * (dy - (p * dy).sum(axis=1, keepdims=True))

    ones = gradient_check((forward, wrong), normal(3, 4), dy=np.ones((3, 4)))
    assert not ones.wrong
    assert gradient_check((forward, wrong), normal(3, 4)).wrong


def test_the_seed_decides_the_upstream():
    def correct(dy, x):
        return 3 * x**2 * dy

    first, again, other = (check_cubes(correct, seed=seed)["x"].analytic for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_checker_is_at_the_front_door():
    assert minicnn.gradient_check is gradient_check


# --- dy ------------------------------------------------------------------------------------------


def doubling_its_argument(dy, x):
    dy *= 2
    return 3 * x**2 * dy


def scaling_its_argument(dy, x):
    dy *= 3 * x**2
    return dy


def test_a_backward_that_doubles_dy_in_place_is_wrong_by_a_factor_of_2():
    """Handed the checker's own dy, it would double both sides of the comparison."""
    report = check_cubes(doubling_its_argument, dy=np.ones((3, 5)))
    assert report.wrong
    correct = 3 * normal(3, 5)[report["x"].where] ** 2
    assert report["x"].numerical == pytest.approx(correct)
    assert report["x"].analytic == pytest.approx(2 * correct)
    assert report.changed == ["backward changes dy in place"]
    assert report.verdict == (
        "WRONG: backward is not the derivative of forward for x; backward changes dy in place"
    )


def test_a_backward_that_returns_the_gradient_in_dy_is_correct_and_the_verdict_says_so():
    report = check_cubes(scaling_its_argument)
    report.assert_ok()
    assert re.fullmatch("ok: largest relative error .*; backward changes dy in place", report.verdict)
    assert check_cubes(lambda dy, x: 3 * x**2 * dy).changed == []


def test_dy_of_the_caller_is_left_alone():
    dy = np.ones((3, 5))
    check_cubes(doubling_its_argument, dy=dy)
    np.testing.assert_array_equal(dy, np.ones((3, 5)))


# --- constants -----------------------------------------------------------------------------------


def test_an_input_can_be_a_constant():
    """y = x^3 * w, and backward returns no gradient of w."""
    pair = (lambda x, w: (x**3 * w, (x, w)), lambda dy, cache: 3 * cache[0] ** 2 * cache[1] * dy)
    report = gradient_check(pair, normal(3, 5), normal(5, seed=1), constants=["w"])
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x"]
    report = gradient_check(pair, normal(3, 5), normal(5, seed=1))
    assert report.verdict.startswith("UNDECIDED: backward returned no gradient of w; if none is meant, state")


def test_an_unknown_constant_is_refused():
    with pytest.raises(ValueError, match=r"constants: expected names among x, got \['w'\]"):
        check_cubes(lambda dy, x: 3 * x**2 * dy, constants=["w"])


# --- refusals ------------------------------------------------------------------------------------


def test_a_function_that_computes_in_float32_is_refused():
    pair = (lambda x: (x.astype(np.float32), None), lambda dy, cache: dy)
    with pytest.raises(TypeError, match="forward: expected float64, got float32"):
        gradient_check(pair, normal(2, 3))


def test_a_function_that_is_not_a_function_is_refused():
    pair = (lambda x: (x + np.random.default_rng().random(), None), lambda dy, cache: dy)
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
    layer = Dense(4, 3, name="fc", rng=0, ops="reference")
    lines = str(gradient_check(layer, normal(5, 4))).splitlines()
    assert lines[0] == "gradient check of Dense fc"
    assert lines[1].split() == ["array", "shape", "compared", "kinks", "error", "at", "backward", "numerical"]
    assert [line.split()[:5] for line in lines[2:5]] == [
        ["x", "5x4", "20", "of", "20"],
        ["fc.weight", "4x3", "12", "of", "12"],
        ["fc.bias", "3", "3", "of", "3"],
    ]
    assert lines[5].startswith("ok: largest relative error ")


def test_an_array_that_is_not_in_the_report_is_a_key_error():
    with pytest.raises(KeyError, match="expected one of"):
        check_cubes(lambda dy, x: dy)["w"]
