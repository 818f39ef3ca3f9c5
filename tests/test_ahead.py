"""Kernels that another process compiles ahead are those that the training then finds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from runs import new_process

from minicnn.engine import kernels
from minicnn.engine.kernels.dry_run import dry_run

SETTINGS = [
    {"model": "softmax"},
    pytest.param({}, marks=pytest.mark.long),
    pytest.param({"plain": True}, marks=pytest.mark.long),
    pytest.param({"recipe": "fast"}, marks=pytest.mark.long),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_training_finds_every_kernel_compiled(tmp_path, settings):
    ahead = (
        "from minicnn.runs.warmup import compile_step\n"
        "from minicnn.runs.settings import settings_for\n"
        f"compile_step(settings_for(**{settings!r}), (28, 28, 1), 10, 2)"
    )
    done = new_process(ahead, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    options = [f"--{name}" if value is True else f"--{name}={value}" for name, value in settings.items()]
    words = json.dumps(["train", *options, "--steps", "1", "--run-dir", str(tmp_path / "run")])
    train = f"import sys, minicnn.cli; sys.exit(minicnn.cli.main({words}))"
    done = new_process(train, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_NUM_THREADS="2")
    assert (done.returncode, done.stderr) == (0, "")  # it would say that it is compiling


HELPERS = """
import subprocess
from minicnn import load_mnist
from minicnn.runs.warmup import compiling_ahead
from minicnn.engine.kernels import relu_forward
from minicnn.runs.settings import settings_for
import numpy as np

started = []
class Recorder(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        started.append(self)
subprocess.Popen = Recorder
with compiling_ahead(settings_for("softmax"), load_mnist()):
    {within}
{after}
print(len(started), all(helper.poll() is not None for helper in started))
"""
RELU = "relu_forward(np.zeros((2, 2), np.float32))"


@pytest.mark.parametrize(
    ("within", "after", "threads", "expected"),
    [
        pytest.param(RELU, "", "2", "1 True", id="one helper, which ends with the block"),
        pytest.param(RELU, "", "1", "0 True", id="none for one thread"),
        pytest.param("pass", RELU, "2", "0 True", id="none after the block"),
    ],
)
def test_who_helps(tmp_path, within, after, threads, expected):
    code = HELPERS.format(within=within, after=after)
    done = new_process(code, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_NUM_THREADS=threads)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_in_a_dry_run_kernels_are_recorded_and_leave_zeros():
    x = np.array([[-1.0, 2.0]], np.float32)
    with dry_run() as calls:
        y, _ = kernels.relu_forward(x.copy())
    np.testing.assert_array_equal(y, 0)
    names = [kernel.function.__name__ for kernel, _ in calls]
    assert [name for name in names if name != "_keep_on"] == ["_relu"]  # that one places workers
    y, _ = kernels.relu_forward(x)
    np.testing.assert_array_equal(y, [[0, 2]])


def test_a_helper_ends_with_its_parent_even_if_that_is_killed(tmp_path):
    code = HELPERS.format(within=RELU + "\n    print(started[0].pid, flush=True); time.sleep(60)", after="")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", "import time" + code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        helper = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{helper}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{helper}").exists()


# --- what the helper runs, and who is told ---


@pytest.mark.parametrize("flags", [["-I"], ["-E", "-s"], []], ids=" ".join)
def test_the_helper_runs_no_code_that_its_parent_does_not(tmp_path, flags):
    planted, ran = tmp_path / "planted", tmp_path / "ran"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(f"open({str(ran)!r}, 'a').write('.')")
    code = HELPERS.format(within=RELU, after="helper, = started\nprint(helper.args[1])")
    command = [sys.executable, *flags, "-c", f"import sys; sys.path[:] = {sys.path}\n{code}"]
    environment = os.environ | {
        "PYTHONPATH": str(planted),
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "NUMBA_NUM_THREADS": "2",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("-I\n1 True\n", "")
    assert ran.exists() == (not flags)
    assert not ran.exists() or ran.read_text() == "."  # the parent itself, once


ANNOUNCE = """
import sys
import numpy as np
{before}
from minicnn.engine.kernels import relu_forward
relu_forward(np.zeros((2, 2), np.float32))
relu_forward(np.zeros((2, 2)))
"""
TERMINAL = "sys.stderr.isatty = lambda: True"
LINE = "minicnn: compiling kernels (first run only, about 20 s)\n"


@pytest.mark.parametrize(
    ("before", "line"),
    [
        pytest.param(TERMINAL, LINE, id="at a terminal"),
        pytest.param("", "", id="in a pipe"),
        pytest.param("sys.stderr = None", "", id="without stderr"),
        pytest.param(f"{TERMINAL}; import numba; numba.njit(lambda: 1)()", LINE, id="not for others"),
    ],
)
def test_a_person_is_told_once_that_kernels_are_compiled(tmp_path, before, line):
    code = ANNOUNCE.format(before=before)
    assert new_process(code, NUMBA_CACHE_DIR=str(tmp_path)).stderr == line
    assert new_process(code, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""  # nothing is compiled
