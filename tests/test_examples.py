"""The programs in examples/: each runs as a reader would run it, is short, and fails when it should."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
MOST_LINES = 40
# What each is run with here: few steps, few images, and a target that so few steps reach.
SMALL = {
    "another_network": ["--steps", "40", "--images", "300", "--target", "0.5", "--ops", "reference"],
    "own_layer": [],
    "train": ["--steps", "60", "--images", "500", "--target", "0.7"],
}
every_example = pytest.mark.parametrize("name", SMALL)


def run(name, *options):
    program = [sys.executable, EXAMPLES / f"{name}.py", *options]
    return subprocess.run(program, capture_output=True, text=True, timeout=240)


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SMALL)


@every_example
def test_an_example_runs_to_its_end(name):
    result = run(name, *SMALL[name])
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


@every_example
def test_an_example_is_short_and_begins_with_what_it_shows(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    assert len(source.splitlines()) <= MOST_LINES
    assert f"python examples/{name}.py" in ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize("name", ["another_network", "train"])
def test_an_example_fails_when_its_network_does_not_learn(name):
    result = run(name, *SMALL[name], "--steps", "0", "--target", "0.5")
    assert result.returncode == 1
    assert "expected a test accuracy of at least 0.5" in result.stderr


def test_an_example_can_keep_its_network(tmp_path):
    from minicnn import load_network

    result = run("train", *SMALL["train"], "--save", tmp_path / "network.safetensors")
    assert result.returncode == 0
    assert load_network(tmp_path / "network.safetensors").name == "tutorial"
