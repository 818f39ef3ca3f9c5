"""The three questions at the end of each notebook: that they are there, and that their numbers are right.

A number counts as found if it stands in the answer as `NUMBERS` prints it, with no digit before or after it.
"""

import re

import numpy as np
import pytest
from self_test_numbers import NUMBERS
from test_course import NOTEBOOKS, cells_of, course, every_notebook, text

import minicnn
from minicnn import gradient_check
from minicnn.engine.initializers import constant

HEADING = "## Check yourself"
QUESTION = re.compile(
    r"^\*\*(\d)\.\*\* (.+?)\n\n<details><summary>Answer</summary>\n\n(.+?)\n\n</details>", re.M | re.S
)


def self_test(path):
    """Questions and answers by number."""
    (cell,) = [cell for cell in cells_of(path) if text(cell).startswith(f"{HEADING}\n")]
    return {int(n): (question, answer) for n, question, answer in QUESTION.findall(text(cell))}


@every_notebook
def test_a_notebook_asks_three_questions_and_folds_their_answers(path):
    assert list(self_test(path)) == [1, 2, 3]


@every_notebook
def test_the_questions_stand_right_before_the_exercises(path):
    first_lines = [text(cell).split("\n")[0] for cell in cells_of(path)]
    after = first_lines[first_lines.index(HEADING) + 1]
    assert re.fullmatch("## Exercises?", after)


# --- their numbers --------------------------------------------------------------------------------


def stands_in(number, answer):
    return (
        re.search(rf"(?<![\d.])(?<!\d,){re.escape(number)}(?!\d|[.,]\d)", " ".join(answer.split()))
        is not None
    )


@pytest.mark.parametrize(
    ("notebook", "question", "numbers"), NUMBERS, ids=lambda v: "" if callable(v) else str(v)
)
def test_the_numbers_of_an_answer_are_what_they_compute_to(notebook, question, numbers):
    (path,) = [path for path in NOTEBOOKS if path.stem.startswith(notebook)]
    _, answer = self_test(path)[question]
    assert [number for number in numbers() if not stands_in(number, answer)] == []


@pytest.mark.parametrize(
    ("number", "found"),
    [
        ("16", True),
        ("6", False),
        ("1", False),
        ("1,226", True),
        ("226", False),
        ("3.7", False),
        ("3.75", True),
    ],
)
def test_a_number_is_found_only_as_a_whole(number, found):
    assert stands_in(number, "It is 16, or 3.75 and\n1,226.") == found


# --- what an answer claims besides ----------------------------------------------------------------


def first_layer_gradient(net):
    images, labels = course.digits("test", 100)
    loss = minicnn.SoftmaxCrossEntropy()
    loss.forward(net.forward(images, training=True), labels)
    net.backward(loss.backward())
    return net.parameters()[0].grad


def test_04_1_random_biases_let_the_units_above_zero_learn():
    net = course.mlp(weights=constant(0))
    biases = net.parameters()[1].value
    biases[:] = np.random.default_rng(0).normal(0, 0.1, 64)
    positive = biases > 0
    assert not first_layer_gradient(net).any()
    course.train(net, 1)
    gradient = first_layer_gradient(net)
    np.testing.assert_array_equal(gradient.any(axis=0), positive)
    assert len(np.unique(gradient[:, positive], axis=1).T) == positive.sum()


def test_06_3_a_sum_that_was_meant_as_a_mean_passes_the_gradient_check():
    def forward(x):
        return x.reshape(len(x), -1, 4).sum(axis=2), None

    pair = (forward, lambda dy, cache: dy.repeat(4, axis=1))
    assert gradient_check(pair, np.random.default_rng(0).normal(size=(3, 8))).ok
