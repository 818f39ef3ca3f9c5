"""`mpiexec -n N minicnn train`: the same bits as one process, and an end to everything that goes wrong."""

import os
import platform
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import assert_usage_error, run_main, write_idx
from runs import split
from sweeping import save_often, state_of
from teams import (
    STEPS,
    has_failure_mitigation,
    is_open_mpi,
    mpiexec,
    needs_mpi,
    own_lines,
    train_alone,
    train_together,
)

from minicnn.parallel import launch
from minicnn.parallel.lead import Ready, disagreement


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small data set: noise, of which nothing can be learned, but quickly."""
    directory = tmp_path_factory.mktemp("data")
    for name, count in (("train", 70), ("t10k", 21)):
        part = split(count, count)
        write_idx(directory / f"{name}-images-idx3-ubyte", part.images)
        write_idx(directory / f"{name}-labels-idx1-ubyte", part.labels)
    return directory


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The run that one process makes."""
    directory = tmp_path_factory.mktemp("alone") / "run"
    train_alone(*STEPS, "--data", data, "--run-dir", directory)
    return state_of(directory)


# --- the same bits -------------------------------------------------------------------------------


@needs_mpi
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_any_number_of_processes_makes_the_run_of_one(processes, alone, data, tmp_path):
    code, out, err = train_together(processes, *STEPS, "--data", data, "--run-dir", tmp_path / "run")
    assert (code, err) == (0, [])
    assert out.count("\n") == 1  # the result, once
    assert state_of(tmp_path / "run") == alone


@needs_mpi
@pytest.mark.parametrize(
    "options",
    [
        ["--plain"],
        ["--model", "softmax", "--keep-prob", "1"],
        ["--recipe", "fast", "--shards", "5", "--batch-size", "13"],
        ["--recipe", "best", "--shards", "3", "--batch-size", "7"],
    ],
    ids=" ".join,
)
def test_every_kind_of_run_can_be_shared_out(options, data, tmp_path):
    options = [*options, "--data", data]
    train_alone(*STEPS, *options, "--run-dir", tmp_path / "alone")
    code, _, err = train_together(3, *STEPS, *options, "--run-dir", tmp_path / "together")
    assert (code, err) == (0, [])
    assert state_of(tmp_path / "together") == state_of(tmp_path / "alone")


@needs_mpi
def test_a_run_is_resumed_by_another_number_of_processes(alone, data, tmp_path):
    run, quiet = tmp_path / "run", ["--quiet", "--threads", "1"]
    begin = ["--steps", "4", "--log-every", "5", "--data", data, "--run-dir", run]
    for processes, options in ((3, begin), (2, ["--resume", run, "--steps", "12"])):
        code, _, err = train_together(processes, *options, *quiet)
        assert (code, err) == (0, [])
    weights, metrics = state_of(run)
    assert weights == alone[0]
    assert set(metrics) >= set(alone[1])


# --- what cannot be ------------------------------------------------------------------------------


@needs_mpi
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ops", "reference"], "several processes train with compiled kernels only"),
        (["--shards", "2"], "3 processes: a batch of 50 images in 2 shards is enough for 2"),
        (["--data", "nowhere"], "nowhere"),
        (["--steps", "0"], "steps: expected an integer from 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_trained_is_told_once_and_leaves_nothing(options, words, tmp_path):
    code, out, err = train_together(3, *STEPS, *options, "--run-dir", tmp_path / "run")
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert words in err[0]
    assert not (tmp_path / "run").exists()


NO_DATA_AT_1 = """
import os
if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "1":
    from minicnn.parallel import lead
    def load_dataset(settings):
        raise ValueError("no such data here")
    lead.load_dataset = load_dataset
"""


@needs_mpi
def test_what_is_wrong_on_another_machine_is_told_by_the_leading_process(data, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_DATA_AT_1)
    options = [*STEPS, "--data", data, "--run-dir", tmp_path / "run"]
    code, out, err = train_together(3, *options, PYTHONPATH=str(tmp_path))
    assert (code, out) == (2, "")
    assert err == [f"minicnn: error: process 1 on {platform.node()}: no such data here"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Ready("far", "no such file"), "process 1 on far: no such file"),
        (Ready("far", "", "b", "512-bit"), "process 1 on far: its data is not that of process 0 on near"),
        (
            Ready("far", "", "a", "256-bit"),
            "process 1 on far: computes with 256-bit, process 0 on near with 512",
        ),
        (Ready("far", "", "a", "512-bit"), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_machine_that_would_compute_something_else_is_named(other, words):
    told = disagreement([Ready("near", "", "a", "512-bit"), other])
    assert told.startswith(words)
    assert bool(told) == bool(words)


def test_without_mpi4py_one_process_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "0")
    assert_usage_error(run_main(capsys, "train", "--steps", 1), 'pip install "minicnn[mpi]"')
    monkeypatch.setenv("PMI_RANK", "1")
    assert run_main(capsys, "train", "--steps", 1) == (2, [], [])


@needs_mpi
def test_an_mpiexec_of_another_mpi_is_recognized(tmp_path):
    command = [sys.executable, "-m", "minicnn", "train", "--steps", "1", "--run-dir", str(tmp_path / "run")]
    env = mpiexec(1, OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="0")[1]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "mpiexec started 4 processes" in own_lines(done.stderr)[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, False),
        ({"PMI_SIZE": "1"}, False),
        ({"PMI_SIZE": "4"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"PMI_SIZE": "many"}, False),
    ],
    ids=str,
)
def test_mpiexec_is_recognized_by_what_it_tells_its_processes(found, expected, monkeypatch):
    for name in launch.SIZES:
        monkeypatch.delenv(name, raising=False)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert launch.started_by_mpiexec() == expected


def test_mpi_is_not_imported_unless_mpiexec_started_the_process(tmp_path):
    code = (
        "import sys; from minicnn.cli import main; "
        f"main(['train', '--model', 'softmax', '--ops', 'reference', '--steps', '1', '--quiet', "
        f"'--run-dir', {str(tmp_path / 'run')!r}]); assert 'mpi4py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


# --- what goes wrong on the way ------------------------------------------------------------------


@needs_mpi
def test_a_training_that_diverges_ends_all_processes(data, tmp_path):
    options = [*STEPS, "--data", data, "--learning-rate", "1e10", "--run-dir", tmp_path / "run"]
    code, out, err = train_together(3, *options, timeout=60)
    assert (code, out) == (1, "")
    assert len(err) == 1
    assert "training diverged at step 2" in err[0]


@needs_mpi
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_processes_after_the_step(number, never_stopped, data, tmp_path):
    with training(data, tmp_path) as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    if not is_open_mpi():  # whose mpiexec kills its processes at once
        assert process.returncode == 128 + number
        assert "stopped at step" in own_lines(err)[-1]
    train_alone("--resume", tmp_path / "run", "--quiet")
    assert state_of(tmp_path / "run") == never_stopped


@needs_mpi
def test_after_a_process_was_killed_fewer_resume_the_run(never_stopped, data, tmp_path):
    with training(data, tmp_path) as process:
        kill_one_of(process)
        process.communicate(timeout=60)
    assert process.returncode != 0
    code, _, err = train_together(2, "--resume", tmp_path / "run", "--quiet")
    assert (code, err) == (0, [])
    assert state_of(tmp_path / "run") == never_stopped


@needs_mpi
@pytest.mark.skipif(not has_failure_mitigation(), reason="an MPI that cannot lose a process: no Open MPI")
def test_with_failure_mitigation_the_others_train_on(never_stopped, data, tmp_path):
    with training(data, tmp_path, "--with-ft", "ulfm") as process:
        kill_one_of(process)
        out, err = process.communicate(timeout=100)
    assert "minicnn: warning: 1 of 3 processes lost; 2 train on" in own_lines(err)
    assert "step 60" in out
    assert state_of(tmp_path / "run") == never_stopped


@needs_mpi
@pytest.mark.long
def test_a_run_survives_any_kill_at_any_moment(data, tmp_path):
    rng, kills = random.Random(0), 0
    options = [*LONGER, "--data", data, "--steps", "1500"]
    train_alone(*options, "--quiet", "--run-dir", tmp_path / "alone")
    options += ["--run-dir", tmp_path / "run"]
    while True:
        command, env = mpiexec(rng.choice([2, 3, 4]), *options)
        env |= save_often(tmp_path)
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            process.communicate(timeout=rng.uniform(5, 20))
        except subprocess.TimeoutExpired:
            kill_one_of(process, rng.choice)
            process.communicate(timeout=60)  # nothing hangs
            kills += 1
        if process.returncode == 0:
            break
        if (tmp_path / "run" / "config.json").exists():
            options = ["--resume", tmp_path / "run", "--threads", "1"]
    assert kills >= 3
    assert state_of(tmp_path / "run") == state_of(tmp_path / "alone")


LONGER = ["--steps", "60", "--log-every", "20", "--threads", "1"]


@pytest.fixture(scope="module")
def never_stopped(data, tmp_path_factory):
    """The run that is not stopped."""
    directory = tmp_path_factory.mktemp("never") / "run"
    train_alone(*LONGER, "--quiet", "--data", data, "--run-dir", directory)
    return state_of(directory)


def training(data, tmp_path, *options_of_mpiexec):
    """Three processes that train, once they have made 20 steps."""
    command, env = mpiexec(3, *LONGER, "--data", data, "--run-dir", tmp_path / "run")
    command[1:1] = options_of_mpiexec
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 20"):
            break
    return process


def kill_one_of(process, choice=max):
    found = subprocess.run(
        ["pgrep", "-f", "--", "-m minicnn train"], capture_output=True, text=True, check=True
    )
    started = sorted(int(pid) for pid in found.stdout.split() if descends_from(int(pid), process.pid))
    if started:  # otherwise it has just ended
        os.kill(choice(started), signal.SIGKILL)


def descends_from(pid, ancestor):
    while pid > 1 and pid != ancestor:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            return False
        pid = int(stat.rpartition(")")[2].split()[1])
    return pid == ancestor
