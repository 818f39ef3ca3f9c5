"""`python -m minicnn gradcheck`: complete, and honest in its exit code."""

import inspect
import re

import pytest

from minicnn.checks import suite as gradcheck_suite
from minicnn.checks.suite import run_gradcheck
from minicnn.cli import main
from minicnn.engine import kernels, layers, reference
from minicnn.engine.layers import Layer


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
