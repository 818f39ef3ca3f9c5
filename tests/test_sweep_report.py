"""What is said of a sweep: means and intervals over seeds, and the same as CSV, parquet and a picture."""

import csv
import io
import shutil

import numpy as np
import pytest
from commands import run_main
from PIL import Image

from minicnn.pictures import Curves, draw_sweep, is_ours
from minicnn.runs.directory import HEADER
from minicnn.storage.outputs import PICTURES
from minicnn.sweeps import engine, table
from minicnn.sweeps.directory import conducting
from minicnn.sweeps.grid import Grid

GIVEN = {"model": "softmax", "ops": "reference", "steps": 20}
ACCURACIES = {0.1: (0.90, 0.92, 0.97), 0.3: (0.95, 0.96)}  # by learning rate, of seeds 0, 1, ...


def write_run(run, accuracy, step=20):
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text(f"{HEADER}\n10,2.0,0.1,0.5,1.5\n{step},1.0,0.9,{accuracy},3.5\n")
    for name in PICTURES:
        (run / name).touch()


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """The directory of a sweep whose last run is only half done."""
    monkeypatch.setattr(engine, "expect_installed", lambda: None)
    with conducting(tmp_path, Grid(GIVEN, {"learning_rate": [0.1, 0.3], "seed": [0, 1, 2]})):
        for rate, accuracies in ACCURACIES.items():
            for seed, accuracy in enumerate(accuracies):
                write_run(tmp_path / f"learning_rate={rate},seed={seed}", accuracy)
        write_run(tmp_path / "learning_rate=0.3,seed=2", 0.99, step=12)
    return tmp_path


def groups_in(directory):
    grid = Grid(GIVEN, {"learning_rate": [0.1, 0.3], "seed": [0, 1, 2]})
    return table.groups_of(table.rows_of(directory, grid))


def test_runs_are_put_together_over_seeds_the_best_mean_first(swept):
    best, other = groups_in(swept)
    assert (best.name, best.accuracies) == ("learning_rate 0.3", [0.95, 0.96])
    assert (other.name, other.accuracies) == ("learning_rate 0.1", [0.90, 0.92, 0.97])
    assert other.mean == pytest.approx(0.93)
    assert other.seconds == 3.5


def test_the_interval_is_students_t_for_the_mean(swept):
    stats = pytest.importorskip("scipy.stats")
    for group in groups_in(swept):
        found = group.accuracies
        low, high = stats.t.interval(0.95, len(found) - 1, np.mean(found), stats.sem(found))
        assert (group.mean - group.margin, group.mean + group.margin) == pytest.approx((low, high))


def test_about_95_of_100_intervals_hold_the_true_mean():
    pytest.importorskip("scipy")
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        rows = [row_with(accuracy) for accuracy in rng.normal(0.9, 0.01, 5)]
        group = table.Group({}, rows)
        held += abs(group.mean - 0.9) <= group.margin
    assert 930 <= held <= 970


def row_with(accuracy):
    metrics = {"step": np.array([20]), "test_accuracy": np.array([accuracy]), "seconds": np.array([1.0])}
    return table.Row(Grid(GIVEN, {"seed": [0]}).cells[0], metrics, complete=True)


def test_one_run_has_no_interval():
    group = table.Group({}, [row_with(0.9)])
    assert np.isnan(group.margin)
    assert table.table_of([group])[1].split() == [
        "all",
        "1",
        "of",
        "1",
        "90.00",
        "%",
        "-",
        *["90.00", "%"] * 2,
        "1",
    ]


def test_the_report_is_a_table_the_best_run_and_what_is_missing(capsys, swept):
    pytest.importorskip("scipy")
    code, out, err = run_main(capsys, "sweep", "report", swept)
    assert code == 0
    assert [" ".join(line.split()) for line in out if line] == [
        "setting runs mean ± worst best seconds",
        "learning_rate 0.3 2 of 3 95.50 % 6.35 % 95.00 % 96.00 % 4",
        "learning_rate 0.1 3 of 3 93.00 % 8.96 % 90.00 % 97.00 % 4",
        "±: 95 % confidence interval of the mean over seeds (Student's t)",
        "best run: learning_rate=0.1,seed=2, 97.00 %",
        f"{', '.join(written_in(swept))} are in {swept}",
    ]
    assert err == ["minicnn: warning: not complete: learning_rate=0.3,seed=2 at step 12 of 20"]


def written_in(directory):
    return [name for name in ("sweep.csv", "sweep.parquet", "sweep.png") if (directory / name).exists()]


def test_the_csv_has_a_row_for_each_run(capsys, swept):
    run_main(capsys, "sweep", "report", swept)
    rows = list(csv.DictReader(io.StringIO((swept / "sweep.csv").read_text())))
    assert [row["run"] for row in rows[:2]] == ["learning_rate=0.1,seed=0", "learning_rate=0.3,seed=0"]
    assert rows[-1] == {
        "run": "learning_rate=0.3,seed=2", "learning_rate": "0.3", "seed": "2", "complete": "False",
        "step": "12", "test_accuracy": "0.99", "seconds": "3.5",
    }  # fmt: skip


def test_the_parquet_file_has_the_same_rows(capsys, swept):
    parquet = pytest.importorskip("pyarrow.parquet")
    run_main(capsys, "sweep", "report", swept)
    rows = parquet.read_table(swept / "sweep.parquet").to_pylist()
    texts = [{name: str(value) for name, value in row.items()} for row in rows]
    assert texts == list(csv.DictReader(io.StringIO((swept / "sweep.csv").read_text())))


@pytest.mark.parametrize(
    "content", ["", "damaged", f"{HEADER}\n20,1,1,1,1\nx\n", f"{HEADER}\n20,1,1", f"{HEADER}\n20,1,1,inf,1\n"]
)
def test_a_run_whose_metrics_are_damaged_is_not_complete(capsys, swept, content):
    (swept / "learning_rate=0.1,seed=2" / "metrics.csv").write_text(content)
    assert run_main(capsys, "sweep", "report", swept)[0] == 0
    assert groups_in(swept)[1].accuracies == [0.90, 0.92]


def test_a_sweep_that_has_not_begun_has_a_report(capsys, swept):
    for run in swept.glob("*/metrics.csv"):
        shutil.rmtree(run.parent)
    code, out, err = run_main(capsys, "sweep", "report", swept)
    assert code == 0
    assert out[2].split() == ["learning_rate", "0.1", "0", "of", "3", *["-"] * 5]
    assert err[0].count(" at step 0 of 20") == 6
    assert is_ours(swept / "sweep.png")


# --- the picture ---


def curves(name, values, *errors):
    steps = np.arange(100, 1100, 100)
    falling = [1 - error * (1 + 5 * np.exp(-steps / 200)) for error in errors]
    runs = [{"step": steps, "test_accuracy": one, "seconds": steps / 10} for one in falling]
    return Curves(name, values, runs)


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_a_picture_of_any_number_of_settings_is_drawn(tmp_path, count):
    settings = [curves(f"setting {k}", {"steps": k, "plain": k % 2 == 0}, 0.01, 0.012) for k in range(count)]
    draw_sweep(settings, tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as image:
        assert max(image.size) < 3000
        assert np.asarray(image.convert("L")).std() > 5


def test_a_perfect_run_and_one_that_is_not_finite_are_drawn(tmp_path):
    settings = [curves("a", {}, 0.0, 0.01), curves("b", {}, float("nan")), curves("c", {}, float("-inf"))]
    draw_sweep(settings, tmp_path / "sweep.png")
    assert is_ours(tmp_path / "sweep.png")
