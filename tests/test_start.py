"""`train --from`: a new run that begins with the weights of a trained network."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from commands import assert_usage_error, options, run_main

from minicnn import Dense, Flatten, Sequential, load_network
from minicnn.cli import main
from minicnn.runs.directory import read_network


@pytest.fixture
def here(tmp_path, monkeypatch, data, capsys):
    """A directory with the run `first`, trained for three steps."""
    monkeypatch.chdir(tmp_path)
    assert main([*options(data, "--steps", 3, "--run-dir", "first"), "--quiet"]) == 0
    capsys.readouterr()
    return tmp_path


def weights(directory, name="checkpoint.safetensors"):
    return load_network(Path(directory) / name, ops="reference").values


@pytest.mark.parametrize("source", ["first", "network.safetensors"])
def test_the_new_run_begins_with_the_weights_of_the_old_and_the_old_stays(capsys, here, data, source):
    read_network("first").save("network.safetensors")
    before = {path: path.read_bytes() for path in Path("first").iterdir()}
    argv = options(data, "--steps", 1, "--run-dir", "second", "--from", source)
    argv[argv.index("--learning-rate") + 1] = "1e-30"
    assert run_main(capsys, *argv)[0] == 0
    assert np.array_equal(weights("second"), weights("first"))
    assert {path: path.read_bytes() for path in Path("first").iterdir()} == before
    assert json.loads(Path("second/config.json").read_text())["started_from"] == os.path.abspath(source)


def test_a_run_from_another_is_resumed_bit_for_bit(here, data):
    more = [*options(data, "--run-dir", "whole", "--from", "first", "--steps", 6), "--quiet"]
    assert main(more) == 0
    half = [*options(data, "--run-dir", "half", "--from", "first", "--steps", 3), "--quiet"]
    assert main(half) == 0
    assert main(["train", "--resume", "half", "--steps", "6", "--quiet"]) == 0
    assert np.array_equal(weights("whole"), weights("half"))


def test_without_its_checkpoint_such_a_run_does_not_begin_again_from_its_seed(capsys, here, data):
    assert main([*options(data, "--steps", 3, "--run-dir", "second", "--from", "first"), "--quiet"]) == 0
    for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors"):
        Path("second", name).unlink()
    capsys.readouterr()
    assert_usage_error(run_main(capsys, "train", "--resume", "second"), "second: no checkpoint")


def test_a_network_that_does_not_fit_is_refused_and_leaves_nothing(capsys, here, data):
    layers = [Flatten(), Dense(784, 7, rng=0, ops="reference", name="fc")]
    Sequential(layers, (28, 28, 1)).save("seven.safetensors")
    for source, word in (
        ("seven.safetensors", "seven.safetensors: not a network that this run could train"),
        ("nowhere", "nowhere"),
    ):
        result = run_main(capsys, *options(data, "--run-dir", "second", "--from", source))
        assert_usage_error(result, word)
    assert not Path("second").exists()


def test_from_and_resume_are_not_combined(capsys, here):
    assert_usage_error(
        run_main(capsys, "train", "--resume", "first", "--from", "first"), "--from", "--resume"
    )


def test_a_run_that_learns_nothing_is_told_so_once(capsys, here, data):
    argv = options(data, "--steps", 400, "--log-every", 100, "--run-dir", "stuck")
    argv[argv.index("--learning-rate") + 1] = "1e-12"
    code, _, err = run_main(capsys, *argv)
    assert code == 0
    hint = "minicnn: warning: no better than guessing after 200 steps; the learning rate 1e-12 "
    assert [line[: len(hint)] for line in err] == [hint]
