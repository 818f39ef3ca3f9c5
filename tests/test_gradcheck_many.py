"""Many shapes and values at once: what is wrong at some of them only, made small."""

import subprocess
import sys

import pytest
from hypothesis import given, settings

import minicnn
from minicnn import gradient_check_many, reference, strategies
from minicnn.checks.report import GradientError

DENSE = reference.dense_forward, reference.dense_backward


def test_a_correct_pair_is_ok_at_all_shapes_and_values():
    report = gradient_check_many(DENSE, "N D", "D M", "M", examples=30)
    report.assert_ok()
    assert sum(report.verdicts.values()) >= 20


def test_what_is_wrong_only_for_odd_sizes_is_found_and_made_small():
    def backward(dy, cache):
        dx, dw, db = reference.dense_backward(dy, cache)
        if dw.shape[0] % 2 and dw.shape[0] > 1:
            dw[-1] *= 1.5
        return dx, dw, db

    report = gradient_check_many((DENSE[0], backward), "N D", "D M", "M", examples=100)
    assert report.wrong
    x, w, b = report.arguments
    assert (x.shape, w.shape, b.shape) == ((1, 3), (3, 1), (1,))
    with pytest.raises(GradientError, match="the smallest that is wrong:\ngradient check of dense_forward"):
        report.assert_ok()


def test_what_is_wrong_only_at_ties_is_found():
    forward = lambda x: (x.max(axis=1), (x, x.max(axis=1)))  # noqa: E731
    backward = lambda dy, c: dy[:, None] * (c[0] == c[1][:, None])  # noqa: E731
    assert not gradient_check_many((forward, backward), "N D", kinds=["plain"], examples=30).wrong
    assert gradient_check_many((forward, backward), "N D", examples=100).wrong


def test_labels_sizes_and_other_arguments():
    pair = reference.softmax_cross_entropy_forward, reference.softmax_cross_entropy_backward
    gradient_check_many(pair, "N C", "N < C", "sum", sizes={"C": (2, 4)}, examples=20).assert_ok()


def test_shapes_that_forward_refuses_are_passed_over():
    def forward(x):
        if len(x) % 2:
            raise ValueError("expected an even number")
        return x**2, x

    report = gradient_check_many((forward, lambda dy, x: 2 * x * dy), "N", examples=30, kinds=["plain"])
    report.assert_ok()
    with pytest.raises(ValueError, match="expected an even number"):
        gradient_check_many((forward, lambda dy, x: dy), "3", examples=5)


@settings(max_examples=20)
@given(strategies.arguments("N D", "D 3", sizes={"N": (2, 2)}))
def test_the_strategy_draws_shapes_that_fit(arguments):
    x, w = arguments
    assert x.shape == (2, len(w))
    assert w.shape[1] == 3


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kinds: expected names among plain, .*, got huge"):
        gradient_check_many(DENSE, "N D", "D M", "M", kinds=["huge"])


def test_hypothesis_is_imported_only_when_used():
    code = "import sys, minicnn; minicnn.gradient_check_many; print('hypothesis' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
    assert minicnn.strategies is strategies
