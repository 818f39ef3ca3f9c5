"""`predict --to` and `convert`: answers as a file, and any data set as IDX files."""

import csv
import os
from pathlib import Path

import digits
import numpy as np
import pytest
from commands import assert_usage_error, options, run_main
from PIL import Image

from minicnn import load_data, load_network
from minicnn.cli import main

CLASSES = ("cat", "dog", "cow")


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """The run `r`, trained on 90 pictures of three classes, and the same as `train.csv` and `test.csv`."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = rng.integers(0, 60, (90, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] = 250
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Path("pictures", CLASSES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(f"pictures/{CLASSES[label]}/{number}.png")
    header = ",".join(f"pixel{k}" for k in range(64))
    pixels = [",".join(map(str, image.ravel().tolist())) for image in images]
    rows = [f"{label},{row}" for label, row in zip(labels, pixels, strict=True)]
    Path("train.csv").write_text("\n".join([f"label,{header}", *rows]))
    Path("test.csv").write_text("\n".join([header, *pixels[:7]]))
    argv = options("pictures", "--steps", 60, "--run-dir", "r", "--quiet")
    assert main(argv) == 0
    capsys.readouterr()
    return tmp_path


def answers(name):
    with open(name, newline="") as file:
        return list(csv.reader(file))


def test_the_answers_for_a_table_are_in_kaggles_columns(capsys, here):
    code, out, err = run_main(capsys, "predict", "r", "test.csv", "--to", "submission.csv")
    assert (code, out, err) == (0, ["written: submission.csv, 7 answers"], [])
    rows = answers("submission.csv")
    assert rows[0] == ["ImageId", "Label"]
    names = load_data("pictures").classes
    assert [row[0] for row in rows[1:]] == list(map(str, range(1, 8)))
    assert [row[1] for row in rows[1:]] == [CLASSES[k % 3] for k in range(7)]
    assert names == ("cat", "cow", "dog")


def test_a_directory_with_a_test_table_is_answered_by_that_table(capsys, here):
    Path("kaggle").mkdir()
    for name in ("train.csv", "test.csv"):
        os.rename(name, f"kaggle/{name}")
    assert run_main(capsys, "predict", "r", "kaggle", "--to", "a.csv")[0] == 0
    assert len(answers("a.csv")) == 8


def test_where_the_labels_are_known_the_accuracy_is_printed(capsys, here):
    code, out, _ = run_main(capsys, "predict", "r", "pictures", "--to", "a.csv")
    assert code == 0
    assert out[-1] == "test accuracy 1.0000 (13 of 13)"


def test_the_answers_for_pictures_name_them_and_bad_ones_are_told(capsys, here):
    names = ["pictures/dog/1.png", "nowhere.png", "pictures/cow/2.png"]
    code, out, err = run_main(capsys, "predict", "r", *names, "--to", "a.csv")
    assert code == 2
    assert out == ["written: a.csv, 2 answers"]
    assert len(err) == 1
    rows = answers("a.csv")
    header = ["file", "answer", "probability", "second", "probability", "third", "probability"]
    assert rows[0] == header
    assert [row[:2] for row in rows[1:]] == [["pictures/dog/1.png", "dog"], ["pictures/cow/2.png", "cow"]]
    network = load_network("r/checkpoint.safetensors", ops="reference")
    with Image.open("pictures/dog/1.png") as image:
        expected = network.predict(np.asarray(image)[None])[0]
    assert [float(row) for row in rows[1][2::2]] == pytest.approx(sorted(expected)[::-1], abs=1e-4)


def test_one_bad_row_and_nothing_is_written(capsys, here):
    with open("test.csv", "a") as file:
        file.write("\n1,2,3")
    result = run_main(capsys, "predict", "r", "test.csv", "--to", "a.csv")
    assert_usage_error(result, "test.csv: row 9: wrong number of columns")
    assert not Path("a.csv").exists()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["test.csv"], "--to"),
        (["test.csv", "train.csv", "--to", "a.csv"], "expected one data set"),
        (["test.csv", "--to", "test.csv"], "being read"),
        (["test.csv", "--to", "r/config.json"], "file of a run"),
        (["nowhere.csv", "--to", "a.csv"], "nowhere.csv"),
    ],
)
def test_bad_usage_is_one_line(capsys, here, argv, word):
    assert_usage_error(run_main(capsys, "predict", "r", *argv), word)
    assert not Path("a.csv").exists()


def test_classes_have_their_names_in_every_command(capsys, here):
    code, out, _ = run_main(capsys, "evaluate", "r")
    assert code == 0
    assert [line.split("  ")[0] for line in out[1:4]] == ["class cat", "class cow", "class dog"]
    code, out, err = run_main(capsys, "predict", "r", "pictures/dog/1.png", "--show")
    assert (code, err) == (0, [])
    assert out[0].startswith("pictures/dog/1.png: dog (")
    assert run_main(capsys, "report", "r")[0] == 0


# --- what an image is prepared for ---


def test_a_run_on_other_images_does_not_prepare_them_as_digits(capsys, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*options(data, "--steps", 3, "--run-dir", "r"), "--quiet"]) == 0
    mask = digits.ink(3, (100, 120), 80, 9, 20, 20)
    Image.fromarray((255 - 255 * mask).astype(np.uint8)).save("a.png")
    capsys.readouterr()
    _, scaled, note = run_main(capsys, "predict", "r", "a.png")
    assert "images are only scaled; --digits prepares them" in note[0]
    assert run_main(capsys, "predict", "r", "a.png", "--as-is") == (0, scaled, [])
    _, prepared, note = run_main(capsys, "predict", "r", "a.png", "--digits")
    assert note == []
    assert prepared != scaled


# --- convert ---


@pytest.mark.parametrize("source", ["train.csv", "pictures"])
def test_a_converted_data_set_is_the_same(capsys, here, source):
    code, out, err = run_main(capsys, "convert", source, "idx")
    assert (code, err) == (0, [])
    assert out[0].startswith("found ")
    original, converted = load_data(source), load_data("idx")
    assert converted.classes == original.classes
    np.testing.assert_array_equal(converted.test.images, original.test.images)
    np.testing.assert_array_equal(converted.test.labels, original.test.labels)
    together = []
    for data in (original, converted):
        images = np.concatenate([data.train.images, data.validation.images])
        labels = np.concatenate([data.train.labels, data.validation.labels])
        together.append(
            sorted((bytes(image), int(label)) for image, label in zip(images, labels, strict=True))
        )
    assert together[0] == together[1]


def test_convert_makes_a_new_directory_only(capsys, here):
    assert_usage_error(run_main(capsys, "convert", "train.csv", "pictures"), "DIR: pictures exists")
    assert_usage_error(run_main(capsys, "convert", "nowhere", "idx"), "nowhere: no such file or directory")
    assert not Path("idx").exists()


# --- what looks wrong is said ---


def test_dark_on_light_images_and_rare_classes_are_told(capsys, here):
    images = np.full((66, 8, 8), 255, np.uint8)
    images[:, 3, 3] = np.arange(66)
    labels = np.array([0] * 62 + [1] * 4)
    np.savez("light.npz", x=images, y=labels)
    argv = options("light.npz", "--steps", 3, "--run-dir", "s", "--quiet")
    argv.remove("--quiet")
    code, out, err = run_main(capsys, *argv)
    assert code == 0
    assert "100% of the images have a light border; if they are dark on light, use --invert" in err[0]
    assert "class 1 has " in err[1]
    assert "found NumPy archive: " in out[1]
    code, out, err = run_main(capsys, *options("light.npz", "--steps", 3, "--run-dir", "t", "--invert"))
    assert "--invert" not in err[0]
