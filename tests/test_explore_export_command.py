"""`minicnn explore RUN --export DIR`: a new directory, whole or not at all, and the run as it was."""

import errno
import json
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from commands import assert_usage_error, run_main
from runs import DATA, new_run, write_data
from safetensors.numpy import load_file

from minicnn.storage import outputs
from minicnn.storage.outputs import write_new_directory

MOST_BYTES = 500_000


@pytest.fixture
def run(tmp_path):
    """A run without kernels, and data on the disk that its settings name."""
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data")
    run = new_run(tmp_path / "run", model="softmax", data=DATA)
    file = run.directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data": str(tmp_path / "data")}))
    return run


def contents(directory):
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_it_writes_the_page_with_the_weights_and_leaves_the_run_as_it_was(capsys, run, tmp_path):
    before = contents(run.directory)
    code, out, err = run_main(capsys, "explore", run.directory, "--export", tmp_path / "page")
    assert (code, err) == (0, [])
    assert out[0].startswith("written: ")
    assert out[1] == f"show it: python -m http.server --bind 127.0.0.1 --directory {tmp_path / 'page'}"
    assert contents(run.directory) == before
    weights = load_file(tmp_path / "page" / "data" / "weights.safetensors")
    np.testing.assert_array_equal(weights["fc.weight"], run.network.parameters()[0].value)
    assert weights["fc.weight"].dtype == np.float32
    page = (tmp_path / "page" / "index.html").read_text()
    assert '"./api.js": "./local/api.js"' in page
    assert "default-src 'none'" in page


def test_it_says_nothing_of_where_the_run_lies(capsys, run, tmp_path):
    assert run_main(capsys, "explore", run.directory, "--export", tmp_path / "page")[0] == 0
    about = json.loads((tmp_path / "page" / "data" / "about.json").read_text())
    assert about["name"] == "run"
    assert not any(str(tmp_path).encode() in content for content in contents(tmp_path / "page").values())


def test_the_page_is_light(capsys, run, tmp_path):
    assert run_main(capsys, "explore", run.directory, "--export", tmp_path / "page")[0] == 0
    files = contents(tmp_path / "page")
    assert sum(len(content) for name, content in files.items() if not name.startswith("data/")) < MOST_BYTES


def test_the_printed_command_shows_it(capsys, run, tmp_path):
    _, out, _ = run_main(capsys, "explore", run.directory, "--export", tmp_path / "page")
    _, _, module, *rest = out[1].removeprefix("show it: ").split()
    command = [sys.executable, "-u", "-m", module, *rest, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        address = server.stdout.readline().split("(")[1].split(")")[0]
        try:
            for name, kind in (
                ("", "text/html"),
                ("local/worker.js", "javascript"),
                ("vendor/preact.mjs", "javascript"),
            ):
                with urllib.request.urlopen(f"{address}{name}") as answer:
                    assert kind in answer.headers["Content-Type"]
        finally:
            server.terminate()


def test_an_empty_directory_is_filled(capsys, run, tmp_path):
    (tmp_path / "page").mkdir()
    assert run_main(capsys, "explore", run.directory, "--export", tmp_path / "page")[0] == 0
    assert (tmp_path / "page" / "index.html").exists()


def test_a_place_that_is_taken_is_refused_and_stays_as_it_is(capsys, run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    (tmp_path / "file").write_text("kept")
    before = contents(tmp_path)
    for name, words in (
        ("full", "not empty"),
        ("file", "not a directory"),
        ("none/page", "not in a directory that exists"),
        ("run/page", "which is being read"),
        ("run", "not empty"),
    ):
        result = run_main(capsys, "explore", run.directory, "--export", tmp_path / name)
        assert_usage_error(result, "--export", name, words)
    assert_usage_error(run_main(capsys, "explore", run.directory, "--export", ""), "--export")
    assert contents(tmp_path) == before


def test_without_a_run_there_is_nothing_to_export(capsys, tmp_path):
    result = run_main(capsys, "explore", "--export", tmp_path / "page")
    assert_usage_error(result, "--export", "RUN")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_exist_is_refused(capsys, tmp_path):
    result = run_main(capsys, "explore", tmp_path / "none", "--export", tmp_path / "page")
    assert_usage_error(result, "none", "no such file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("empty_before", [False, True])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, empty_before):
    if empty_before:
        (tmp_path / "page").mkdir()
    before = sorted(tmp_path.rglob("*"))
    written = []

    def full(path, content):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        path.write_bytes(content)

    monkeypatch.setattr(outputs, "write_whole", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_new_directory(tmp_path / "page", {"a": b"1", "b/c": b"2", "d": b"3"})
    assert error.value.filename == str(tmp_path / "page")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_an_empty_directory_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_new_directory(tmp_path / "link", {"a/b": b"1"})
    assert (tmp_path / "real" / "a" / "b").read_bytes() == b"1"
    assert (tmp_path / "link").is_symlink()
