"""A disk that is full, or that may not be written: one line says so, and what was saved stays."""

import os
import pwd
import re
from contextlib import redirect_stderr

import numpy as np
import pytest
from runs import exit_code, limit, new_run, reopen, start_child, write_data

from minicnn.cli import main
from minicnn.runs import checkpoint
from minicnn.runs.checkpoint import NEWEST
from minicnn.runs.directory import METRICS, RunError
from minicnn.runs.loop import train

pytestmark = [
    pytest.mark.usefixtures("small_networks"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
POINTS = 50
NO_MORE_BYTES = "RLIMIT_FSIZE"  # a write beyond the limit fails, after what fits was written


def test_a_save_that_the_disk_cuts_anywhere_leaves_the_old_checkpoint(tmp_path):
    arrays = {"a": np.arange(5000, dtype=np.float32)}
    checkpoint.save(tmp_path, arrays, {"step": 1})
    before = (tmp_path / NEWEST).read_bytes()
    for size in np.linspace(0, len(before) - 1, POINTS, dtype=int).tolist():
        with limit(NO_MORE_BYTES, size), pytest.raises(OSError, match="File too large"):
            checkpoint.save(tmp_path, arrays, {"step": 2})
        assert [path.name for path in tmp_path.iterdir()] == [NEWEST]
        assert (tmp_path / NEWEST).read_bytes() == before


def test_a_disk_that_fills_up_anywhere_in_a_run_is_one_line_and_costs_no_checkpoint(tmp_path):
    data = write_data(tmp_path)
    options = ["--model", "softmax", "--ops", "reference", "--batch-size", "5", "--log-every", "2", "--quiet"]
    argv = ["train", *options, "--data", str(data), "--run-dir", str(tmp_path / "r")]
    assert main([*argv, "--steps", "4"]) == 0
    before = (tmp_path / "r" / NEWEST).read_bytes()
    goes_on = ["train", "--resume", str(tmp_path / "r"), "--steps", "8", "--quiet"]
    shortest = len(before) - 16  # the time in the header may need a few digits fewer
    for size in np.linspace(0, shortest, POINTS, dtype=int).tolist():
        reader, writer = os.pipe()  # a file would be cut too

        def work(size=size, writer=writer):
            with open(writer, "w") as pipe, redirect_stderr(pipe), limit(NO_MORE_BYTES, size):
                return main(goes_on)

        child = start_child(work)
        os.close(writer)
        with open(reader) as pipe:
            saved = (
                f"{tmp_path / 'r'} contains the state after step 4; resume with: .* --resume {tmp_path / 'r'}"
            )
            expected = rf"minicnn: error: {tmp_path / 'r'}: cannot be written \(File too large\); {saved}\n"
            assert re.fullmatch(expected, pipe.read())
        assert exit_code(child) == 2
        assert (tmp_path / "r" / NEWEST).read_bytes() == before
    assert main(goes_on) == 0


def test_a_log_line_that_does_not_fit_on_the_disk_ends_the_run_with_its_checkpoint(tmp_path):
    run = new_run(tmp_path / "r", steps=9)

    def fill_the_disk(measurement):
        (run.directory / METRICS).unlink(missing_ok=True)
        (run.directory / METRICS).symlink_to("/dev/full")

    with pytest.raises(RunError, match="r: cannot be written .No space left on device"):
        train(run, log=fill_the_disk)
    (run.directory / METRICS).unlink()
    assert reopen(run.directory).step == 0


def without_privileges(directory, work):
    """Do `work` in a child that works in `directory` and may write only where everybody may."""

    def unprivileged():
        os.chdir(directory)
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(pwd.getpwnam("nobody").pw_gid)
            os.setuid(pwd.getpwnam("nobody").pw_uid)
        return work()

    return exit_code(start_child(unprivileged))


def steps_before_refusal(run):
    """How many steps are made before the run is refused for its directory."""
    steps = []
    with pytest.raises(RunError, match="cannot be written .Permission denied"):
        train(run, progress=steps.append)
    return len(steps)


def test_resuming_in_a_directory_that_may_not_be_written_is_refused_before_the_first_step(tmp_path):
    run = new_run(tmp_path / "r")
    os.chmod(run.directory, 0o555)
    for file in run.directory.iterdir():
        os.chmod(file, 0o444)
    try:
        assert without_privileges(run.directory, lambda: steps_before_refusal(reopen("."))) == 0
    finally:
        os.chmod(run.directory, 0o755)


def test_beginning_in_a_directory_that_may_not_be_written_is_refused(tmp_path):
    def begin():
        with pytest.raises(RunError, match="cannot be written .Permission denied"):
            new_run("r")

    os.chmod(tmp_path, 0o555)
    try:
        assert without_privileges(tmp_path, begin) == 0
    finally:
        os.chmod(tmp_path, 0o755)
    assert list(tmp_path.iterdir()) == []
