"""Whatever ends a run, at whatever moment: the run is not lost, and what is on the disk is whole."""

import functools
import os
import random
import re
import select
import signal
import stat
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from runs import (
    assert_same_state,
    exit_code,
    killed_at_system_call,
    new_cnn_run,
    reopen,
    start_child,
    stop_at,
    write_data,
)

from minicnn import cli
from minicnn.cli import main
from minicnn.cli import train as train_module
from minicnn.runs import checkpoint
from minicnn.runs import run as run_module
from minicnn.runs.checkpoint import NEWEST, PREVIOUS
from minicnn.runs.directory import CONFIG, LOCK, METRICS
from minicnn.runs.loop import train

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def arrays_of(step):
    """The state of a step: every entry tells the step."""
    return {"a.weight": np.full((5, 5), step, np.float32), "b.weight": np.full(300_000, step, np.float32)}


def save(directory, step):
    checkpoint.save(directory, arrays_of(step), {"step": step})


def step_of(path):
    """The step of a whole checkpoint."""
    found = checkpoint.read(path, arrays_of(0))
    for name, array in arrays_of(found.facts["step"]).items():
        np.testing.assert_array_equal(found.arrays[name], array)
    return found.facts["step"]


# --- SIGKILL ---


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs Linux")
def test_killed_at_any_system_call_of_a_save_the_checkpoints_are_whole(tmp_path):
    save(tmp_path, 0)
    save(tmp_path, 1)
    number, step = 0, 1
    while killed_at_system_call(number, functools.partial(save, tmp_path, step + 1)):
        newest, previous = step_of(tmp_path / NEWEST), step_of(tmp_path / PREVIOUS)
        assert newest in (step, step + 1)
        assert step - 1 <= previous <= newest
        number, step = number + 1, newest
    assert number > 30
    assert step_of(tmp_path / NEWEST) == step + 1


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs Linux")
@pytest.mark.usefixtures("small_networks", "save_every_step")
@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_any_system_call_of_a_step_with_log_line_and_save_the_run_goes_on(tmp_path, every):
    whole = new_cnn_run(tmp_path / "whole", steps=4, log_every=2)
    train(whole)
    number, killed = 0, True
    while killed:
        directory = tmp_path / str(number)
        stop_at(new_cnn_run(directory, steps=4, log_every=2), 1)
        run = reopen(directory)
        killed = killed_at_system_call(number, functools.partial(train, run))
        run = reopen(directory)
        assert run.step >= 1
        train(run)
        assert_same_state(run, whole)
        assert {path.name for path in directory.iterdir()} <= {LOCK, CONFIG, METRICS, NEWEST, PREVIOUS}
        number += every
    assert number > 100


@pytest.mark.usefixtures("small_networks", "save_every_step")
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.long)])
def test_killed_at_random_moments_a_run_loses_at_most_one_interval(tmp_path, kills):
    new_cnn_run(tmp_path / "r", steps=10**6, log_every=3)
    rng, reached = random.Random(kills), 0
    for _ in range(kills):
        reader, writer = os.pipe()

        def work(writer=writer):
            train(reopen(tmp_path / "r"), progress=lambda _: os.write(writer, b"."))  # before each save

        child = start_child(work)
        os.close(writer)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert exit_code(child) == -signal.SIGKILL
        made = 0
        while dots := os.read(reader, 1 << 16):
            made += len(dots)
        os.close(reader)
        run = reopen(tmp_path / "r")
        assert reached + made - 1 <= run.step <= reached + made + 1
        reached = run.step
    run.prepare_directory()  # as --resume does
    assert reached >= 10

    whole = new_cnn_run(tmp_path / "whole", steps=10**6, log_every=3)
    stop_at(whole, reached)
    assert_same_state(run, whole)


@pytest.mark.long
def test_killed_200_times_while_saving_40_megabytes_the_checkpoints_are_whole(tmp_path):
    arrays = {"weight": np.zeros(10_000_000, np.float32)}
    checkpoint.save(tmp_path, arrays, {"step": 0})
    rng, reached = random.Random(0), 0

    def work():
        step = reached
        while True:
            step += 1
            arrays["weight"][:] = step
            checkpoint.save(tmp_path, arrays, {"step": step})

    for _ in range(200):
        child = start_child(work)
        time.sleep(rng.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        assert exit_code(child) == -signal.SIGKILL
        found = checkpoint.read(tmp_path / NEWEST, arrays)
        assert found.facts["step"] >= reached
        assert (found.arrays["weight"] == found.facts["step"]).all()
        reached = found.facts["step"]
        for leftover in tmp_path.glob(".*"):
            leftover.unlink()
    assert reached > 20


# --- power failures: a kill leaves what the system holds in memory, so the order of calls is compared ---


def test_data_is_on_the_disk_before_its_name_and_the_name_on_return(tmp_path, monkeypatch):
    save(tmp_path, 1)
    events = []
    fsync, link, replace = os.fsync, os.link, os.replace

    def record_fsync(handle):
        found = os.fstat(handle)
        events.append(("fsync", "directory" if stat.S_ISDIR(found.st_mode) else found.st_ino))
        fsync(handle)

    def record_link(source, target):
        events.append(("link", os.stat(source).st_ino))
        link(source, target)

    def record_replace(source, target):
        events.append(("replace", os.stat(source).st_ino, Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "link", record_link)
    monkeypatch.setattr(os, "replace", record_replace)
    old = os.stat(tmp_path / NEWEST).st_ino
    save(tmp_path, 2)
    new = os.stat(tmp_path / NEWEST).st_ino
    assert events == [
        ("fsync", new),
        ("link", old),
        ("replace", old, PREVIOUS),
        ("replace", new, NEWEST),
        ("fsync", "directory"),
    ]


@pytest.mark.usefixtures("small_networks")
def test_all_that_a_new_run_writes_is_on_the_disk_and_its_directories_too(tmp_path, monkeypatch):
    synced, fsync = set(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.add(os.fstat(handle).st_ino) or fsync(handle))
    run = new_cnn_run(tmp_path / "runs" / "r", steps=2)
    files = [path for path in run.directory.iterdir() if path.name != LOCK]  # which is empty
    places = [tmp_path, tmp_path / "runs", run.directory, *files]
    assert {os.stat(place).st_ino for place in places} <= synced
    synced.clear()
    train(run)
    names = (METRICS, NEWEST)
    assert {os.stat(run.directory / name).st_ino for name in names} <= synced


# --- I/O errors ---


@pytest.mark.parametrize("name", ["fsync", "link", "replace"])
@pytest.mark.parametrize("number", range(2))
def test_after_an_error_in_any_call_of_a_save_the_newest_is_whole(tmp_path, monkeypatch, name, number):
    save(tmp_path, 0)
    save(tmp_path, 1)
    original, calls = getattr(os, name), iter(range(100))

    def call(*args):
        if next(calls) == number:
            raise OSError(5, "Input/output error")
        return original(*args)

    monkeypatch.setattr(os, name, call)
    try:
        save(tmp_path, 2)
    except OSError:
        pass
    monkeypatch.undo()
    assert step_of(tmp_path / NEWEST) in (1, 2)
    step_of(tmp_path / PREVIOUS)
    assert {path.name for path in tmp_path.iterdir()} == {NEWEST, PREVIOUS}


# --- SIGINT, SIGTERM ---

BOTH = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def start_main(argv, output):
    """The command in a child that has begun, with its output in a file."""
    reader, writer = os.pipe()
    begin = cli._run

    def say_and_begin(argv):
        os.write(writer, b".")
        return begin(argv)

    def work():
        cli._run = say_and_begin
        with open(output, "w") as file, redirect_stdout(file), redirect_stderr(file):
            return main([str(a) for a in argv])

    child = start_child(work)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    return child


@BOTH
@pytest.mark.usefixtures("small_networks", "save_every_step")
@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.long)])
def test_a_signal_at_any_moment_leaves_a_valid_checkpoint_or_no_run(tmp_path, capfd, number, code, times):
    data, rng, runs = write_data(tmp_path), random.Random(times), 0
    for attempt in range(times):
        directory, output = tmp_path / f"r{attempt}", tmp_path / "output"
        more = ["--ops", "reference", "--batch-size", "5", "--log-every", "7", "--steps", "1000000"]
        child = start_main(["train", *more, "--data", data, "--run-dir", directory], output)
        while attempt % 3 and not (directory / PREVIOUS).exists():  # two of three while it trains
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        os.kill(child, number)
        assert exit_code(child) == code
        assert "Traceback" not in output.read_text()
        if directory.exists():
            runs += 1
            assert main(["evaluate", str(directory)]) == 0
            assert {path.name for path in directory.iterdir()} <= {LOCK, CONFIG, METRICS, NEWEST, PREVIOUS}
    assert runs > times / 2


@BOTH
@pytest.mark.usefixtures("small_networks")
def test_a_signal_while_a_run_is_made_leaves_none(tmp_path, monkeypatch, number, code):
    data, output = write_data(tmp_path), tmp_path / "output"
    argv = ["train", "--ops", "reference", "--data", data, "--run-dir", tmp_path / "above" / "r"]
    for place in ("make_run_directory", "write_config", "save"):
        owner = run_module.Run if place == "save" else run_module
        original = getattr(owner, place)

        def interrupted(*args, original=original):
            found = original(*args)
            os.kill(os.getpid(), number)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(owner, place, interrupted)
            assert exit_code(start_main(argv, output)) == code
        assert "Traceback" not in output.read_text()
        assert not (tmp_path / "above" / "r").exists()


@BOTH
@pytest.mark.usefixtures("small_networks")
def test_a_signal_while_pictures_are_drawn_leaves_the_finished_run(
    tmp_path, monkeypatch, capfd, number, code
):
    def draw(run, probabilities):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr(train_module, "draw_pictures", draw)
    data, output = write_data(tmp_path), tmp_path / "output"
    argv = ["train", "--ops", "reference", "--steps", "3", "--data", data, "--run-dir", tmp_path / "r"]
    assert exit_code(start_main(argv, output)) == code
    assert re.search(r"^test accuracy ", output.read_text(), flags=re.M)
    assert main(["evaluate", str(tmp_path / "r")]) == 0
