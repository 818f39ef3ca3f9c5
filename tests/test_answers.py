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


# --- folders of pictures ---


def write_labels(folder, names):
    """A `labels.csv` for pictures that are moved into one folder: the first is called something else."""
    Path(folder).mkdir()
    lines = ["file,label"]
    for number, name in enumerate(names):
        os.link(f"pictures/{name}", f"{folder}/{number}.png")
        lines.append(f"{number}.png,{name.split('/')[0]}")
    Path(folder, "labels.csv").write_text("\n".join(lines))


def test_a_folder_with_labels_is_answered_picture_by_picture_with_the_accuracy(capsys, here):
    write_labels("flat", ["dog/1.png", "cow/2.png", "cat/3.png", "cat/6.png"])
    Path("flat/labels.csv").write_text(Path("flat/labels.csv").read_text().replace("3.png,cat", "3.png,cow"))
    code, out, err = run_main(capsys, "predict", "r", "flat")
    assert (code, err) == (0, [])
    assert [line.split(" (")[0] for line in out[:-1]] == [
        "flat/0.png: dog", "flat/1.png: cow", "flat/2.png: cat", "flat/3.png: cat"
    ]  # fmt: skip
    assert out[-1] == "test accuracy 0.7500 (3 of 4)"
    code, out, err = run_main(capsys, "predict", "r", "flat", "--to", "a.csv")
    assert (code, out) == (0, ["written: a.csv, 4 answers", "test accuracy 0.7500 (3 of 4)"])
    assert [row[:2] for row in answers("a.csv")[1:3]] == [["flat/0.png", "dog"], ["flat/1.png", "cow"]]


def test_a_folder_without_labels_is_all_its_pictures(capsys, here):
    code, out, err = run_main(capsys, "predict", "r", "pictures/dog")
    assert (code, err) == (0, [])
    assert len(out) == 30
    assert out[0].startswith("pictures/dog/1.png: dog (")


def test_a_data_set_with_a_picture_beside_it_is_a_data_set(capsys, here):
    os.link("pictures/dog/1.png", "pictures/preview.png")
    code, out, _ = run_main(capsys, "predict", "r", "pictures", "--to", "a.csv")
    assert (code, out[-1]) == (0, "test accuracy 1.0000 (13 of 13)")


def test_a_picture_without_an_answer_counts_as_wrong(capsys, here):
    write_labels("flat", ["dog/1.png", "cow/2.png"])
    Path("flat/1.png").unlink()
    Path("flat/1.png").write_text("no picture")
    code, out, err = run_main(capsys, "predict", "r", "flat")
    assert code == 2
    assert err[0].startswith("minicnn: error: flat/1.png: ")
    assert out[-1] == "test accuracy 0.5000 (1 of 2)"


def test_a_label_that_the_network_does_not_know_is_refused(capsys, here):
    write_labels("flat", ["dog/1.png"])
    Path("flat/labels.csv").write_text("0.png,pig")
    message = "labels.csv: class pig is none of the 3 classes of the network"
    assert_usage_error(run_main(capsys, "predict", "r", "flat"), message)


@pytest.mark.parametrize("name", ["labels.csv", "0.png"])
def test_what_is_read_in_a_folder_is_not_replaced(capsys, here, name):
    write_labels("flat", ["dog/1.png"])
    before = Path("flat", name).read_bytes()
    result = run_main(capsys, "predict", "r", "flat", "--to", f"flat/{name}")
    assert_usage_error(result, "being read")
    assert Path("flat", name).read_bytes() == before


# --- what a run was trained on ---


@pytest.fixture
def turned(here, capsys):
    """The run `t`, trained on `lying.npz`: dark on light, with rows and columns swapped."""
    data = load_data("pictures")
    images = 255 - np.concatenate([data.train.images, data.test.images]).swapaxes(1, 2)
    np.savez("lying.npz", x=images, y=np.concatenate([data.train.labels, data.test.labels]))
    argv = options("lying.npz", "--steps", 60, "--run-dir", "t", "--quiet", "--seed", 3)
    assert main([*argv, "--transpose", "--invert"]) == 0
    capsys.readouterr()


NOTE = "{}: read with --transpose --invert, as the data of t was; --no-transpose or --no-invert if it differs"


def test_other_data_is_read_as_the_data_of_the_run_was(capsys, turned):
    os.rename("lying.npz", "other.npz")
    code, out, err = run_main(capsys, "evaluate", "t", "--data", "other.npz")
    assert (code, err) == (0, [NOTE.format("other.npz")])
    assert out[0].startswith("test accuracy 1.0000")
    code, out, err = run_main(capsys, "predict", "t", "other.npz", "--to", "a.csv")
    assert (code, err) == (0, [NOTE.format("other.npz")])
    assert out[1].startswith("test accuracy 1.0000")


def test_a_table_is_read_as_the_data_of_the_run_was(capsys, turned):
    images = 255 - load_data("pictures").test.images[:5].swapaxes(1, 2)
    rows = [",".join(map(str, image.ravel().tolist())) for image in images]
    Path("lying.csv").write_text("\n".join([",".join(f"p{k}" for k in range(64)), *rows]))
    code, _, err = run_main(capsys, "predict", "t", "lying.csv", "--to", "a.csv")
    assert (code, err) == (0, [NOTE.format("lying.csv")])
    data = load_data("pictures")
    assert [row[1] for row in answers("a.csv")[1:]] == list(map(str, data.test.labels[:5]))


def test_options_say_otherwise(capsys, turned):
    argv = ["--data", "pictures", "--no-transpose", "--no-invert"]
    code, out, err = run_main(capsys, "evaluate", "t", *argv)
    assert (code, err) == (0, [])
    assert out[0].startswith("test accuracy 1.0000")


def test_pictures_are_inverted_for_a_run_whose_data_was(capsys, turned):
    with Image.open("pictures/cow/2.png") as image:
        Image.fromarray(255 - np.asarray(image)).save("dark.png")
    code, out, err = run_main(capsys, "predict", "t", "dark.png")
    assert code == 0
    assert err == ["images are inverted, as the data of t was; --no-invert if they differ"]
    assert (
        run_main(capsys, "predict", "t", "pictures/cow/2.png", "--no-invert")[1][0].split(": ")[1]
        == (out[0].split(": ")[1])
    )


def test_the_seed_of_the_run_splits_its_data_again(capsys, turned):
    _, own, _ = run_main(capsys, "evaluate", "t")
    _, other, _ = run_main(capsys, "evaluate", "t", "--data", "lying.npz")
    assert own[:-1] == other
    images = load_data("lying.npz", seed=3, transpose=True, invert=True).test.images
    assert not np.array_equal(images, load_data("lying.npz", transpose=True, invert=True).test.images)


def test_pictures_of_another_size_are_scaled_as_those_of_the_run_were(capsys, here):
    assert main(options("pictures", "--steps", 60, "--run-dir", "s", "--quiet", "--size", 8)) == 0
    for path in Path("pictures").glob("*/*.png"):
        with Image.open(path) as image:
            image.resize((16, 16), Image.Resampling.NEAREST).save(path)
    capsys.readouterr()
    code, out, err = run_main(capsys, "evaluate", "s", "--data", "pictures")
    assert (code, err) == (0, ["pictures: read with --size 8, as the data of s was"])
    assert out[0].startswith("test accuracy 1.0000")
