"""No output replaces a device, a named pipe, a file of a run, or the file that is being read."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from commands import assert_usage_error, options, run_main
from PIL import Image

from minicnn import load_network, softmax_regression
from minicnn.cli import main
from minicnn.interchange import save_torch
from minicnn.pictures import draw_filters
from minicnn.storage.files import write_whole
from minicnn.storage.outputs import RUN_FILES


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(here, data, capsys):
    """Two runs, `a` and `b`, and the network file `n.safetensors`."""
    for name in "ab":
        assert main([*options(data, "--steps", 3, "--run-dir", name), "--quiet"]) == 0
    softmax_regression(ops="reference").save("n.safetensors")
    capsys.readouterr()
    return here


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


WRITERS = {
    "report": ["report", "a", "b", "--output"],
    "export": ["export", "n.safetensors", "--to", "safetensors-torch", "--output"],
    "import": ["import", "t.safetensors"],
}
every_writer = pytest.mark.parametrize("writer", WRITERS)


@every_writer
def test_a_device_and_a_named_pipe_stay_what_they_are(capsys, runs, writer):
    save_torch(load_network("n.safetensors", ops="reference"), "t.safetensors")
    os.mkfifo("pipe")
    Path("link").symlink_to(os.devnull)
    for name in ("pipe", os.devnull, "link"):
        assert_usage_error(run_main(capsys, *WRITERS[writer], name), name, "not a regular file")
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert Path("link").is_symlink()


@every_writer
def test_a_link_is_followed(capsys, runs, writer):
    save_torch(load_network("n.safetensors", ops="reference"), "t.safetensors")
    Path("link").symlink_to("target")
    assert run_main(capsys, *WRITERS[writer], "link")[0] == 0
    assert Path("link").is_symlink()
    assert Path("target").stat().st_size > 1000


@every_writer
@pytest.mark.parametrize("name", RUN_FILES)
def test_no_file_of_a_run_is_replaced(capsys, runs, writer, name):
    save_torch(load_network("n.safetensors", ops="reference"), "t.safetensors")
    Path("link").symlink_to(f"b/{name}")
    before = contents(runs)
    for output in (f"a/{name}", "link"):
        assert_usage_error(run_main(capsys, *WRITERS[writer], output), output, "file of a run")
    assert contents(runs) == before


def test_another_spelling_of_a_file_of_a_run_may_be_the_same_file(capsys, runs):
    for name in ("a/CONFIG.JSON", "a/Refusal.safetensors"):  # to macOS and Windows
        assert_usage_error(run_main(capsys, *WRITERS["report"], name), name, "file of a run")


@pytest.mark.parametrize("name", RUN_FILES)
def test_python_replaces_no_file_of_a_run_either(runs, name):
    network, before = load_network("n.safetensors", ops="reference"), contents(runs)
    for write in (network.save, lambda path: save_torch(network, path)):
        with pytest.raises(OSError, match="file of a run"):
            write(f"a/{name}")
    with pytest.raises(OSError, match="file of a run"):
        draw_filters(np.zeros((5, 5, 1, 4)), f"a/{name}")
    assert contents(runs) == before


def test_the_file_that_is_read_is_not_replaced(capsys, runs):
    os.link("n.safetensors", "other name.safetensors")
    Path("link").symlink_to("n.safetensors")
    before = Path("n.safetensors").read_bytes()
    for output in ("n.safetensors", "./n.safetensors", "other name.safetensors", "link"):
        for writer in (WRITERS["export"], ["import", "n.safetensors"]):
            assert_usage_error(run_main(capsys, *writer, output), output, "being read")
    assert Path("n.safetensors").read_bytes() == before


def test_the_comparison_replaces_no_picture_of_the_runs(capsys, runs):
    assert_usage_error(
        run_main(capsys, "report", "a", "b", "--output", "a/curves.png"), "a/curves.png", "being read"
    )


def test_an_output_that_was_not_named_replaces_nothing(capsys, runs):
    Path("n.torch.safetensors").write_text("mine")
    argv = ["export", "n.safetensors", "--to", "safetensors-torch"]
    assert_usage_error(run_main(capsys, *argv), "n.torch.safetensors exists", "--output")
    assert Path("n.torch.safetensors").read_text() == "mine"
    assert run_main(capsys, *argv, "--output", "n.torch.safetensors")[0] == 0


def test_a_run_begins_in_no_directory_with_pictures_that_it_would_replace(capsys, here, data):
    Path("holidays").mkdir()
    Image.new("L", (5, 5)).save("holidays/curves.png")
    before = contents(here / "holidays")
    result = run_main(capsys, *options(data, "--steps", 3, "--run-dir", "holidays"))
    assert_usage_error(result, "holidays: already holds a curves.png")
    assert contents(here / "holidays") == before


def test_an_error_names_the_file_that_was_asked_for_and_no_temporary_one(here, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole("wanted", b"content")
    assert caught.value.filename == "wanted"
    assert list(here.iterdir()) == []
