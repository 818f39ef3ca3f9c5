"""Parquet files in the layout of image hubs."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image
from test_sources import N, assert_holds, make, refusal

from minicnn import load_data

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ("cat", "dog", "cow")


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def write(path, images, labels, names=None, struct=True, column="image", label="label", **options):
    """Write images as a hub does; `names` go where it describes its columns."""
    files = [image if image is None or isinstance(image, bytes) else encoded(image) for image in images]
    if struct:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        files = pa.array([{"bytes": file, "path": None} for file in files], kind)
    table = pa.table({column: files, label: labels})
    if names is not None:
        features = {column: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


@pytest.mark.parametrize("shape", [(8, 8), (9, 12, 3)])
@pytest.mark.parametrize("struct", [True, False])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_a_file_of_images_and_labels_is_read(tmp_path, shape, struct, compression):
    images, labels = make(shape)
    path = tmp_path / "any name"
    write(path, images, labels, NAMES, struct, compression=compression, row_group_size=25)
    data = load_data(path)
    assert data.classes == NAMES
    assert data.kind == "parquet"
    assert_holds(data, images, labels)


def test_labels_that_are_text_are_classes_in_their_order(tmp_path):
    images, labels = make()
    write(tmp_path / "a.parquet", images, [("10", "9", "x")[k] for k in labels])
    data = load_data(tmp_path / "a.parquet")
    assert data.classes == ("9", "10", "x")
    assert_holds(data, images, np.array([1, 0, 2])[labels])


def test_labels_in_a_dictionary_are_read(tmp_path):
    images, labels = make()
    text = pa.array([NAMES[k] for k in labels]).dictionary_encode()
    write(tmp_path / "a.parquet", images, text)
    assert load_data(tmp_path / "a.parquet").classes == tuple(sorted(NAMES))


@pytest.mark.parametrize("below", [".", "data"])
def test_files_of_a_hub_are_one_data_set(tmp_path, below):
    (images, labels), (tests, answers) = make(), make(count=9, seed=1)
    for number, part in enumerate((slice(0, 20), slice(20, None))):
        write(tmp_path / below / f"train-{number:05}-of-00002.parquet", images[part], labels[part], NAMES)
    write(tmp_path / below / "test-00000-of-00001.parquet", tests, answers, NAMES)
    for path in (tmp_path, tmp_path / below / "train-00001-of-00002.parquet"):
        data = load_data(path)
        assert_holds(data, images, labels, "train", "validation")
        assert_holds(data, tests, answers, "test")


def test_a_missing_file_of_several_is_named(tmp_path):
    write(tmp_path / "train-00001-of-00002.parquet", *make())
    assert "missing file, expected train-00000-of-00002.parquet" in refusal(tmp_path)


def test_a_test_without_labels_is_no_test(tmp_path):
    images, labels = make()
    write(tmp_path / "train-00000-of-00001.parquet", images, labels)
    write(tmp_path / "test-00000-of-00001.parquet", images[:5], [-1] * 5)
    assert_holds(load_data(tmp_path), images, labels)


def test_pictures_of_other_sizes_are_scaled_when_asked(tmp_path):
    images, labels = make()
    write(tmp_path / "a.parquet", [*images, np.zeros((9, 8), np.uint8)], [*labels, 0])
    assert "a.parquet: row 61: another size, expected 8 x 8, as the first; --size 28" in refusal(
        tmp_path / "a.parquet"
    )
    assert load_data(tmp_path / "a.parquet", size=12).shape == (12, 12, 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"images": [b"nonsense"] * N}, "row 1: not an image"),
        ({"images": [None] * N}, "row 1, expected the bytes of an image, got none"),
        ({"labels": [0, None] * (N // 2)}, "row 2, expected a label, got None"),
        ({"labels": [2**40, 1] * (N // 2)}, "row 1, expected a label, got 1099511627776"),
        ({"labels": [0.5] * N}, "column label, expected whole numbers or text, got double"),
        ({"labels": [1] * N}, "wrong number of classes in the labels, expected 2 to 1000 classes, got 1"),
        ({"label": "answer"}, "no label column, expected one column named label, got image: struct"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, expected):
    images, labels = make()
    write(tmp_path / "a.parquet", **{"images": images, "labels": labels, **change})
    assert f"a.parquet: {expected}" in refusal(tmp_path / "a.parquet")


def test_a_table_without_images_is_refused_with_its_columns(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "label": [0, 1]}), tmp_path / "a.parquet")
    assert "no column of images" in refusal(tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet").endswith("got a: int64, label: int64")


def test_test_classes_that_training_never_sees_are_named(tmp_path):
    images, labels = make()
    write(tmp_path / "train-00000-of-00001.parquet", images, [NAMES[k] for k in labels])
    write(tmp_path / "test-00000-of-00001.parquet", images[:2], ["cat", "pig"])
    assert refusal(tmp_path).endswith("expected those of the training images, got pig")


def test_a_picture_repeated_a_million_times_is_refused_before_it_is_decoded(tmp_path):
    one = encoded(np.zeros((8, 8), np.uint8))
    write(tmp_path / "a.parquet", [one] * 1_000_000, [0, 1] * 500_000, struct=False)
    assert "wrong number of rows" in refusal(tmp_path / "a.parquet")


def test_without_the_package_a_line_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "a.parquet", *make())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(tmp_path / "a.parquet").endswith(
        'a.parquet: a parquet file: pip install "minicnn[parquet]"'
    )
