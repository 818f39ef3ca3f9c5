"""What the tests of sweeps share: workers in this process, sweeps in another, what the runs have become."""

import contextlib
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import safetensors.numpy
from runs import metrics_but_seconds

from minicnn import pictures
from minicnn.storage.outputs import PICTURES
from minicnn.sweeps import engine
from minicnn.sweeps.engine import Pool

SMALL = ["--model", "softmax", "--set", "ops=reference", "--set", "batch_size=5", "--set", "log_every=100"]
SAVE_OFTEN = "from minicnn.runs import run; run.SAVE_EVERY = 0.1; run.SAVE_SHARE = float('inf')\n"


@contextlib.contextmanager
def one_worker_here(count, threads, scheduler=None):
    """Instead of `engine.workers`: a thread, and no Dask."""
    with ThreadPoolExecutor(1) as executor:
        try:
            yield Pool(executor, lambda: 1)
        finally:
            executor.shutdown(cancel_futures=True)


@pytest.fixture
def workers_here(monkeypatch):
    """Let sweeps train in this process, whether or not Dask is installed, and draw no pictures of runs."""
    monkeypatch.setattr(engine, "workers", one_worker_here)
    monkeypatch.setattr(engine, "expect_installed", lambda: None)
    monkeypatch.setattr(
        pictures, "draw_run", lambda run, _: [(run.directory / name).touch() for name in PICTURES]
    )


def sweep_options(data, directory, *more):
    return ["sweep", *SMALL, "--data", str(data), "--dir", str(directory), *map(str, more)]


def state_of(run):
    """A digest of weights and moments, and the metrics without their times."""
    arrays = safetensors.numpy.load_file(run / "checkpoint.safetensors")
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest(), metrics_but_seconds(run)


def states(directory):
    """The state of every run in the directory of a sweep, and the names of its files, by the run's name."""
    runs = [path.parent for path in directory.glob("*/config.json")]
    return {run.name: (state_of(run), sorted(path.name for path in run.iterdir())) for run in runs}


def save_often(scratch):
    """An environment in which runs are saved ten times a second."""
    place = scratch / "save often"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(SAVE_OFTEN)
    return {"PYTHONPATH": os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])}


def start_sweep(argv, scratch, **more):
    """A sweep in a process group of its own, whose runs are saved ten times a second."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "minicnn", *argv]
    environment = os.environ | save_often(scratch)
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes, **more)
