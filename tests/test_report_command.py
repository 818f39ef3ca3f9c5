"""What `report` draws and prints, and what it refuses; and a run on a data set that is not MNIST."""

import gzip
import os
import shutil

import numpy as np
import pytest
from commands import assert_usage_error, options, run_main
from PIL import Image
from runs import write_data

from minicnn import cli
from minicnn.cli import main
from minicnn.cli.common import PICTURES
from minicnn.data.idx import idx_header


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(data, run, monkeypatch, *more):
    with monkeypatch.context() as patch:
        patch.setattr(cli.train, "draw_pictures", lambda run, probabilities: None)
        assert main([*options(data, "--steps", 4, "--log-every", 2, "--run-dir", run, "--quiet", *more)]) == 0


def test_the_pictures_are_drawn_again_and_the_runs_compared(capsys, data, tmp_path, monkeypatch):
    train(data, "a", monkeypatch)
    train(data, "b", monkeypatch, "--seed", 1)
    capsys.readouterr()
    code, out, err = run_main(capsys, "report", "a", "b")
    assert (code, err) == (0, [])
    assert out[0].startswith("a: step 4  test accuracy ")
    assert out[1].startswith("b: step 4  test accuracy ")
    assert out[-1] == "all runs in one picture: comparison.png"
    for path in [*(tmp_path / run / name for run in "ab" for name in PICTURES), tmp_path / "comparison.png"]:
        with Image.open(path) as picture:
            assert min(picture.size) > 300


def test_one_run_is_compared_with_nothing(capsys, data, tmp_path, monkeypatch):
    train(data, "a", monkeypatch)
    assert run_main(capsys, "report", "a")[0] == 0
    assert not (tmp_path / "comparison.png").exists()


def test_what_cannot_be_reported_is_one_line(capsys, data, tmp_path, monkeypatch):
    train(data, "a", monkeypatch)
    os.mkfifo("pipe.png")
    capsys.readouterr()
    for argv, word in (
        (["a", "nowhere"], "nowhere"),
        (["a", "./a"], "twice"),
        (["."], "holds no run"),
        (["a", "--output", ""], "--output"),
        (["a", "--output", "no/where.png"], "no is not a directory"),
        (["a", "--output", "a"], "expected a file, got the directory a"),
        (["a", "--output", "pipe.png"], "--output: pipe.png is not a regular file"),
    ):
        assert_usage_error(run_main(capsys, "report", *argv), word)
    (tmp_path / "a" / "metrics.csv").write_text("nonsense")
    assert_usage_error(run_main(capsys, "report", "a"), "a/metrics.csv", "line 1")


def test_a_data_set_that_has_moved_is_named(capsys, data, tmp_path, monkeypatch):
    shutil.copytree(data, tmp_path / "before")
    train(tmp_path / "before", "a", monkeypatch)
    (tmp_path / "before").rename("now")
    capsys.readouterr()
    for command in ("report", "evaluate"):
        assert_usage_error(run_main(capsys, command, "a"), "has moved, name its directory with --data")
    code, out, _ = run_main(capsys, "report", "a", "--data", "now")
    assert code == 0
    assert out[0].startswith("a: step 4  test accuracy ")


def test_pictures_of_a_run_are_not_drawn_from_other_data(capsys, data, tmp_path, monkeypatch):
    train(data, "a", monkeypatch)
    (tmp_path / "other").mkdir()
    write_data(tmp_path / "other", training=40)
    capsys.readouterr()
    assert_usage_error(run_main(capsys, "report", "a", "--data", "other"), "a: this run was trained on other")


def garments(count, rng):
    """Images of ten silhouettes of cloth with noise, as unlike digits as Fashion-MNIST's, and labels."""
    y, x = np.mgrid[:28, :28] / 27
    shapes = [
        (x > 0.3) & (x < 0.7), abs(x - 0.5) < y / 2, abs(x - 0.5) < (1 - y) / 2, (y > 0.3) & (y < 0.6),
        (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.15, abs(x - 0.5) > 0.3, abs(y - 0.5) > 0.3, x > y, x + y < 1,
        (x < 0.4) | (y > 0.7),
    ]  # fmt: skip
    labels = rng.integers(0, 10, count, dtype=np.uint8)
    cloth = rng.uniform(60, 255, (count, 1, 1)) * rng.uniform(0.7, 1, (count, 28, 28))
    return (np.stack(shapes)[labels] * cloth).astype(np.uint8), labels


def test_another_data_set_trains_and_is_evaluated_and_predicted(capsys, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "fashion").mkdir()
    for name, count in (("train", 1200), ("t10k", 200)):
        for array, kind in zip(garments(count, rng), ("images-idx3", "labels-idx1"), strict=True):
            path = tmp_path / "fashion" / f"{name}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx_header(array.shape) + array.tobytes()))
    small = ["--model", "softmax", "--ops", "reference", "--steps", "200", "--batch-size", "20"]
    code, out, err = run_main(capsys, "train", *small, "--data", "fashion", "--run-dir", "r")
    assert (code, err) == (0, [])
    assert "1100 training and 200 test images of " in out[0]
    accuracy = float(out[-1].split()[2])
    assert accuracy > 0.9
    assert run_main(capsys, "evaluate", "r", "--data", "fashion")[1][0] == out[-1]

    images, labels = garments(20, rng)
    names = [f"{index}.png" for index in range(20)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(name)
    code, out, err = run_main(capsys, "predict", "r", *names, "--as-is")
    assert (code, err) == (0, [])
    correct = [line.split()[1] == str(label) for line, label in zip(out, labels, strict=True)]
    assert sum(correct) >= 16
