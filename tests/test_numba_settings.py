"""Whatever the settings of Numba and of the container: it computes, or says in one line why it does not."""

import math
import os
import re

import numba
import pytest
from runs import new_process, write_data

from minicnn.cli.common import prepare_kernels
from minicnn.engine.numba_settings import cpu_quota, default_threads

PREDICT = """
import numpy as np, minicnn
print(minicnn.softmax_regression().predict(np.full((3, 28, 28), 9, np.uint8)).shape)
"""
TRAIN = """
import sys, minicnn.cli
sys.exit(minicnn.cli.main(["train", "--model", "softmax", "--steps", "2", "--batch-size", "5", "--quiet",
                           "--data", {data!r}, "--run-dir", "run", *{more!r}]))
"""


def train(directory, *more, **environment):
    data = directory / "data"
    if not data.exists():
        data.mkdir()
        write_data(data)
    return new_process(TRAIN.format(data=str(data), more=more), directory=directory, **environment)


WRONG = [
    ("NUMBA_NUM_THREADS", "0"),
    ("NUMBA_NUM_THREADS", "-2"),
    ("NUMBA_NUM_THREADS", "many"),
    ("NUMBA_THREADING_LAYER", "opm"),
    ("NUMBA_THREADING_LAYER", "tbb"),
    ("NUMBA_THREADING_LAYER_PRIORITY", "omp"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_setting_with_which_no_kernel_runs_is_one_line_and_no_run_directory(tmp_path, name, value):
    if value == "tbb":
        pytest.importorskip("numba.np.ufunc.omppool")
        if new_process("import numba.np.ufunc.tbbpool").returncode == 0:
            pytest.skip("it can be loaded here")
    done = train(tmp_path, **{name: value})
    assert done.returncode == 2
    assert re.fullmatch(
        rf"minicnn: error: {name}.*{value}.*; train --ops reference works without\n", done.stderr
    )
    assert not (tmp_path / "run").exists()
    assert train(tmp_path, "--ops", "reference", **{name: value}).returncode == 0


@pytest.mark.parametrize(("name", "value"), WRONG[:4])
def test_in_python_it_is_one_line_too_and_the_reference_computes(name, value):
    done = new_process(PREDICT, **{name: value})
    last = done.stderr.splitlines()[-1]
    assert re.search(rf'NumbaSettingsError: {name}.*{value}.*; compute with ops="reference" instead', last)
    reference = PREDICT.replace("softmax_regression()", "softmax_regression(ops='reference')")
    assert new_process(reference, **{name: value}).stdout == "(3, 10)\n"


def test_without_compilation_the_reference_takes_over_and_says_so(tmp_path):
    done = train(tmp_path, NUMBA_DISABLE_JIT="1")
    warning = "minicnn: warning: NUMBA_DISABLE_JIT is set: computing with the reference, plain NumPy\n"
    assert (done.returncode, done.stderr) == (0, warning)
    (tmp_path / "run").rename(tmp_path / "first")
    assert train(tmp_path, "--ops", "reference").stdout == done.stdout
    done = new_process(PREDICT, NUMBA_DISABLE_JIT="1")
    assert done.stdout == "(3, 10)\n"
    assert done.stderr.count("RuntimeWarning: NUMBA_DISABLE_JIT is set") == 1


def test_without_compilation_there_are_no_kernels_to_check():
    check = "import sys, minicnn.cli; sys.exit(minicnn.cli.main(['gradcheck', '--layer', 'relu']))"
    done = new_process(check, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 2
    assert done.stderr.endswith("error: there are no kernels to check while NUMBA_DISABLE_JIT is set\n")


# --- the number of threads ------------------------------------------------------------------------


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = "12:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "200000 100000\n"}, 2),
        (  # of the group and of what it is in, the smallest
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (  # within the container, the path of the host is not there
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            math.inf,
        ),
        ({"proc/self/cgroup": "nonsense\n\n::\n", "sys/fs/cgroup/cpu.max": "a b c\n"}, math.inf),
        ({"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/cpu.max": "0 100000\n"}, math.inf),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path, files, quota):
    assert cpu_quota(write(tmp_path, files)) == quota


@pytest.mark.parametrize(
    ("available", "quota", "threads"), [(8, math.inf, 8), (8, 2, 2), (8, 1.5, 2), (8, 0.1, 1), (2, 8, 2)]
)
def test_the_quota_limits_the_threads(monkeypatch, available, quota, threads):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr("minicnn.engine.numba_settings.cpu_quota", lambda: quota)
    assert default_threads(available) == threads
    monkeypatch.setenv("NUMBA_NUM_THREADS", "8")
    assert default_threads(available) == available


COUNT = """
import os, threading
from minicnn.engine import numba_settings
numba_settings.cpu_quota = lambda: 1.0
os.sched_getaffinity = lambda process: {0, 1, 2}
import numba
from minicnn.engine.kernels.jit import thread_count
from minicnn.engine.kernels.threads import set_threads
%s
counts = [thread_count()]
for _ in range(2):
    thread = threading.Thread(target=lambda: counts.append(thread_count()))
    thread.start()
    thread.join()
print(counts)
"""


@pytest.mark.parametrize(
    ("choice", "counts"),
    [("", [1, 1, 1]), ("set_threads(3)", [3, 1, 1]), ("numba.set_num_threads(2)", [2, 1, 1])],
)
def test_each_thread_of_the_program_obeys_the_quota_unless_somebody_chooses(choice, counts):
    done = new_process(COUNT % choice, NUMBA_NUM_THREADS=None)
    assert done.stdout == f"{counts}\n", done.stderr


@pytest.mark.parametrize(("less", "warned"), [(1, True), (0.5, False), (0, False), (-math.inf, False)])
def test_more_threads_than_the_quota_are_allowed_with_a_warning(monkeypatch, capsys, less, warned):
    most = numba.config.NUMBA_NUM_THREADS
    monkeypatch.setattr("minicnn.engine.numba_settings.cpu_quota", lambda: most - less)
    prepare_kernels(threads=most)
    assert numba.get_num_threads() == most
    why = f"more than the CPU quota of this container, {most - less}: they take turns"
    assert capsys.readouterr().err == (f"minicnn: warning: --threads {most}: {why}\n" if warned else "")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no such mask")
def test_the_affinity_mask_counts():
    code = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from minicnn.engine.kernels.jit import thread_count\nprint(thread_count())"
    assert new_process(code, NUMBA_NUM_THREADS=None).stdout == "1\n"
