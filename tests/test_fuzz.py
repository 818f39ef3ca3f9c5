"""Damaged files: one line says what is wrong; no traceback, no hang, no memory for a mere claim.

Every mutant is read in a process that may not have much more memory than it has, so an array of the
size that a damaged header claims would end it. So does a file that takes longer than 10 s.
"""

import gzip
import json
import os
import random
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import test_labelled
from PIL import Image, ImageDraw
from runs import exit_code, limit, new_cnn_run, new_run, reopen, start_child, write_data, write_idx
from test_sources import csv, make, write_cifar

from minicnn import load_data, load_network, softmax_regression
from minicnn.cli import main
from minicnn.cli import train as train_module
from minicnn.data import DataError, read_idx
from minicnn.data.idx import idx_header
from minicnn.data.image_file import FORMATS, ImageError, lightness_of
from minicnn.interchange import load_onnx, load_torch, save_onnx, save_torch
from minicnn.runs import checkpoint
from minicnn.runs.checkpoint import NEWEST, CheckpointError
from minicnn.runs.directory import CONFIG, METRICS, RunError
from minicnn.runs.loop import train

pytestmark = [
    pytest.mark.usefixtures("small_networks"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
MANY = pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.long)])
FEW = pytest.mark.parametrize("count", [100, pytest.param(2_000, marks=pytest.mark.long)])
MORE_MEMORY = 64 << 20
SECONDS = 10  # for one file


def mutant(data, rng):
    """`data` with one to three damages, half of them where the header is."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind, end = rng.randrange(7), max(1, len(data) if rng.random() < 0.5 else min(len(data), 700))
        at = rng.randrange(end)
        if kind == 0:  # a bit
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :] if data else b"x"
        elif kind == 1:  # cut short
            data = data[:at]
        elif kind == 2:  # longer
            data = data + rng.randbytes(rng.randrange(1, 100))
        elif kind == 3:  # a piece overwritten
            data = data[:at] + rng.randbytes(8) + data[at + 8 :]
        elif kind == 4:  # a byte lost
            data = data[:at] + data[at + 1 :]
        elif kind == 5:  # an extreme number
            data = data[:at] + rng.choice((b"\xff", b"\x00", b"\x7f", b"9")) * 4 + data[at + 4 :]
        else:  # a piece twice
            data = data[: at + 16] + data[at:]
    return data


def all_refused(path, data, count, read, accepted, errors, named=None):
    """In a child with little memory and time: every mutant is refused by one line that names the file.

    `accepted` judges what was read of a mutant that was not refused. `named`: what is named instead.
    """

    def work():
        rng = random.Random(0)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        with limit("RLIMIT_AS", pages * resource.getpagesize() + MORE_MEMORY):
            for _ in range(count):
                altered = mutant(data, rng)
                path.write_bytes(altered)
                signal.setitimer(signal.ITIMER_REAL, SECONDS)  # its signal ends the child
                found, message = attempt(read, path, errors)
                if message is None:
                    assert altered == data or accepted(altered, found)
                else:
                    assert str(named or path) in message
                    assert "\n" not in message

    return exit_code(start_child(work)) == 0


def attempt(read, path, errors):
    """What was read, or the message of the error."""
    try:
        return read(path), None
    except errors as error:
        return None, str(error)


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
IDX = idx_header(IMAGES.shape) + IMAGES.tobytes()


def is_the_file_of(altered, array):
    """A damaged pixel cannot be noticed in a raw IDX file; a file that says one thing and is another can."""
    plain = gzip.decompress(altered) if altered[:2] == b"\x1f\x8b" else altered
    return idx_header(array.shape) + array.tobytes() == plain


@MANY
@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["raw", "gzipped"])
def test_a_damaged_idx_file_is_refused_or_is_the_only_file_of_its_array(tmp_path, wrap, count):
    assert all_refused(tmp_path / "idx", wrap(IDX), count, read_idx, is_the_file_of, DataError)


@MANY
def test_no_altered_checkpoint_is_accepted(tmp_path, count):
    run = new_cnn_run(tmp_path, steps=3)
    path, expected = tmp_path / NEWEST, run.arrays()
    assert all_refused(
        path,
        path.read_bytes(),
        count,
        lambda path: checkpoint.read(path, expected),
        lambda altered, found: False,
        CheckpointError,
    )


@MANY
def test_no_altered_network_is_accepted(tmp_path, count):
    path = tmp_path / "network.safetensors"
    new_cnn_run(tmp_path / "r", steps=3).network.save(path)
    data = path.read_bytes()
    assert all_refused(path, data, count, load_network, lambda altered, found: False, ValueError)


def anything(altered, found):
    """Files without a checksum: what is read may differ, if only it is read."""
    return True


@MANY
def test_damaged_weights_of_pytorch_are_read_or_refused(tmp_path, count):
    save_torch(softmax_regression(), tmp_path / "n")
    data = (tmp_path / "n").read_bytes()
    assert all_refused(tmp_path / "n", data, count, load_torch, anything, ValueError)


@MANY
def test_damaged_onnx_models_are_read_or_refused(tmp_path, count):
    pytest.importorskip("onnx")
    save_onnx(softmax_regression(), tmp_path / "n")
    data = (tmp_path / "n").read_bytes()
    load_onnx(tmp_path / "n")  # imports all of the package
    assert all_refused(tmp_path / "n", data, count, load_onnx, anything, ValueError)


def data_set_file(directory, form):
    """One file of a small data set in a form, which is what is damaged, and the path to read."""
    images, labels = make()
    path = directory / form
    if form == "a.csv":
        path.write_text(csv(images[:20], labels[:20]))
    elif form == "a.csv.gz":
        path.write_bytes(gzip.compress(csv(images[:20], labels[:20]).encode()))
    elif form.endswith("npz"):
        (np.savez_compressed if "compressed" in form else np.savez)(path, x=images, y=labels)
    elif form == "data_batch_2.bin":
        write_cifar(directory)
        return path, directory
    elif form == "labels.csv":
        test_labelled.write(directory, images, labels)
        return path, directory
    else:
        parquet = pytest.importorskip("test_parquet")
        parquet.write(path, images, labels, parquet.NAMES, compression=form.split(".")[0])
    return path, path


@MANY
@pytest.mark.parametrize(
    "form",
    [
        "a.csv", "a.csv.gz", "a.npz", "compressed.npz", "data_batch_2.bin", "labels.csv",
        "none.parquet", "snappy.parquet", "zstd.parquet",
    ],
)  # fmt: skip
def test_damaged_data_sets_are_read_or_refused(tmp_path, form, count):
    path, source = data_set_file(tmp_path, form)
    load_data(source)  # imports all that reads it
    # A damaged label may make a class that is too small, which is told of another file.
    data = path.read_bytes()
    assert all_refused(path, data, count, lambda _: load_data(source), anything, DataError, source)


@FEW
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_images_are_read_or_refused(tmp_path, kind, count):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    image = Image.new("RGB", (60, 80), "white")
    ImageDraw.Draw(image).line((35, 12, 28, 68), fill="black", width=6)
    image.save(tmp_path / "image", format=kind)
    lightness_of(tmp_path / "image")  # loads the decoder
    data = (tmp_path / "image").read_bytes()
    assert all_refused(tmp_path / "image", data, count, lightness_of, anything, ImageError)


@FEW
def test_a_damaged_config_is_refused_or_says_something_else(tmp_path, count):
    directory, rng = new_cnn_run(tmp_path, steps=3).directory, random.Random(0)
    data = (directory / CONFIG).read_bytes()
    for _ in range(count):
        (directory / CONFIG).write_bytes(mutant(data, rng))
        _, message = attempt(reopen, directory, (RunError, CheckpointError))
        assert "\n" not in (message or "")


@FEW
def test_damaged_metrics_do_not_keep_a_run_from_its_end(tmp_path, count):
    from minicnn.pictures import read_metrics

    directory = new_run(tmp_path / "r", steps=6, log_every=1).directory
    run = reopen(directory)
    train(run)
    data, rng = (directory / METRICS).read_bytes(), random.Random(0)
    for _ in range(count):
        (directory / METRICS).write_bytes(mutant(data, rng))
        reopen(directory).prepare_directory()
        assert set(read_metrics(directory / METRICS)["step"]) <= set(range(1, 7))


@FEW
def test_damaged_files_under_the_commands_are_one_line_and_exit_code_2(tmp_path, capfd, monkeypatch, count):
    monkeypatch.setattr(train_module, "draw_pictures", lambda run, probabilities: None)
    data, rng = write_data(tmp_path), random.Random(0)
    run = tmp_path / "r"
    new = ["--model", "softmax", "--ops", "reference", "--batch-size", "5", "--steps", "2", "--quiet"]
    assert main(["train", *new, "--data", str(data), "--run-dir", str(run)]) == 0
    victims = [run / NEWEST, run / CONFIG, *sorted(data.glob("*ubyte"))]
    for _ in range(count):
        victim = rng.choice(victims)
        whole = victim.read_bytes()
        victim.write_bytes(mutant(whole, rng))
        capfd.readouterr()
        commands = [["evaluate", str(run)], ["train", "--resume", str(run), "--quiet"]]
        for argv in commands[: 1 if victim.name == CONFIG else 2]:  # a config may ask for a million steps
            code = main(argv)
            error = capfd.readouterr().err
            assert code in (0, 2)
            assert error.count("\n") <= (1 if code == 2 else 2), error
            assert (code == 2) == error.startswith("minicnn: error: ")
        victim.write_bytes(whole)


# --- claims ---


def test_an_enormous_claim_in_a_sealed_header_costs_no_memory(tmp_path):
    claim = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    header = {"__metadata__": {"sha256": "0" * 64, "minicnn": "{}"}, "a": claim}
    text = json.dumps(header, separators=(",", ":")).encode()
    path = tmp_path / "network"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ValueError, match="network: damaged"):
        load_network(path)


def test_an_enormous_file_is_refused_unread(tmp_path):
    with open(tmp_path / "network", "wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(ValueError, match=r"network: cannot be read \(too large: expected at most"):
        load_network(tmp_path / "network")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", [CONFIG, METRICS, NEWEST])
def test_a_named_pipe_in_a_run_does_not_hang(tmp_path, name):
    directory = new_run(tmp_path / "r").directory
    (directory / name).unlink()
    os.mkfifo(directory / name)
    with pytest.raises((RunError, CheckpointError), match=rf"{name}: cannot be read \(not a regular file\)"):
        train(reopen(directory))


def test_half_a_data_set_leaves_no_run_directory(tmp_path, capfd):
    data = write_data(tmp_path)
    write_idx(data / "train-labels-idx1-ubyte", np.zeros(59, np.uint8))
    argv = ["train", "--model", "softmax", "--data", str(data), "--run-dir", str(tmp_path / "r")]
    assert main(argv) == 2
    assert "train-labels-idx1-ubyte: labels do not match" in capfd.readouterr().err
    assert not (tmp_path / "r").exists()
