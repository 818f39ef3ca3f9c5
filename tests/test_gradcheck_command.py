"""`python -m minicnn gradcheck`: complete, and honest in its exit code."""

import re

import numpy as np
import pytest

from minicnn.checks import suite as gradcheck_suite
from minicnn.checks.examples import layer_classes
from minicnn.checks.suite import run_gradcheck
from minicnn.cli import main
from minicnn.engine import kernels, reference


def test_every_operation_and_every_layer_is_in_the_command():
    pairs = {name.removesuffix("_backward") for name in kernels.__all__ if name.endswith("_backward")}
    assert {name for name, _ in gradcheck_suite.OPERATIONS} == pairs
    checks = gradcheck_suite.all_checks()
    for name in (*pairs, *layer_classes(), "network"):
        assert {check.ops for check in checks if check.name == name} == {"reference", "kernels"}


@pytest.mark.parametrize("name", ["dense", "ReLU", "convrelupool", "softmax_cross_entropy"])
def test_one_layer_can_be_chosen(name, capsys):
    assert run_gradcheck(name, seed=3)
    out = capsys.readouterr().out.splitlines()
    rows = [line for line in out[1:-2] if line]
    assert all(row.lower().startswith(name.lower()) for row in rows)
    assert out[-1] == f"gradients right in {len(rows)} of {len(rows)} checks (seed 3)"


def test_layers_whose_evaluation_differs_are_checked_in_both(capsys):
    assert run_gradcheck("Dropout")
    out = capsys.readouterr().out
    for what in "Dropout layer             ", "Dropout layer, evaluation ":
        assert out.count(f"\n{what}") == 2
    assert "\nReLU layer, evaluation" not in out


def test_the_operations_are_checked_with_their_options():
    """Evaluation's statistics are constants, the other arrays are not."""
    report = gradcheck_suite.check_operation("batch_norm2d", "evaluation", reference)
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "scale", "shift"]
    zeros = gradcheck_suite.check_operation("dense", "", reference, dy=np.zeros(()))
    assert [array.verdict for array in zeros.arrays] == ["zero"] * 3


def test_an_unknown_layer_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"layer: expected one of conv2d, .*ReLU, network, got 'lstm'"):
        run_gradcheck("lstm")


def test_all_gradients_are_correct():
    assert run_gradcheck()


def test_a_wrong_gradient_fails_the_command(monkeypatch, capsys):
    correct = reference.relu_backward
    monkeypatch.setattr(reference, "relu_backward", lambda dy, cache: 1.001 * correct(dy, cache))
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
