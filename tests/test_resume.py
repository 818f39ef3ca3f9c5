"""A run that is stopped at any step and resumed ends as one that was never stopped, to the last bit."""

import os
import re
import signal
import subprocess
import sys

import pytest
from runs import assert_same_state, new_cnn_run, new_run, reopen, split, stop_at, write_data

from minicnn.data import Dataset
from minicnn.runs.loop import train
from minicnn.tutorial import RECIPES

STEPS = 40
THREE_PASSES = Dataset(train=split(53, 0), validation=split(2, 1), test=split(10, 2))  # 40 * 4 > 3 * 53


@pytest.fixture(scope="module", params=["softmax", *RECIPES])
def whole(request, small_networks, tmp_path_factory):
    """A function that begins the run in question, and the state in which it ends."""

    def begin(directory):
        shape = {"steps": STEPS, "data": THREE_PASSES, "log_every": 3}
        if request.param == "softmax":
            return new_run(directory, **shape)
        return new_cnn_run(directory, recipe=request.param, **shape)

    run = begin(tmp_path_factory.mktemp("whole") / "r")
    train(run)
    return begin, run


@pytest.mark.parametrize("step", range(1, STEPS))
def test_stopped_after_any_step_of_three_passes_and_resumed_is_never_stopped(tmp_path, whole, step):
    begin, uninterrupted = whole
    number = signal.SIGINT if step % 2 else signal.SIGTERM
    stop_at(begin(tmp_path / "r"), step, number)
    run = reopen(tmp_path / "r", data=THREE_PASSES)
    assert run.step == step
    train(run)
    assert_same_state(run, uninterrupted)


def test_a_finished_run_with_more_steps_is_never_stopped(tmp_path, whole):
    begin, uninterrupted = whole
    run = begin(tmp_path / "r")
    train(run)
    assert_same_state(reopen(tmp_path / "r", data=THREE_PASSES), uninterrupted)


@pytest.mark.usefixtures("small_networks")
def test_adam_and_dropout_have_a_state_that_is_saved(tmp_path):
    run = new_cnn_run(tmp_path / "r", steps=3)
    train(run)
    assert "dropout.rng" in run._facts()["random"]
    assert any(name.startswith("adam/v/") and array.any() for name, array in run.arrays().items())


def test_stopped_in_one_process_and_resumed_in_another_gives_the_same_files(tmp_path):
    data = write_data(tmp_path)
    options = ["--steps", "60", "--batch-size", "5", "--log-every", "20", "--data", str(data)]
    command = [sys.executable, "-m", "minicnn", "train"]
    run = {"cwd": tmp_path, "check": True, "capture_output": True}
    subprocess.run([*command, *options, "--run-dir", "whole"], **run)

    stopped = subprocess.Popen(
        [*command, *options, "--run-dir", "r"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    while not stopped.stdout.readline().startswith("step 20 "):
        pass
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait() == 143
    subprocess.run([*command, "--resume", "r"], **run)

    assert sorted(os.listdir(tmp_path / "r")) == sorted(os.listdir(tmp_path / "whole"))
    for name in os.listdir(tmp_path / "r"):
        one, other = ((tmp_path / run / name).read_bytes() for run in ("r", "whole"))
        if name == "metrics.csv":
            one, other = (re.sub(rb",[\d.]+$", b"", text, flags=re.M) for text in (one, other))
        if name.endswith(".safetensors"):  # the time is in there, and the digest of all
            one, other = (text[8 + int.from_bytes(text[:8], "little") :] for text in (one, other))
        assert name == "checkpoint.previous.safetensors" or one == other, name
