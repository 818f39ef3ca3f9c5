"""Reading IDX files, good and bad, and the data sets in them."""

import gzip
import itertools
import math
import os
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minicnn.data import DataError, load_mnist, mnist, read_idx

SMALL = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 7


def idx_bytes(array: np.ndarray) -> bytes:
    """Return the IDX file of a uint8 array, written here independently of the package."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def header(*shape: int) -> bytes:
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


RAW, GZIPPED = idx_bytes(SMALL), zipped(idx_bytes(SMALL))


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Return a function that writes bytes to a file and reads it with `read_idx`."""
    path = tmp_path_factory.mktemp("idx") / "file"

    def read(data: bytes, **options) -> np.ndarray:
        path.write_bytes(data)
        return read_idx(path, **options)

    return read


def complaint(read, data: bytes, **options) -> str:
    """Return the error message of `read_idx` after the path; the message must be one line."""
    with pytest.raises(DataError) as caught:
        read(data, **options)
    path, message = str(caught.value).split(": ", 1)
    assert Path(path).name == "file"
    assert "\n" not in message
    return message


# --- good files ------------------------------------------------------------------------------

arrays = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(
    lambda shape: np.random.default_rng(shape).integers(0, 256, shape, dtype=np.uint8)
)


@settings(deadline=None)
@given(arrays, st.booleans())
def test_any_array_is_read_back(read, array, compress):
    data = idx_bytes(array)
    result = read(zipped(data) if compress else data)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array, strict=True)


def test_a_file_of_many_chunks_is_read_back(read):
    array = np.random.default_rng(0).integers(0, 256, 1_000_003, dtype=np.uint8)
    np.testing.assert_array_equal(read(idx_bytes(array)), array)
    np.testing.assert_array_equal(read(gzip.compress(idx_bytes(array), 1)), array)


def test_gzip_is_recognised_by_content_not_by_name(tmp_path):
    (tmp_path / "zipped").write_bytes(GZIPPED)
    (tmp_path / "raw.gz").write_bytes(RAW)
    np.testing.assert_array_equal(read_idx(tmp_path / "zipped"), SMALL)
    np.testing.assert_array_equal(read_idx(str(tmp_path / "raw.gz")), SMALL)


def test_a_file_of_exactly_max_bytes_is_read(read):
    np.testing.assert_array_equal(read(RAW, max_bytes=SMALL.size), SMALL)


# --- malformed files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    {
        "nothing": (b"", "header cut short, expected 4 bytes, got 0"),
        "half a magic": (RAW[:3], "header cut short, expected 4 bytes, got 3"),
        "half a header": (RAW[:13], "header cut short, expected 16 bytes, got 13"),
        "text": (b"<html>", "not an IDX file of bytes or 32-bit integers, expected to begin 00 00 08 or "
                            "00 00 0c, got 3c 68 74"),
        "no first zero": (b"\1" + RAW[1:], "not an IDX file of bytes or 32-bit integers"),
        "no second zero": (RAW[:1] + b"\1" + RAW[2:], "not an IDX file of bytes or 32-bit integers"),
        "signed bytes": (b"\0\0\x09" + RAW[3:], "not an IDX file of bytes or 32-bit integers"),
        "floats": (b"\0\0\x0d" + RAW[3:], "not an IDX file of bytes or 32-bit integers"),
        "no dimension": (b"\0\0\x08\0" + b"\0", "wrong number of dimensions, expected 1 to 32, "
                                                "got 0"),
        "33 dimensions": (header(*[1] * 33) + b"\0", "wrong number of dimensions, expected 1 to "
                                                     "32, got 33"),
        "empty": (header(0, 28, 28), "empty array, expected every dimension at least 1, "
                                     "got 0 x 28 x 28"),
        "no value": (RAW[:16], "values cut short, expected 24 bytes, got 0"),
        "a value short": (RAW[:-1], "values cut short, expected 24 bytes, got 23"),
        "a value too many": (RAW + b"\0", "bytes after the last value, expected 24 bytes, "
                                          "got more"),
        "twice": (RAW + RAW, "bytes after the last value"),
    }.values(),
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("wrap", [bytes, zipped], ids=["raw", "gzipped"])
def test_a_malformed_array_is_refused(read, wrap, data, expected):
    assert complaint(read, wrap(data)).startswith(expected)


@pytest.mark.parametrize(
    ("data", "expected"),
    {
        "magic only": (b"\x1f\x8b", "gzip cut short, expected a complete stream"),
        "no checksum": (GZIPPED[:-8], "gzip cut short"),
        "half a length": (GZIPPED[:-2], "gzip cut short"),
        "two members": (GZIPPED + zipped(b""), "bytes after the gzip data, expected one gzip"),
        "array in two members": (zipped(RAW[:20]) + zipped(RAW[20:]), "bytes after the gzip data"),
        "padding": (GZIPPED + bytes(512), "bytes after the gzip data"),
        "zipped twice": (zipped(GZIPPED), "not an IDX file of bytes or 32-bit integers"),
        "other method": (b"\x1f\x8b\x07" + GZIPPED[3:], "corrupt gzip"),
        "wrong checksum": (GZIPPED[:-8] + bytes(4) + GZIPPED[-4:], "corrupt gzip"),
        "wrong length": (GZIPPED[:-4] + bytes(4), "corrupt gzip"),
        "no deflate": (GZIPPED[:10] + b"\xff" * 50, "corrupt gzip"),
    }.values(),
    ids=str,
)  # fmt: skip
def test_malformed_gzip_is_refused(read, data, expected):
    assert complaint(read, data).startswith(expected)


def test_bytes_after_a_gzip_member_that_ends_a_chunk_are_refused(read, monkeypatch):
    from minicnn.data import idx

    monkeypatch.setattr(idx, "_CHUNK", len(GZIPPED))
    np.testing.assert_array_equal(read(GZIPPED), SMALL)
    assert complaint(read, GZIPPED + b"\0").startswith("bytes after the gzip data")


@pytest.mark.parametrize("data", [RAW, GZIPPED], ids=["raw", "gzipped"])
def test_every_truncation_is_refused(read, data):
    for length in range(len(data)):
        complaint(read, data[:length])


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_a_raw_header_is_refused(read, bit):
    for position in range(16):
        data = bytearray(RAW)
        data[position] ^= 1 << bit
        complaint(read, bytes(data))


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_a_gzipped_file_never_alters_the_array(read, bit):
    for position in range(len(GZIPPED)):
        data = bytearray(GZIPPED)
        data[position] ^= 1 << bit
        try:
            np.testing.assert_array_equal(read(bytes(data)), SMALL, strict=True)
        except DataError:
            pass


mutations = st.lists(st.tuples(st.integers(0, len(GZIPPED) - 1), st.integers(0, 255)), max_size=4)


@settings(deadline=None, max_examples=300)
@given(st.booleans(), mutations, st.binary(max_size=3), st.integers(0, 8))
@example(False, [], b"", 0)
def test_a_mutant_is_refused_or_is_the_only_file_of_its_array(read, compress, edits, tail, cut):
    data = bytearray(GZIPPED if compress else RAW)
    for position, value in edits:
        data[position % len(data)] = value
    data = bytes(data[: len(data) - cut]) + tail
    try:
        array = read(data)
    except DataError:
        return
    assert array.dtype == np.uint8
    assert idx_bytes(array) == (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.sampled_from([b"", b"\0\0\x08", b"\x1f\x8b\x08"]))
def test_any_bytes_are_refused_or_are_the_only_file_of_their_array(read, tail, beginning):
    data = beginning + tail
    try:
        array = read(data)
    except DataError:
        return
    assert idx_bytes(array) == (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


# --- promises and memory ---------------------------------------------------------------------


def peak_memory(call) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (2**30 + 1,), (2**16,) * 4])
def test_a_promise_beyond_max_bytes_is_refused_at_once(read, shape):
    # 65536 ** 4 is 2 ** 64, which is 0 in 64 bits
    assert complaint(read, header(*shape)).startswith("array too large, expected at most 1073741824")


@pytest.mark.parametrize("wrap", [bytes, zipped], ids=["raw", "gzipped"])
def test_a_promise_that_is_not_kept_costs_no_memory(read, wrap):
    data = wrap(header(1000, 1000, 1000) + b"few")
    peak = peak_memory(lambda: complaint(read, data))
    assert peak < 2_000_000


def test_a_gzip_bomb_is_inflated_no_further_than_its_header_promises(read):
    data = gzip.compress(header(10) + bytes(50_000_000), 1)
    start = time.process_time()
    peak = peak_memory(lambda: complaint(read, data))
    assert peak < 2_000_000
    assert time.process_time() - start < 0.5


def test_reading_holds_little_more_than_the_array(read):
    data = gzip.compress(header(8_000_000) + bytes(8_000_000), 1)
    peak = peak_memory(lambda: read(data))
    assert peak < 20_000_000  # the growing buffer, moved at most once at a time


# --- files that cannot be read ---------------------------------------------------------------


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="/absent: cannot be read, expected .* No such file"):
        read_idx(tmp_path / "absent")


def test_a_directory_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read, expected an IDX file, got not a reg"):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        read_idx(tmp_path / "pipe")


def test_a_file_without_permission_is_a_data_error(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret").write_bytes(RAW)
    monkeypatch.setattr("builtins.open", refuse)  # root may open anything, so chmod shows nothing
    with pytest.raises(DataError, match="/secret: cannot be read, .* got Permission denied"):
        read_idx(tmp_path / "secret")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs Linux")
def test_a_read_that_fails_midway_is_a_data_error():
    with pytest.raises(DataError, match="/proc/self/mem: cannot be read, .* error"):
        read_idx("/proc/self/mem")  # page 0 is not mapped: EIO


def test_the_message_is_one_line_even_for_a_name_of_two(tmp_path):
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path / "two\nlines")
    assert "\n" not in str(caught.value)


# --- the MNIST that ships with the package ---------------------------------------------------


@pytest.fixture(scope="module")
def dataset():
    return load_mnist()


def splits(dataset):
    return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


def test_the_tutorial_trains_on_55000_holds_out_5000_and_tests_on_10000(dataset):
    sizes = {name: len(split) for name, split in splits(dataset).items()}
    assert sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}


def test_images_are_uint8_28_by_28_and_labels_uint8_one_each(dataset):
    for split in splits(dataset).values():
        assert split.images.dtype == split.labels.dtype == np.uint8
        assert split.images.shape == (len(split), 28, 28)
        assert split.labels.shape == (len(split),)


def test_the_classes_of_the_test_set_are_the_known_ones(dataset):
    known = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(dataset.test.labels).tolist() == known


def test_the_classes_of_the_60000_training_images_are_the_known_ones(dataset):
    known = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    labels = np.concatenate([dataset.validation.labels, dataset.train.labels])
    assert np.bincount(labels).tolist() == known


def test_the_first_training_images_are_the_ones_held_out(dataset):
    assert dataset.validation.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_the_mean_of_the_training_pixels_is_the_known_one(dataset):
    ink = int(dataset.validation.images.sum()) + int(dataset.train.images.sum())
    assert round(ink / (60_000 * 784 * 255), 4) == 0.1307


def test_images_belong_to_their_labels(dataset):
    """The mean image of each digit recognises more than 7 of 10 digits of the test set."""
    digits = [dataset.train.images[dataset.train.labels == d][:500].mean(0) for d in range(10)]
    means = np.array(digits).reshape(10, 784)
    images = dataset.test.images[:1000].reshape(-1, 784).astype(float)
    nearest = (means**2).sum(1) - 2 * images @ means.T  # squared distance, less that of the image
    assert np.mean(nearest.argmin(1) == dataset.test.labels[:1000]) > 0.7


def test_the_arrays_are_read_only(dataset):
    for split in splits(dataset).values():
        for array in (split.images, split.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_the_notice_that_must_go_with_the_files_is_there():
    notice = (mnist.FILES / "MNIST-LICENSE.md").read_text()
    assert "Yann LeCun and Corinna Cortes" in notice
    assert "Attribution-ShareAlike 3.0" in notice
    for name, digest in mnist.SHA256.items():
        assert any(name in line and digest in line for line in notice.splitlines())


@pytest.mark.parametrize("name", mnist.SHA256)
def test_a_shipped_file_with_one_altered_byte_is_refused(tmp_path, monkeypatch, name):
    for other in mnist.SHA256:
        source = mnist.FILES / f"{other}.gz"
        if other == name:
            content = bytearray(gzip.decompress(source.read_bytes()))
            content[-1] ^= 1
            (tmp_path / source.name).write_bytes(gzip.compress(bytes(content)))
        else:
            (tmp_path / source.name).symlink_to(source)
    monkeypatch.setattr(mnist, "FILES", tmp_path)
    with pytest.raises(DataError, match=f"{name}.gz: .* expected SHA-256 {mnist.SHA256[name]}, got"):
        load_mnist()


# --- any directory with four files of MNIST's names ------------------------------------------


def images(count: int) -> np.ndarray:
    """Return images that can be told apart: the first two pixels of each are its number."""
    result = np.zeros((count, 28, 28), np.uint8)
    result[:, 0, 0], result[:, 0, 1] = np.divmod(np.arange(count), 256)
    return result


def labels(count: int) -> np.ndarray:
    return (np.arange(count) % 10).astype(np.uint8)


def write_dataset(directory: Path, train: int = 24, test: int = 5, name="{}-{}-idx{}-ubyte") -> Path:
    for which, count in (("train", train), ("t10k", test)):
        for what, array in (("images", images(count)), ("labels", labels(count))):
            path = directory / name.format(which, what, array.ndim)
            data = idx_bytes(array)
            path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return directory


NAMES = ["{}-{}-idx{}-ubyte", "{}-{}-idx{}-ubyte.gz", "{}-{}.idx{}-ubyte", "{}-{}.idx{}-ubyte.gz"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_type", [Path, str])
def test_every_accepted_name_is_found(tmp_path, name, as_type):
    data = load_mnist(as_type(write_dataset(tmp_path, name=name)))
    np.testing.assert_array_equal(data.test.images, images(5))
    np.testing.assert_array_equal(data.test.labels, labels(5))


def test_names_may_differ_from_file_to_file(tmp_path):
    write_dataset(tmp_path)
    for path, suffix in zip(sorted(tmp_path.iterdir()), itertools.cycle(["", ".gz"]), strict=False):
        path.rename(f"{path}{suffix}")
    assert len(load_mnist(tmp_path).train) == 22


@pytest.mark.parametrize(
    ("count", "held_out"),
    [(17, 1), (18, 2), (24, 2), (30, 3), (6000, 500), (9999, 833), (10_000, 5000), (12_000, 5000)],
)
def test_the_validation_set_is_5000_or_a_twelfth_of_the_training_images(tmp_path, count, held_out):
    data = load_mnist(write_dataset(tmp_path, train=count))
    assert (len(data.validation), len(data.train)) == (held_out, count - held_out)
    together = np.concatenate([data.validation.images, data.train.images])
    number = 256 * together[:, 0, 0].astype(int) + together[:, 0, 1]
    np.testing.assert_array_equal(np.sort(number), np.arange(count))
    together = np.concatenate([data.validation.labels, data.train.labels])
    np.testing.assert_array_equal(together, number % 10)


def test_another_data_set_is_read_only_too(tmp_path):
    data = load_mnist(write_dataset(tmp_path))
    assert not any(split.images.flags.writeable for split in splits(data).values())


def test_another_data_set_is_not_compared_with_mnist(tmp_path):
    assert len(load_mnist(write_dataset(tmp_path)).test) == 5


def refusal(directory) -> str:
    with pytest.raises(DataError) as caught:
        load_mnist(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_directory_is_named_with_what_was_looked_for(tmp_path):
    message = refusal(tmp_path / "absent")
    assert message.startswith(f"{tmp_path / 'absent'}: no such file or directory, expected ")
    assert all(name in message for name in mnist.SHA256)
    assert message.endswith("got nothing there")


def test_a_single_idx_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(RAW)
    assert refusal(tmp_path / "file").startswith(
        f"{tmp_path / 'file'}: a single IDX file, expected the directory"
    )


@pytest.mark.parametrize("missing", mnist.SHA256)
def test_a_missing_file_is_named_with_all_its_accepted_names(tmp_path, missing):
    (write_dataset(tmp_path) / missing).unlink()
    message = refusal(tmp_path)
    dotted = missing.replace("-idx", ".idx")
    looked_for = f"{missing} or {missing}.gz or {dotted} or {dotted}.gz"
    there = ", ".join(sorted(path.name for path in tmp_path.iterdir()))
    assert message == f"{tmp_path}: missing file, expected {looked_for}, got {there}"


TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.SHA256


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        (TEST_IMAGES, images(5)[:, :27], "wrong shape, expected [28, 28], as the training images, got [27, "),
        (TEST_IMAGES, images(5)[:, :, :1], "wrong shape of images, expected [N, H, W] or [N, H, W, 3], H "),
        (TEST_IMAGES, images(5).reshape(5, 784), "wrong shape of images, expected [N, H, W] or [N, H, W, "),
        (TRAIN_IMAGES, np.zeros((24, 65, 65), np.uint8), "wrong shape of images, expected [N, H, W] or "),
        (TRAIN_LABELS, labels(23), "labels do not match the images, expected shape (24,)"),
        (TEST_LABELS, labels(6), "labels do not match the images, expected shape (5,)"),
        (TEST_IMAGES, images(0), "empty array, expected every dimension at least 1"),
        (TRAIN_LABELS, labels(0), "empty array, expected every dimension at least 1"),
    ],
)  # fmt: skip
def test_arrays_that_make_no_data_set_are_refused(tmp_path, name, array, expected):
    (write_dataset(tmp_path) / name).write_bytes(idx_bytes(array))
    assert refusal(tmp_path).startswith(f"{tmp_path / name}: {expected}")


def test_one_class_is_too_few(tmp_path):
    message = refusal(write_dataset(tmp_path, train=1))
    assert message.startswith(
        f"{tmp_path / TRAIN_LABELS}: wrong number of classes in the labels, expected 2 to"
    )


def test_one_image_of_each_class_is_too_few(tmp_path):
    message = refusal(write_dataset(tmp_path, train=10))
    assert message.startswith(f"{tmp_path / TRAIN_IMAGES}: too few training images, expected at least two")


def test_test_labels_that_training_never_sees_are_refused(tmp_path):
    (write_dataset(tmp_path) / TEST_LABELS).write_bytes(idx_bytes(labels(5) + 251))
    message = f"{tmp_path / TEST_LABELS}: labels that no training image has, expected those of the training"
    assert refusal(tmp_path).startswith(message)
    assert refusal(tmp_path).endswith("got 251, 252, 253, 254, 255")


def test_a_single_test_image_is_enough(tmp_path):
    assert len(load_mnist(write_dataset(tmp_path, test=1)).test) == 1


def test_a_corrupt_file_in_the_directory_is_named(tmp_path):
    (write_dataset(tmp_path) / TEST_LABELS).write_bytes(GZIPPED[:-1])
    assert refusal(tmp_path).startswith(f"{tmp_path / TEST_LABELS}: gzip cut short")


def test_the_promised_size_is_the_product_of_the_dimensions(read):
    for shape in itertools.product([1, 2, 3], repeat=3):
        assert read(header(*shape) + bytes(math.prod(shape))).shape == shape
