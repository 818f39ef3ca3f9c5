"""What is wrong with a wrong gradient is named, and nothing is named falsely."""

import re
from dataclasses import replace

import conventions as right
import numpy as np
import pytest
from conventions import RIGHT, X, normal
from diagnosed import measure
from planted import BUGS

from minicnn import gradient_check
from minicnn.checks.conventions import recognised
from minicnn.checks.diagnosis import Settings, explain, look

LABELS = np.array([2, 0, 1, 2])


def said(pair, *inputs, of=0, **options):
    """What is said of the gradient of one array, which must be wrong."""
    report = gradient_check(pair, *inputs, **options)
    array = report.arrays[of]
    assert array.verdict == "WRONG"
    assert not array.diagnosis or array.diagnosis in str(report)
    return array.diagnosis


def affine(spoil, of):
    """What is said of an affine layer one of whose gradients is spoilt."""

    def backward(dout, cache):
        gradients = list(right.affine_backward(dout, cache))
        gradients[of] = spoil(gradients[of], dout, *cache)
        return gradients

    return said((right.affine_forward, backward), X, normal(6, 6), normal(6), of=of)


@pytest.mark.parametrize(
    ("of", "spoil", "sentence"),
    [
        (1, lambda g, dy, x, w, b: 4 * g, "your dw equals 4 times the true one, .* a missing 1/N? (N = 4)"),
        (1, lambda g, dy, x, w, b: g / 4, "your dw equals 0.25 times .*: divided by N without need? (N = 4)"),
        (2, lambda g, dy, x, w, b: -g, "your db is minus the true one: a sign?"),
        (1, lambda g, dy, x, w, b: 1.001 * g, "your dw equals 1.001 times the true one, everywhere"),
        (1, lambda g, dy, x, w, b: 0 * g, "your dw is zero everywhere"),
        (1, lambda g, dy, x, w, b: g * np.nan, "your dw is NaN or infinite at 36 of 36 entries"),
        (1, lambda g, dy, x, w, b: g.T, "your dw is the true one transposed"),
        (0, lambda g, dy, x, w, b: dy @ w, "your dx would be true for w transposed"),
        (1, lambda g, dy, x, w, b: g + 0.3 * w, "your dw differs from the true one by 0.3 times w itself"),
        (1, lambda g, dy, x, w, b: g + 0.1 * np.sign(w), "0.1 times the signs of w: an L1 regularization"),
        (
            1,
            lambda g, dy, x, w, b: x[-1:].T @ dy[-1:],
            "the contribution of index 3 of axis 0 of the output alone",
        ),
        (1, lambda g, dy, x, w, b: x[:-1].T @ dy[:-1], "leaves out index 3 of axis 0 of the output"),
        (
            2,
            lambda g, dy, x, w, b: np.full(6, len(dy)),
            "your db is that for dy = 1: is the upstream gradient",
        ),
        (2, lambda g, dy, x, w, b: g[::-1], "your db is the true one flipped along axis 0"),
        (1, lambda g, dy, x, w, b: g * (np.arange(6) < 5), "leaves out index 5 of axis 1 of the output"),
    ],
)
def test_mistakes_of_an_affine_layer_are_named(of, spoil, sentence):
    pattern = re.escape(sentence).replace(r"\.\*", ".*")
    assert re.search(pattern, affine(spoil, of))


def test_a_mean_in_place_of_a_sum_is_named():
    assert "divided by N without need" in affine(lambda g, dy, x, w, b: dy.mean(axis=0), 2)


def test_a_sum_over_the_wrong_axis_is_named():
    def backward(dout, cache):
        dx, dw, _ = right.affine_backward(dout, cache)
        return dx, dw, dout.sum(axis=1)

    inputs = X, normal(6, 4), normal(4)
    assert "is the sum over the axes 1 of dy; it must be over 0" in said(
        (right.affine_forward, backward), *inputs, of=2
    )


def test_results_that_changed_places_are_named():
    def backward(dout, cache):
        dx, dgamma, dbeta = right.batchnorm_backward(dout, cache)
        return dx, dbeta, dgamma

    inputs = X, normal(6), normal(6), {}
    assert "is the true gradient of beta: two results exchanged?" in said(
        (right.batchnorm_forward, backward), *inputs, of=1
    )


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda d, n, g, v: g / np.sqrt(v) * (d - n * (d * n).mean(axis=0)),
            "the same number along the axes 0",
        ),
        (
            lambda d, n, g, v: g / np.sqrt(v) * (d - d.mean(axis=0)),
            "by a linear function of x along the axes 0",
        ),
        (
            lambda d, n, g, v: (d - d.mean(axis=0) - n * (d * n).mean(axis=0)) / np.sqrt(v),
            "lacks the factor gamma",
        ),
    ],
)
def test_mistakes_of_batch_norm_are_named(spoil, sentence):
    def backward(dout, cache):
        normed, gamma, var = cache
        _, dgamma, dbeta = right.batchnorm_backward(dout, cache)
        return spoil(dout, normed, gamma, var + 1e-5), dgamma, dbeta

    x = normal(8, 6)
    assert sentence in said((right.batchnorm_forward, backward), x, 1 + normal(6) ** 2, normal(6), {})


def softmax(x):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def test_a_softmax_without_its_sum_is_named():
    sums = (softmax, lambda dy, y: dy * y)
    assert "is the sum over them forgotten, as in softmax" in said(sums, normal(3, 6))


def test_a_label_that_is_added_is_named():
    def loss(x, y):
        value, dx = right.softmax_loss(x, y)
        dx[np.arange(len(x)), y] += 2 / len(x)
        return value, dx

    assert "is wrong only at the entries of the labels" in said(loss, X[:, :3], LABELS)


def test_a_derivative_at_the_wrong_place_is_named():
    assert "lacks a factor (1 - y)" in said((right.sigmoid, lambda dy, out: dy * out), X)


def test_a_mask_that_is_missing_is_named():
    assert "passes a gradient where the true one is 0 (below 0): is the mask" in said(
        (right.relu, lambda dy, x: dy), X
    )


def test_a_mask_drawn_anew_is_named():
    def backward(dy, mask):
        return dy * (np.random.default_rng(5).random(mask.shape) < 0.5)

    assert "another mask in backward" in said((right.random_forward, backward), X, np.random.default_rng(0))


def test_a_keep_prob_is_named():
    def forward(x, mask, keep_prob):
        return x * mask / keep_prob, mask

    mask = np.random.default_rng(0).random(X.shape) < 0.8
    assert "a factor keep_prob too much? (keep_prob = 0.8)" in said(
        (forward, lambda dy, mask: dy * mask), X, mask, 0.8
    )


def test_repeated_indices_that_overwrite_are_named():
    ids = np.array([0, 2, 0, 1])

    def forward(w):
        return w[ids], w.shape

    def backward(dy, shape):
        dw = np.zeros(shape)
        dw[ids] += dy
        return dw

    assert "leaves out index 0 of axis 0 of the output" in said((forward, backward), normal(3, 4))
    ids[2] = 1  # now the one that is lost is another
    assert "leaves out" in said((forward, backward), normal(3, 4))


def test_a_batch_of_sentences_that_are_the_same_is_said_once():
    def backward(dout, cache):
        return [3 * g for g in right.affine_backward(dout, cache)]

    text = str(gradient_check((right.affine_forward, backward), X, right.W, right.B))
    assert text.count("3 times") == 1
    assert "\neach of your dx, dw, db equals 3 times the true one, everywhere\n" in f"{text}\n"


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_named_in_right_code(name):
    """Even when asked about it."""
    make, _ = RIGHT[name]
    subject, *inputs = make()
    checked = recognised(subject, inputs, (), True, None)
    y = checked.evaluate()
    dy = np.random.default_rng(0).uniform(0.5, 1.5, y.shape)
    claimed = checked.gradients(dy)
    try:
        for array in checked.arrays:
            evidence = look(checked, array, dy, y, claimed, Settings({"keep_prob": 0.5}))
            assert evidence is not None
            assert explain(evidence) is None
    finally:
        checked.finish()


def test_what_has_no_pattern_is_not_explained():
    noise = normal(6, 6, seed=9)
    assert affine(lambda g, dy, x, w, b: g + noise, 1) == ""


QUICK = {
    "dropout's backward without its scale": "dropout",
    "dropout without its mask in backward": "dropout",
    "dropout multiplies by keep_prob, consistently": "dropout",  # consistently: there is nothing to see
    "ReLU passes every gradient": "relu",
    "transposed weight in dense": "dense",
    "dense bias gradient averaged, not summed": "dense",
}


def test_planted_bugs_are_named():
    bugs = [replace(bug, op=QUICK[bug.what]) for bug in BUGS if bug.what in QUICK and bug.tier == "reference"]
    _, seen, named = measure(bugs)
    assert seen == named == len(QUICK) - 1


@pytest.mark.long
def test_seven_in_ten_of_the_planted_bugs_that_change_a_gradient_are_named():
    rows, seen, named = measure(BUGS)
    assert seen >= 50
    assert named >= 0.7 * seen, "\n".join(rows)
