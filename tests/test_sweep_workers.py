"""Sweeps on Dask's workers: whatever is killed, at whatever moment, the runs end with the same bits."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from sweeping import one_worker_here, start_sweep, states, sweep_options

from minicnn.sweeps.directory import conducting, step_of
from minicnn.sweeps.engine import EngineError, workers
from minicnn.sweeps.grid import Grid
from minicnn.sweeps.sweep import conduct

pytest.importorskip("distributed", reason="distributed is not installed")
pytest.importorskip("cryptography", reason="cryptography is not installed")
psutil = pytest.importorskip("psutil")  # a dependency of distributed

GIVEN = {"model": "softmax", "ops": "reference", "batch_size": 5, "log_every": 100, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def grid(data):
    return Grid(GIVEN | {"data": str(data), "steps": 3000}, {"seed": [0, 1, 2]})


@pytest.fixture(scope="module")
def whole(grid, tmp_path_factory):
    """The runs of a sweep that nobody disturbed, trained in this process."""
    directory = tmp_path_factory.mktemp("whole")
    with one_worker_here(1, 1) as pool, conducting(directory, grid):
        assert conduct(directory, grid.cells, pool, threads=1).done == 3
    return states(directory)


def argv_of(grid, directory, *more):
    steps = ("--set", f"steps={grid.given['steps']}", "--set", "learning_rate=0.1")
    return sweep_options(grid.given["data"], directory, *steps, "--seeds", "0-2", "--at-once", 2, *more)


def wait_until(condition, process, seconds=120):
    """Wait for something that a sweep does; it must not end before."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.02)


def steps_in(directory, grid):
    return [step_of(directory, cell) for cell in grid.cells]


def worker_processes(process):
    """The processes that train, of a sweep in a process of its own."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


# --- a local cluster ---


def test_a_run_whose_worker_was_killed_goes_on_elsewhere_to_the_same_bits(grid, whole, tmp_path):
    process = start_sweep(argv_of(grid, tmp_path / "s"), tmp_path)
    wait_until(lambda: max(steps_in(tmp_path / "s", grid)) >= 500, process)
    for worker in worker_processes(process):
        worker.kill()
    out, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (0, "")
    assert len(re.findall(r"^seed=\d  test accuracy ", out, re.MULTILINE)) == 3
    assert states(tmp_path / "s") == whole


def test_ctrl_c_ends_in_one_line_and_the_same_command_does_the_rest(grid, whole, tmp_path):
    process = start_sweep(argv_of(grid, tmp_path / "s"), tmp_path)
    wait_until(lambda: max(steps_in(tmp_path / "s", grid)) >= 500, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert all(line.startswith(("minicnn: stopped; ", "stopping: ")) for line in err.splitlines())
    assert re.search(r"stopped; [0-2] of 3 runs are complete; resume with: .* sweep --dir ", err)
    process = start_sweep(["sweep", "--dir", str(tmp_path / "s")], tmp_path)
    assert process.communicate(timeout=200)[1] == ""
    assert states(tmp_path / "s") == whole


@pytest.mark.long
def test_after_kill_9_no_worker_is_left_and_the_same_command_does_the_rest(grid, whole, tmp_path):
    process = start_sweep(argv_of(grid, tmp_path / "s"), tmp_path)
    wait_until(lambda: max(steps_in(tmp_path / "s", grid)) >= 500, process)
    left = worker_processes(process)
    assert left
    process.kill()
    process.communicate()
    assert psutil.wait_procs(left, timeout=30)[1] == []
    process = start_sweep(argv_of(grid, tmp_path / "s"), tmp_path)
    assert process.communicate(timeout=200)[1] == ""
    assert states(tmp_path / "s") == whole


def test_nobody_else_can_talk_to_the_workers():
    import distributed

    with workers(1, threads=1) as pool:
        address = pool.executor._client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert pool.executor.submit(os.getpid).result() != os.getpid()
        for protocol in ("tcp", "tls"):
            with pytest.raises((OSError, TypeError, TimeoutError)):
                distributed.Client(address.replace("tls", protocol), timeout="2s", set_as_default=False)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_workers_killed_at_random_moments_cost_time_only(grid, whole, tmp_path, seed):
    rng, kills = random.Random(seed), 0
    process = start_sweep(argv_of(grid, tmp_path / "s"), tmp_path)
    wait_until(lambda: max(steps_in(tmp_path / "s", grid)) > 0, process)
    while process.poll() is None:
        time.sleep(rng.uniform(0, 4))
        with contextlib.suppress(psutil.NoSuchProcess):
            if kills < 12 and (found := worker_processes(process)):
                rng.choice(found).kill()
                kills += 1
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert kills > 3
    assert states(tmp_path / "s") == whole


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_stopped_at_ten_random_moments_ends_with_the_same_files(grid, whole, tmp_path, number):
    rng, stopped = random.Random(int(number)), 0
    for _ in range(10):
        process = start_sweep(argv_of(grid, tmp_path / "s"), tmp_path)
        time.sleep(rng.uniform(0.5, 15))
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=100)
        assert "Traceback" not in err
        stopped += process.returncode != 0
    assert stopped >= 5
    process = start_sweep(argv_of(grid, tmp_path / "s"), tmp_path)
    assert process.communicate(timeout=300)[1] == ""
    assert process.returncode == 0
    assert states(tmp_path / "s") == whole


# --- a scheduler ---


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def dask(tmp_path):
    """Starts `dask ...` in processes of their own, which end with the test."""
    started = []

    def start(*words):
        command = [sys.executable, "-m", "dask", *map(str, words)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, start_new_session=True, cwd=tmp_path, **quiet))
        return started[-1]

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def scheduler(dask):
    """The address of a scheduler, and its process."""
    port = free_port()
    process = dask("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    return f"tcp://127.0.0.1:{port}", process


def start_worker(dask, address, threads=1):
    return dask("worker", address, "--nworkers", 1, "--nthreads", threads, "--no-dashboard")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("minicnn.sweeps.engine.PATIENCE", 1.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(EngineError, match=f"--scheduler: no answer from {address}"), workers(1, 1, address):
        pass


@pytest.mark.long
def test_a_real_scheduler_and_workers_train_and_survive_the_loss_of_one(
    grid, whole, tmp_path, dask, scheduler
):
    address, _ = scheduler
    first = start_worker(dask, address)
    start_worker(dask, address)
    process = start_sweep(without_at_once(argv_of(grid, tmp_path / "s", "--scheduler", address)), tmp_path)
    wait_until(lambda: max(steps_in(tmp_path / "s", grid)) >= 500, process)
    os.killpg(first.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert states(tmp_path / "s") == whole


@pytest.mark.long
def test_without_its_scheduler_a_sweep_ends_and_names_the_runs(grid, tmp_path, dask, scheduler):
    address, server = scheduler
    start_worker(dask, address)
    process = start_sweep(without_at_once(argv_of(grid, tmp_path / "s", "--scheduler", address)), tmp_path)
    wait_until(lambda: max(steps_in(tmp_path / "s", grid)) >= 500, process)
    os.killpg(server.pid, signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "the scheduler is gone" in err
    assert "Traceback" not in err


@pytest.mark.long
@pytest.mark.parametrize("threads", [0, 2])
def test_a_scheduler_without_suitable_workers_is_refused(grid, tmp_path, dask, scheduler, threads):
    address, _ = scheduler
    if threads:
        start_worker(dask, address, threads)
    process = start_sweep(without_at_once(argv_of(grid, tmp_path / "s", "--scheduler", address)), tmp_path)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2
    assert err.startswith("minicnn: error: --scheduler: ")
    assert f"dask worker {address} --nworkers N --nthreads 1" in err
    assert len(err.splitlines()) == 1


def without_at_once(argv):
    place = argv.index("--at-once")
    return argv[:place] + argv[place + 2 :]
