"""Every form in which people keep small images is recognised, read exactly, or refused in a line."""

import gzip
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minicnn import load_data
from minicnn.data import DataError
from minicnn.data.idx import idx_header
from minicnn.data.sources import csv_file
from minicnn.data.sources.csv_file import read_csv
from minicnn.data.splits import stratified

N, CLASSES = 60, 3


def make(shape=(8, 8), count=N, seed=0):
    """Images in which the first two pixels are the number of the image, and labels 0, 1, 2, 0, ..."""
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    images[:, 0, 0] = np.arange(count).reshape(-1, *[1] * (len(shape) - 2))
    return images, (np.arange(count) % CLASSES).astype(np.int64)


def rows_of(data, *parts):
    """The images and labels of some splits of a data set, in the order of their numbers."""
    splits = [getattr(data, part) for part in parts or ("train", "validation", "test")]
    images = np.concatenate([split.images for split in splits])
    labels = np.concatenate([split.labels for split in splits])
    order = np.argsort(images[:, 0, 0].reshape(len(images), -1)[:, 0], kind="stable")
    return images[order], labels[order]


def assert_holds(data, images, labels, *parts):
    found, found_labels = rows_of(data, *parts)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(found_labels, labels)


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        load_data(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


# --- CSV ---


def csv(images, labels, label=0, header=True, end="\n", names="pixel{}"):
    columns = [names.format(k) for k in range(images[0].size)]
    rows = [list(map(str, image.ravel().tolist())) for image in images]
    if labels is not None:
        columns.insert(label if label >= 0 else len(columns), "label")
        for row, value in zip(rows, labels, strict=True):
            row.insert(label if label >= 0 else len(row), str(value))
    return end.join([*([",".join(columns)] if header else []), *(",".join(row) for row in rows), ""])


@pytest.mark.parametrize("label", [0, 5, -1])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_file_with_a_header_is_read(tmp_path, label, end, packed):
    images, labels = make()
    text = csv(images, labels, label, end=end).encode()
    (tmp_path / "any name").write_bytes(gzip.compress(text) if packed else text)
    assert_holds(load_data(tmp_path / "any name"), images, labels)


@pytest.mark.parametrize("label", [0, -1])
def test_without_a_header_the_label_is_the_outer_column_that_varies(tmp_path, label):
    images, labels = make()
    images[:, 0, 0] = images[:, -1, -1] = 0
    (tmp_path / "a.csv").write_text(csv(images, labels, label, header=False))
    table = read_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(table.images, images)
    np.testing.assert_array_equal(table.labels, labels)


def test_without_a_header_a_label_that_may_be_in_two_columns_is_asked_for(tmp_path):
    images, labels = make()
    (tmp_path / "a.csv").write_text(csv(images, labels, header=False))
    assert "expected a header that names one column label" in refusal(tmp_path / "a.csv")


def test_kaggles_two_files_in_a_directory_are_found(tmp_path):
    images, labels = make()
    (tmp_path / "train.csv").write_text(csv(images, labels))
    (tmp_path / "test.csv").write_text(csv(images[:5], None))  # without labels: no test set
    data = load_data(tmp_path)
    assert_holds(data, images, labels)
    assert "the test and validation held out by class, seed 0" in repr(data)
    (tmp_path / "test.csv").write_text(csv(images[:5], labels[:5]))
    assert_holds(load_data(tmp_path), images[:5], labels[:5], "test")


@given(
    count=st.integers(1, 20), side=st.integers(1, 6), seed=st.integers(0, 99), chunk=st.integers(1, 400),
    last=st.booleans(),
)  # fmt: skip
@settings(deadline=None)
def test_any_pixels_in_chunks_of_any_size_are_read_back(tmp_path_factory, count, side, seed, chunk, last):
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    text = csv(images, np.arange(count), names="p{}")
    path.write_text(text if last else text.removesuffix("\n"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_file, "CHUNK", chunk)
        np.testing.assert_array_equal(read_csv(path).images, images)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines[3] + ",1", "row 4: wrong number of columns, expected 65, got 66"),
        (lambda lines: lines[3].rsplit(",", 1)[0], "row 4: wrong number of columns, expected 65, got 64"),
        (lambda lines: "x" + lines[3][1:], "row 4, column 1, expected a whole number from 0 to 255, got 'x'"),
        (lambda lines: lines[3][:-1] + "-", "row 4, column 65, expected a whole number"),
        (lambda lines: lines[3].rsplit(",", 1)[0] + ",", "row 4, column 65, expected a whole number"),
        (
            lambda lines: lines[3].rsplit(",", 1)[0] + ",256",
            "row 4, column 65, expected a number from 0 to 255",
        ),
        (lambda lines: lines[3].rsplit(",", 1)[0] + ",1.5", "row 4, column 65, expected a whole number"),
        (lambda lines: "", "row 4: wrong number of columns, expected 65, got 1"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, change, expected):
    lines = csv(*make()).splitlines()
    lines[3] = change(lines)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert expected in refusal(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("label,p0,p1,p2\n0,1,2,3\n", "wrong number of columns"),
        ("label,class,p0\n0,1,2\n", "several label columns, expected one, got label, class"),
        ("label,p0\n", "no rows"),
        ("p0,p1,p2,p3\n0,1,2,3\n", "no label column"),
    ],
)
def test_a_table_that_is_no_data_set_is_refused(tmp_path, text, expected):
    (tmp_path / "a.csv").write_text(text)
    assert expected in (refusal(tmp_path / "a.csv"))


# --- NumPy archives ---


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),  # Keras
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(8, 8), (8, 10, 3)])
def test_a_numpy_archive_is_read(tmp_path, names, write, shape):
    (images, labels), (tests, answers) = make(shape), make(shape, count=9, seed=1)
    write(tmp_path / "a.npz", **dict(zip(names, (images, labels, tests, answers), strict=True)))
    data = load_data(tmp_path / "a.npz")
    assert_holds(data, images, labels, "train", "validation")
    assert_holds(data, tests, answers, "test")


def test_scikit_learns_digits_are_read_in_full_contrast(tmp_path):
    images, labels = make()
    sixteen = images // 16 + (images > 250)
    np.savez(tmp_path / "a.npz", data=sixteen.reshape(N, 64).astype(np.float64), target=labels)
    data = load_data(tmp_path / "a.npz")
    assert data.train.images.max() == 255
    expected = np.rint(sixteen * (255 / 16)).astype(np.uint8)
    assert sorted(map(bytes, rows_of(data)[0])) == sorted(map(bytes, expected))


def test_fractions_columns_one_hot_labels_and_channels_first_are_understood(tmp_path):
    images, labels = make((8, 10, 3))
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    np.savez(tmp_path / "a.npz", x=(images / 255).astype(np.float32).transpose(0, 3, 1, 2), y=one_hot)
    assert_holds(load_data(tmp_path / "a.npz"), images, labels)
    np.savez(tmp_path / "b.npz", images=images[..., :1], labels=labels[:, None])
    assert_holds(load_data(tmp_path / "b.npz"), images[..., 0], labels)


def test_arrays_of_objects_are_refused_and_not_unpickled(tmp_path):
    images, labels = make()
    np.savez(tmp_path / "a.npz", x=images.astype(object), y=labels)
    assert "not an array of numbers" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"a": np.zeros(3)}, "no training images, expected arrays named x_train and y_train"),
        ({"x": np.full((6, 8, 8), 300), "y": np.arange(6)}, "wrong pixels, expected whole numbers from 0 to"),
        ({"x": np.full((6, 8, 8), 1.5), "y": np.arange(6)}, "wrong pixels"),
        ({"x": np.full((6, 8, 8), np.nan), "y": np.arange(6)}, "wrong pixels"),
        ({"x": np.zeros((6, 8, 8), np.uint8), "y": np.arange(6) / 2}, "wrong labels"),
        ({"x": np.zeros((6, 8, 8), np.uint8), "y": np.arange(5)}, "labels do not match the images"),
        ({"x": np.zeros((6, 4, 4), np.uint8), "y": np.arange(6)}, "wrong shape of images"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(tmp_path, arrays, expected):
    np.savez(tmp_path / "a.npz", **arrays)
    assert expected in refusal(tmp_path / "a.npz")


def test_a_size_that_an_array_only_claims_is_not_allocated(tmp_path):
    images, labels = make()
    np.savez(tmp_path / "a.npz", x=images, y=labels)
    content = (tmp_path / "a.npz").read_bytes()
    claim = content.replace(b"(60, 8, 8), }", b"(10**9,8,8)}".ljust(13))
    (tmp_path / "a.npz").write_bytes(claim)
    assert refusal(tmp_path / "a.npz")
    claim = content.replace(b"(60, 8, 8), }", b"(99999,88,8)}")
    (tmp_path / "a.npz").write_bytes(claim)
    assert refusal(tmp_path / "a.npz")


# --- CIFAR ---


def write_cifar(directory, label_bytes=1):
    images, labels = make((32, 32, 3))
    rows = np.zeros((N, label_bytes + 3072), np.uint8)
    rows[:, label_bytes - 1] = labels
    rows[:, label_bytes:] = images.transpose(0, 3, 1, 2).reshape(N, 3072)
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] if label_bytes == 1 else ["train.bin"]
    for name, part in zip(names, np.split(rows, len(names)), strict=True):
        (directory / name).write_bytes(part.tobytes())
    (directory / ("test_batch.bin" if label_bytes == 1 else "test.bin")).write_bytes(rows[:9].tobytes())
    return images, labels


@pytest.mark.parametrize("label_bytes", [1, 2])
@pytest.mark.parametrize("nested", [False, True])
def test_the_binary_form_of_cifar_is_read(tmp_path, label_bytes, nested):
    place = tmp_path / "cifar-batches-bin" if nested else tmp_path
    place.mkdir(exist_ok=True)
    images, labels = write_cifar(place, label_bytes)
    (place / ("batches.meta.txt" if label_bytes == 1 else "fine_label_names.txt")).write_text(
        "cat\ndog\ncar\n\n"
    )
    data = load_data(tmp_path)
    assert_holds(data, images, labels, "train", "validation")
    assert_holds(data, images[:9], labels[:9], "test")
    assert data.classes == ("cat", "dog", "car")
    assert data.shape == (32, 32, 3)


def test_the_pickles_of_cifar_are_refused_by_name(tmp_path):
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (tmp_path / name).write_bytes(b"\x80\x04.")
    message = refusal(tmp_path)
    assert "CIFAR in its Python form, whose files could run code when read" in message
    assert "expected the binary version" in message


def test_a_file_of_cifar_that_is_cut_short_is_named(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(3000))
    assert "data_batch_3.bin: wrong size, expected a multiple of 3,073 bytes, got 3,000" in refusal(tmp_path)


def test_any_pickle_is_refused(tmp_path):
    (tmp_path / "mnist.pkl").write_bytes(b"\x80\x04\x95")
    assert "a pickle, which could run code when read" in refusal(tmp_path / "mnist.pkl")


# --- folders of pictures ---


def write_folders(directory, images, labels, names=("cat", "dog", "7")):
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = directory / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:03}.png")


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
def test_a_folder_for_each_class_is_read(tmp_path, shape):
    images, labels = make(shape)
    write_folders(tmp_path, images, labels)
    (tmp_path / "notes.txt").write_text("not a class")
    (tmp_path / ".hidden").mkdir()
    data = load_data(tmp_path)
    assert data.classes == ("7", "cat", "dog")
    assert_holds(data, images, (labels + 1) % 3)


def test_folders_whose_names_are_numbers_come_first_and_in_their_order(tmp_path):
    images, labels = make()
    write_folders(tmp_path, images, labels, ("10", "9", "²"))
    assert load_data(tmp_path).classes == ("9", "10", "²")


def test_train_and_test_folders_are_the_split(tmp_path):
    (images, labels), (tests, answers) = make(), make(count=9, seed=1)
    write_folders(tmp_path / "train", images, labels)
    write_folders(tmp_path / "test", tests, answers)
    data = load_data(tmp_path)
    assert_holds(data, tests, (answers + 1) % 3, "test")
    assert_holds(data, images, (labels + 1) % 3, "train", "validation")


def test_pictures_of_other_sizes_are_refused_with_the_option_that_scales_them(tmp_path):
    images, labels = make()
    write_folders(tmp_path, images, labels)
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "dog" / "999.png")
    message = refusal(tmp_path)
    assert "999.png: another size" in message
    assert "--size 28" in message
    assert load_data(tmp_path, size=12).shape == (12, 12, 1)


def test_a_scaled_picture_keeps_its_proportions_on_the_colour_of_its_border(tmp_path):
    images, labels = make()
    write_folders(tmp_path, images, labels)
    wide = np.full((10, 40), 200, np.uint8)
    wide[4:6, 10:30] = 0
    Image.fromarray(wide).save(tmp_path / "dog" / "wide.png")
    found = rows_of(load_data(tmp_path, size=20))[0]
    picture = found[(found[:, :7] == 200).all(axis=(1, 2))]
    assert len(picture) == 1
    assert (picture[0, 13:] == 200).all()
    rows, columns = np.nonzero(picture[0] == 0)
    assert set(rows) <= set(range(8, 12))
    assert (columns.min(), columns.max()) == (5, 14)


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    images, labels = make()
    write_folders(tmp_path, images, labels)
    (tmp_path / "dog" / "004.png").write_bytes(b"\x89PNG nonsense")
    assert "dog/004.png: " in refusal(tmp_path)


@pytest.mark.parametrize("name", ["", "train", "test"])
def test_a_class_folder_without_pictures_is_named(tmp_path, name):
    images, labels = make()
    for place in ("train", "test") if name else ("",):
        write_folders(tmp_path / place, images, labels)
    (tmp_path / name / "cow").mkdir()
    assert refusal(tmp_path).startswith(
        f"{tmp_path / name / 'cow'}: no pictures, expected pictures of a class"
    )
    assert refusal(tmp_path).endswith("got an empty folder")


def test_a_single_class_folder_is_too_few(tmp_path):
    images, labels = make()
    write_folders(tmp_path, images, 0 * labels)
    assert refusal(tmp_path).endswith("one class only, expected a folder of pictures for each class, got cat")


def test_a_class_that_only_the_test_has_is_refused(tmp_path):
    images, labels = make()
    write_folders(tmp_path / "train", images, labels)
    write_folders(tmp_path / "test", images[:9], labels[:9], ("cat", "dog", "cow"))
    assert "a class that has no training pictures, expected 7, cat, dog, got cow" in refusal(tmp_path)


# --- IDX ---


def idx(array):
    kind = 0x0C if array.dtype.kind == "i" else 0x08
    header = bytearray(idx_header(array.shape))
    header[2] = kind
    return bytes(header) + (array.astype(">i4") if kind == 0x0C else array).tobytes()


def write_idx_set(directory, images, labels, prefix="", test="t10k", kinds=("idx3-ubyte", "idx1-ubyte")):
    directory.mkdir(parents=True, exist_ok=True)
    for which, part in (("train", slice(None)), (test, slice(9))):
        (directory / f"{prefix}{which}-images-{kinds[0]}").write_bytes(idx(images[part]))
        (directory / f"{prefix}{which}-labels-{kinds[1]}.gz").write_bytes(gzip.compress(idx(labels[part])))


@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw", "FashionMNIST/raw"])
def test_idx_files_are_found_where_frameworks_put_them(tmp_path, below):
    images, labels = make()
    write_idx_set(tmp_path / below, images, labels.astype(np.uint8))
    assert_holds(load_data(tmp_path), images, labels, "train", "validation")


def test_emnists_names_prefix_and_mapping_are_understood(tmp_path):
    images, labels = make()
    write_idx_set(tmp_path, images, (labels + 1).astype(np.uint8), "emnist-letters-", "test")
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
    data = load_data(tmp_path)
    assert data.classes == ("Aa", "Bb", "Cc")
    assert_holds(data, images, labels, "train", "validation")
    assert_holds(load_data(tmp_path, transpose=True), images.swapaxes(1, 2), labels, "train", "validation")


def test_of_several_sets_one_is_chosen_by_its_file(tmp_path):
    images, labels = make()
    for name in ("emnist-digits-", "emnist-letters-"):
        write_idx_set(tmp_path, images, labels.astype(np.uint8), name, "test")
    assert "several data sets" in refusal(tmp_path)
    path = tmp_path / "emnist-letters-train-images-idx3-ubyte"
    assert load_data(path).kind == "IDX files of emnist-letters"


def test_qmnists_labels_in_columns_of_32_bits_are_read(tmp_path):
    images, labels = make()
    wide = np.stack([labels, *[np.full(N, 70_000)] * 7], axis=1).astype(np.int32)
    write_idx_set(tmp_path, images, wide, "qmnist-", "test", ("idx3-ubyte", "idx2-int"))
    assert_holds(load_data(tmp_path), images, labels, "train", "validation")


# --- what is not read ---


def in_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", "label,p0")


def in_tar(path, how):
    (path.parent / "train.csv").write_text("label,p0")
    with tarfile.open(path, how) as archive:
        archive.add(path.parent / "train.csv", "train.csv")


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (in_zip, "expected what is in it: unpack it first, got a zip archive"),
        (lambda path: in_tar(path, "w"), "expected what is in it: unpack it first, got a tar archive"),
        (lambda path: in_tar(path, "w:gz"), "expected what is in it: unpack it first, got a tar archive"),
        (lambda path: in_tar(path, "w:xz"), "expected what is in it: unpack it first, got an xz file"),
        (lambda path: np.save(path, np.zeros(3)), "expected images and labels in one file, by numpy.savez"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "read by h5py and written by numpy.savez"),
    ],
)
def test_what_is_not_read_is_refused_with_the_way_out(tmp_path, write, expected):
    path = tmp_path / "data.npy"
    write(path)
    assert expected in refusal(path)


def test_a_matlab_file_is_refused_and_the_way_out_leads_out(tmp_path):
    io = pytest.importorskip("scipy.io")
    images, labels = make()
    part = {"images": images.reshape(N, -1), "labels": labels[:, None].astype(np.uint8)}
    io.savemat(tmp_path / "emnist.mat", {"dataset": {"train": part, "test": part}})
    message = refusal(tmp_path / "emnist.mat")
    assert "expected its arrays, read by scipy.io.loadmat and written by numpy.savez('data.npz'," in message
    data = io.loadmat(tmp_path / "emnist.mat")["dataset"][0, 0]
    train, test = data["train"][0, 0], data["test"][0, 0]
    np.savez(
        tmp_path / "data.npz",
        x_train=train["images"], y_train=train["labels"], x_test=test["images"], y_test=test["labels"],
    )  # fmt: skip
    assert_holds(load_data(tmp_path / "data.npz"), images, labels, "test")


# --- what holds for all forms ---


def test_inverted_images_are_turned_when_asked(tmp_path):
    images, labels = make()
    np.savez(tmp_path / "a.npz", x=images, y=labels)
    data = load_data(tmp_path / "a.npz", invert=True)
    assert sorted(map(bytes, rows_of(data)[0])) == sorted(map(bytes, 255 - images))


def test_sorted_files_lose_no_class(tmp_path):
    images, labels = make()
    order = np.argsort(labels, kind="stable")
    np.savez(tmp_path / "a.npz", x=images[order], y=labels[order])
    data = load_data(tmp_path / "a.npz")
    for split in (data.train, data.validation, data.test):
        assert set(split.labels) == {0, 1, 2}


def test_the_seed_decides_the_split_alone(tmp_path):
    np.savez(tmp_path / "a.npz", x=make()[0], y=make()[1])
    same, again, other = (load_data(tmp_path / "a.npz", seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(same.test.images, again.test.images)
    assert not np.array_equal(same.test.images, other.test.images)


@given(st.lists(st.integers(0, 5), min_size=12, max_size=80), st.floats(0.05, 0.5), st.integers(0, 9))
def test_a_stratified_choice_takes_the_same_share_of_each_class(labels, share, seed):
    labels = np.array(labels)
    count = max(1, round(share * len(labels)))
    chosen = stratified(labels, count, seed, 0)
    for value, total in zip(*np.unique(labels, return_counts=True), strict=True):
        taken = int(chosen[labels == value].sum())
        assert taken < total
        assert taken <= np.ceil(total * count / len(labels))
        assert taken >= min(np.floor(total * count / len(labels)), total - 1)
    assert chosen.sum() <= count


def test_classes_keep_the_order_and_the_names_of_their_labels(tmp_path):
    images, labels = make()
    np.savez(tmp_path / "a.npz", x=images, y=np.array([-3, 40, 7])[labels])
    data = load_data(tmp_path / "a.npz")
    assert data.classes == ("-3", "7", "40")
    assert_holds(data, images, np.array([0, 2, 1])[labels])


def test_what_is_no_data_set_is_named_with_what_is_there(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    assert "no data set, expected four IDX files" in refusal(tmp_path)
    assert refusal(tmp_path).endswith("got readme.txt")
    assert "no data set" in refusal(tmp_path / "readme.txt")
