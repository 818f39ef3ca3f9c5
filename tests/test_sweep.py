"""A sweep is the runs that `minicnn train` would make, each in its own directory, until all are complete."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from commands import assert_usage_error, options, run_main
from filelock import FileLock
from runs import stop_at
from sweeping import one_worker_here, states, sweep_options, workers_here

from minicnn.cli import sweep_screen
from minicnn.runs.directory import LOCK, RunError, read_config
from minicnn.runs.run import Run, load_dataset
from minicnn.sweeps import cell as cell_module
from minicnn.sweeps import engine
from minicnn.sweeps.directory import conducting, is_complete, read_grid, step_of
from minicnn.sweeps.grid import Grid
from minicnn.sweeps.sweep import Progress, conduct, share

__all__ = ["workers_here"]
pytestmark = pytest.mark.usefixtures("workers_here")

STEPS = ("--set", "steps=200")


def grid_of(data, **varied):
    given = {"model": "softmax", "ops": "reference", "batch_size": 5, "log_every": 100, "steps": 200}
    return Grid(given | {"data": str(data)}, varied)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def trained(directory, grid, **more):
    """What `conduct` says of all cells of a grid."""
    with one_worker_here(1, 1) as pool, conducting(directory, grid):
        left = [cell for cell in grid.cells if not is_complete(directory, cell)]
        return conduct(directory, left, pool, threads=1, **more)


# --- the runs ---


def test_each_run_is_the_one_that_train_makes(capsys, data, tmp_path):
    argv = sweep_options(data, tmp_path / "s", *STEPS, "--seeds", "3,5", "--set", "learning_rate=0.1,0.2")
    assert run_main(capsys, *argv)[0] == 0
    for seed in (3, 5):
        for rate in ("0.1", "0.2"):
            run = tmp_path / "t" / f"learning_rate={rate},seed={seed}"
            more = ("--steps", 200, "--seed", seed, "--learning-rate", rate, "--run-dir", run)
            assert run_main(capsys, "train", *options(data, *more))[0] == 0
    assert states(tmp_path / "s") == states(tmp_path / "t")
    name = "learning_rate=0.1,seed=3"
    assert read_config(tmp_path / "s" / name) == read_config(tmp_path / "t" / name)


def test_one_value_is_for_all_runs_and_not_in_their_names(capsys, data, tmp_path):
    assert run_main(capsys, *sweep_options(data, tmp_path / "s", *STEPS, "--seeds", 7))[0] == 0
    settings, _ = read_config(tmp_path / "s" / "seed=7")
    assert (settings.model, settings.steps, settings.seed) == ("softmax", 200, 7)


def test_a_complete_sweep_trains_nothing_more(capsys, data, tmp_path, monkeypatch):
    argv = sweep_options(data, tmp_path / "s", *STEPS, "--seeds", "0-1")
    first = run_main(capsys, *argv)
    monkeypatch.delattr(engine, "workers")
    code, out, err = run_main(capsys, *argv)
    assert (code, err) == (0, [])
    assert out == first[1][-len(out) :]  # the table


def test_what_was_begun_is_resumed_and_ends_as_if_never_stopped(data, tmp_path):
    grid = grid_of(data, seed=[0, 1, 2])
    trained(tmp_path / "whole", grid)
    ended = []
    progress = trained(
        tmp_path / "s", grid, ended=lambda *one: ended.append(one), stopped=lambda: bool(ended)
    )
    assert progress.done == 1
    shutil.rmtree(tmp_path / "s" / "seed=1", ignore_errors=True)
    settings = grid.cells[1].settings
    stop_at(Run.create(settings, load_dataset(settings), tmp_path / "s" / "seed=1"), 50)
    (tmp_path / "s" / "seed=0" / "mistakes.png").unlink()  # as if killed before its last picture
    assert trained(tmp_path / "s", grid).done == 3
    assert states(tmp_path / "s") == states(tmp_path / "whole")


def test_a_finished_run_without_its_measurements_is_named(data, tmp_path):
    grid = grid_of(data, seed=[0, 1])
    trained(tmp_path, grid)
    (tmp_path / "seed=0" / "metrics.csv").write_text("damaged")
    failed = trained(tmp_path, grid).failed
    assert list(failed) == ["seed=0"]
    assert "damaged (then remove it)" in failed["seed=0"]
    assert step_of(tmp_path, grid.cells[1]) == 200


def test_a_run_that_another_process_still_trains_is_waited_for(data, tmp_path, monkeypatch):
    waits = []
    (tmp_path / "seed=0").mkdir()
    lock = FileLock(tmp_path / "seed=0" / LOCK, thread_local=False)
    lock.acquire()

    def wait(seconds):
        waits.append(seconds)
        lock.release()

    monkeypatch.setattr(cell_module, "time", SimpleNamespace(sleep=wait))
    assert trained(tmp_path, grid_of(data, seed=[0])).done == 1
    assert waits == [cell_module.WAIT]


# --- failures ---


def test_a_run_that_fails_does_not_stop_the_rest_and_is_named(capsys, data, tmp_path):
    rates = ("--set", "learning_rate=1e300,0.1", "--seeds", "0-1")
    code, out, err = run_main(capsys, *sweep_options(data, tmp_path / "s", *STEPS, *rates))
    assert code == 1
    assert [line.split("  ")[0] for line in out if "test accuracy" in line] == [
        "learning_rate=0.1,seed=0",
        "learning_rate=0.1,seed=1",
    ]
    assert any(line.startswith("learning_rate 1e+300  0 of 2") for line in out)
    assert err[0].startswith("minicnn: warning: learning_rate=1e+300,seed=0 failed: ")
    assert err[-1] == (
        "minicnn: 2 of 4 runs failed: learning_rate=1e+300,seed=0; learning_rate=1e+300,seed=1"
    )
    assert len(err) == 3


def test_an_error_that_nobody_foresaw_fails_one_run(data, tmp_path, monkeypatch):
    def train(run):
        if run.settings.seed == 0:
            raise ZeroDivisionError("never\nseen")
        original(run)

    original = cell_module.train
    monkeypatch.setattr(cell_module, "train", train)
    progress = trained(tmp_path, grid_of(data, seed=[0, 1]))
    assert progress.failed == {"seed=0": "ZeroDivisionError: never\nseen"}
    assert progress.done == 1


def test_a_worker_that_writes_elsewhere_has_failed(data, tmp_path, monkeypatch):
    monkeypatch.setattr(cell_module, "Path", lambda directory: tmp_path / "elsewhere")
    progress = trained(tmp_path / "s", grid_of(data, seed=[0]))
    assert progress.failed["seed=0"].startswith(f"not complete in {tmp_path / 's'}: written elsewhere")


def test_a_run_with_other_settings_is_left_alone(data, tmp_path):
    trained(tmp_path, grid_of(data, seed=[0]))
    (tmp_path / "sweep.json").unlink()
    before = contents(tmp_path / "seed=0")
    progress = trained(tmp_path, Grid(dict(grid_of(data).given) | {"steps": 300}, {"seed": [0]}))
    assert progress.failed == {"seed=0": f"{tmp_path / 'seed=0'}: holds a run with other settings"}
    assert contents(tmp_path / "seed=0") == before


def test_pictures_that_are_there_already_are_not_replaced(data, tmp_path):
    (tmp_path / "seed=0").mkdir()
    (tmp_path / "seed=0" / "curves.png").write_text("mine")
    progress = trained(tmp_path, grid_of(data, seed=[0]))
    assert progress.failed == {"seed=0": f"{tmp_path / 'seed=0'}: already holds a curves.png"}
    assert contents(tmp_path / "seed=0") == {"curves.png": b"mine"}


# --- the directory ---


def test_two_sweeps_in_one_directory_are_refused(capsys, data, tmp_path):
    argv = sweep_options(data, tmp_path, *STEPS, "--seeds", "0")
    with conducting(tmp_path, grid_of(data, seed=[0])):
        result = run_main(capsys, *argv)
    assert_usage_error(result, f"{tmp_path}: another process is conducting this sweep")


def test_a_sweep_may_grow(data, tmp_path):
    trained(tmp_path, grid_of(data, seed=[0]))
    before = contents(tmp_path / "seed=0")
    assert trained(tmp_path, grid_of(data, seed=[0, 1])).done == 1
    assert contents(tmp_path / "seed=0") == before
    assert [cell.name for cell in read_grid(tmp_path).cells] == ["seed=0", "seed=1"]


def test_another_sweep_in_the_directory_is_refused_once_a_run_has_begun(data, tmp_path):
    with conducting(tmp_path, grid_of(data, seed=[0, 1])):
        pass
    trained(tmp_path, grid_of(data, seed=[0]))
    plan = (tmp_path / "sweep.json").read_bytes()
    with pytest.raises(RunError, match="holds another sweep, with seed=0; leave out all settings"):
        trained(tmp_path, grid_of(data, seed=[1]))
    assert (tmp_path / "sweep.json").read_bytes() == plan


@pytest.mark.parametrize("name", ["sweep.csv", "sweep.png", "sweep.parquet", "config.json"])
def test_a_directory_with_a_file_that_would_be_replaced_is_refused(capsys, data, tmp_path, name):
    (tmp_path / name).write_text("mine")
    assert_usage_error(run_main(capsys, *sweep_options(data, tmp_path, *STEPS)), tmp_path, "choose another")
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.name != ".lock"} == {
        name: "mine"
    }


def test_without_settings_it_is_the_sweep_in_the_directory(capsys, data, tmp_path):
    with conducting(tmp_path, grid_of(data, seed=[4])):
        pass
    assert run_main(capsys, "sweep", "--dir", tmp_path)[0] == 0
    assert list(states(tmp_path)) == ["seed=4"]


# --- what is typed and printed ---


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "x"], "seeds: expected numbers and ranges"),
        (["--set", "steps"], "--set: expected NAME=VALUE,VALUE, got 'steps'"),
        (["--set", "seed=1,2"], "--set: expected --seeds"),
        (["--set", "batch-size=5"], "--set: batch_size is given twice"),
        (["--recipe", "quick"], "recipe: expected one of tutorial, fast, best, got 'quick'"),
        (["--at-once", "0"], "--at-once: expected at least 1, got 0"),
        (["--threads", "0"], "--threads: expected at least 1, got 0"),
        (["--at-once", "2", "--scheduler", "x:1"], "--at-once and --scheduler cannot be combined"),
        (["--data", "no such"], "no such"),
        (["--data", ""], "--data: expected a name"),
        (["--dir", ""], "--dir: expected a name"),
        (["other"], "sweep: expected options, or report DIR, got other"),
        (["report"], "sweep: expected options, or report DIR, got report"),
        (["report", "no such"], "no such: holds no sweep (no sweep.json in it)"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_written(capsys, data, tmp_path, monkeypatch, more, message):
    monkeypatch.chdir(tmp_path)
    assert_usage_error(run_main(capsys, *sweep_options(data, "s"), *more), message)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_line_says_what_to_install(data, tmp_path):
    code = "import sys; sys.modules['distributed'] = None; from minicnn.cli import main; main(sys.argv[1:])"
    argv = sweep_options(data, tmp_path / "s")
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    assert done.stderr == 'minicnn: error: sweep needs more packages: pip install "minicnn[sweep]"\n'
    assert (done.stdout, list(tmp_path.iterdir())) == ("", [])


def test_no_other_command_imports_dask():
    code = "import sys; from minicnn.cli import main; main(['--help']); print({'dask'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_quiet_prints_the_table_only(capsys, data, tmp_path):
    code, out, err = run_main(capsys, *sweep_options(data, tmp_path, *STEPS, "--seeds", "0", "--quiet"))
    assert (code, err) == (0, [])
    assert [line.split()[0] for line in out if line] == ["setting", "all", "±:", "best"]


def test_without_a_terminal_the_progress_is_plain_lines(capsys, data, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_screen, "LINE_EVERY", 0.0)
    _, _, err = run_main(capsys, *sweep_options(data, tmp_path, *STEPS, "--seeds", "0-1"))
    assert err[-1] == "2 done, 0 running, 0 waiting"


def test_kernels_that_are_compiled_first_are_progress_too():
    assert sweep_screen.summary(Progress(waiting=2)) == "0 done, 0 running, 2 waiting, preparing"


def test_the_time_left_is_that_of_the_steps_left():
    progress = Progress(
        waiting=2, running=1, done=3, failed={"seed=0": ""}, made=100, left=300, seconds=240.0
    )
    assert sweep_screen.summary(progress) == "3 done, 1 running, 2 waiting, 1 failed, about 12 min left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7100, "118 min"), (12000, "3 h 20 min")],
)
def test_durations_are_given_in_a_unit_that_fits(seconds, words):
    assert sweep_screen.duration(seconds) == words


@pytest.mark.parametrize(
    ("cores", "runs", "at_once", "threads", "shared"),
    [
        (8, 20, None, None, (8, 1)),
        (8, 3, None, None, (3, 2)),
        (8, 20, 2, None, (2, 4)),
        (8, 20, None, 4, (2, 4)),
        (2, 20, None, 4, (1, 4)),
        (2, 20, 8, None, (8, 1)),
        (8, 1, 4, None, (1, 8)),
    ],
)
def test_the_cores_are_shared_out(cores, runs, at_once, threads, shared):
    assert share(cores, runs, at_once, threads) == shared


def test_a_process_that_has_compiled_trains_to_the_same_bits(tmp_path):
    """Compiling goes through a step in which every array is filled with zeros: none of them may be kept."""
    code = (
        "import dataclasses, sys; from minicnn.runs.run import Run, load_dataset; "
        "from minicnn.runs.settings import settings_for; from minicnn.sweeps.cell import compile_for; "
        "wanted = settings_for(recipe='fast', seed=1, steps=2, batch_size=10); "
        "sys.argv[1:] and compile_for([dataclasses.asdict(wanted)], 1); "
        "run = Run(wanted, load_dataset(wanted), ''); "
        "[run.train_one_batch() for _ in range(2)]; print(run.model.values.tobytes().hex())"
    )
    fresh, compiled = (
        subprocess.run([sys.executable, "-c", code, *more], capture_output=True, check=True).stdout
        for more in ([], ["compile first"])
    )
    assert fresh == compiled
