"""A folder of pictures with a labels.csv: as a data set, and answered by `predict`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_sources import assert_holds, make, refusal, write_folders

from minicnn import load_data

NAMES = ("cat", "dog", "cow")
IN_ORDER = np.array([0, 2, 1])  # the numbers of these names in the order of the alphabet


def write(directory, images, labels, line="{file},{label}", header="file,label", ending=".png"):
    directory.mkdir(parents=True, exist_ok=True)
    lines = [header] if header else []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(directory / f"{number:03}{ending}")
        lines.append(line.format(file=f"{number:03}{ending}", stem=f"{number:03}", label=NAMES[label]))
    (directory / "labels.csv").write_text("\n".join([*lines, ""]))


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("file,label", "{file},{label}"),
        ("", "{file},{label}"),
        ("", "{label},{file}"),
        ("id,breed", "{stem},{label}"),
        ("width,class,filename,note", '8,{label},{file},"a note, quoted"'),
        ("", '{file},{label},"more"'),
    ],
)
def test_the_table_may_have_any_columns(tmp_path, header, line):
    images, labels = make()
    write(tmp_path, images, labels, line, header)
    data = load_data(tmp_path)
    assert data.classes == tuple(sorted(NAMES))
    assert_holds(data, images, IN_ORDER[labels])


def test_a_carriage_return_a_byte_order_mark_and_empty_lines_change_nothing(tmp_path):
    images, labels = make()
    write(tmp_path, images, labels)
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert_holds(load_data(tmp_path), images, IN_ORDER[labels])


@pytest.mark.parametrize("place", ["images/{file}", r"images\{file}", r"images\{stem}"])
def test_pictures_may_lie_a_folder_below(tmp_path, place):
    images, labels = make()
    write(tmp_path / "images", images, labels, f"{place},{{label}}")
    (tmp_path / "images" / "labels.csv").rename(tmp_path / "labels.csv")
    assert_holds(load_data(tmp_path), images, IN_ORDER[labels])


def test_train_and_test_have_tables_of_their_own(tmp_path):
    (images, labels), (tests, answers) = make((8, 9, 3)), make((8, 9, 3), count=9, seed=1)
    write(tmp_path / "train", images, labels)
    write(tmp_path / "test", tests, answers)
    data = load_data(tmp_path)
    assert_holds(data, images, IN_ORDER[labels], "train", "validation")
    assert_holds(data, tests, IN_ORDER[answers], "test")


def test_a_table_beside_class_folders_says_nothing_about_pictures(tmp_path):
    images, labels = make()
    write_folders(tmp_path, images, labels, NAMES)
    (tmp_path / "labels.csv").write_text("class,name\n0,a cat\n1,a dog\n")
    assert load_data(tmp_path).kind == "folders of pictures"


def test_pictures_without_a_label_are_left_out(tmp_path):
    images, labels = make()
    write(tmp_path, images, labels)
    Image.fromarray(images[0]).save(tmp_path / "more.png")
    assert_holds(load_data(tmp_path), images, IN_ORDER[labels])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: [*lines[:5], "004.png"], "row 6: wrong number of columns, expected 2, got 1"),
        (lambda lines: [*lines[:5], "../004.png,cat"], "row 6, expected the name of a picture in "),
        (lambda lines: [*lines[:5], "/etc/passwd,cat"], "row 6, expected the name of a picture in "),
        (lambda lines: [*lines[:5], "004.png,"], "row 6, expected a label, got an empty one"),
        (lambda lines: lines[:1], "no rows, expected file,label for each picture, got a header alone"),
        (lambda lines: [], "no rows, expected file,label for each picture, got none"),
        (lambda lines: [lines[0], "elsewhere.png,cat"], "row 2, expected the name of a picture in "),
        (lambda lines: ['"open'], "damaged, expected a table of files and labels"),
        (
            lambda lines: ["a,b,c", *(f"1,{line}" for line in lines[1:])],
            "no label column, expected one named",
        ),
    ],
)
def test_a_wrong_row_is_named(tmp_path, change, expected):
    write(tmp_path, *make())
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(change(table.read_text().splitlines())))
    assert f"labels.csv: {expected}" in refusal(tmp_path)


def test_the_one_picture_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path, *make())
    (tmp_path / "037.png").write_bytes(b"\x89PNG nonsense")
    assert refusal(tmp_path).startswith(f"{Path(tmp_path, '037.png')}: ")


def test_one_class_is_too_few(tmp_path):
    images, labels = make()
    write(tmp_path, images, 0 * labels)
    assert "wrong number of classes in the labels, expected 2 to 1000 classes, got 1" in refusal(tmp_path)


def test_test_classes_that_training_never_sees_are_named(tmp_path):
    images, labels = make()
    write(tmp_path / "train", images, labels % 2)
    write(tmp_path / "test", images[:3], labels[:3])
    assert refusal(tmp_path).endswith("got cow")
