"""What the tests of several processes share: trainings that mpiexec starts, and what has become of them."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

STEPS = ["--steps", "12", "--log-every", "5", "--quiet", "--threads", "1"]


def find_mpiexec():
    """The mpiexec that belongs to mpi4py here, or None."""
    beside = Path(sysconfig.get_path("scripts")) / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def missing():
    """Why several processes cannot be tried here, or nothing."""
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return f'no MPI ({error}); pip install "minicnn[mpi]"'
    return "" if find_mpiexec() else "no mpiexec"


needs_mpi = pytest.mark.skipif(bool(missing()), reason=missing())


def mpiexec(processes, *train, **environment):
    """The command `mpiexec -n PROCESSES minicnn train ...`, and the environment of its processes."""
    more = ["--allow-run-as-root", "--oversubscribe"] if is_open_mpi() else []
    command = [find_mpiexec(), *more, "-n", str(processes), sys.executable, "-m", "minicnn", "train"]
    return [*command, *map(str, train)], os.environ | environment


def is_open_mpi():
    from mpi4py import MPI

    return "Open MPI" in MPI.Get_library_version()


def has_failure_mitigation():
    """Whether those that are left can go on when a process is lost."""
    return not missing() and is_open_mpi()


def train_together(processes, *train, timeout=120, **environment):
    """Exit code, stdout, and the lines of stderr that are minicnn's."""
    command, env = mpiexec(processes, *train, **environment)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    return done.returncode, done.stdout, own_lines(done.stderr)


def own_lines(text):
    """The lines of minicnn: mpiexec and MPI add some of their own."""
    return [line for line in text.splitlines() if "minicnn: " in line]


def train_alone(*train):
    command = [sys.executable, "-m", "minicnn", "train", *map(str, train)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
