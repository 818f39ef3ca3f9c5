"""The programs in examples/: each runs as a reader would run it, is short, and fails when it should."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
MOST_LINES = 40
# What each is run with here: few steps, few images, and a target that so few steps reach.
SMALL = {
    "another_network": ["--steps", "40", "--images", "200", "--target", "0.5", "--ops", "reference"],
    "own_layer": [],
    "train": ["--steps", "60", "--images", "300", "--target", "0.7", "--save", "network.safetensors"],
}
every_example = pytest.mark.parametrize("name", SMALL)


def run(name, directory, *options):
    program = [sys.executable, EXAMPLES / f"{name}.py", *options]
    return subprocess.run(program, cwd=directory, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The result of an example, run once, and the directory that it ran in."""
    directory = tmp_path_factory.mktemp("examples")
    return functools.cache(lambda name: (run(name, directory, *SMALL[name]), directory))


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SMALL)


@every_example
def test_an_example_runs_to_its_end(name, finished):
    result, _ = finished(name)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


@every_example
def test_an_example_is_short_and_begins_with_what_it_shows(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    assert len(source.splitlines()) <= MOST_LINES
    assert f"python examples/{name}.py" in ast.get_docstring(ast.parse(source))


def test_an_example_can_keep_its_network(finished):
    from minicnn import load_network

    _, directory = finished("train")
    assert load_network(directory / "network.safetensors").name == "tutorial"


@pytest.mark.parametrize("name", ["another_network", "train"])
def test_an_example_fails_when_its_network_does_not_learn(name, tmp_path):
    result = run(name, tmp_path, "--steps", "0", "--images", "300", "--target", "0.5")
    assert result.returncode == 1
    assert result.stderr == "expected a test accuracy of at least 0.5\n"
