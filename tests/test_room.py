"""What does not fit into memory is said before it is read."""

import gzip
import os
import re
import resource
import struct

import numpy as np
import pytest
from runs import exit_code, limit, new_cnn_run, new_process, start_child, write_data
from test_sources import csv, make, refusal, write_cifar, write_folders, write_idx_set

from minicnn import load_data
from minicnn.data import room
from minicnn.runs import room as training_room
from minicnn.runs.directory import RunError
from minicnn.storage.memory import available_memory

IMAGES, LABELS = make()
PIXELS = IMAGES.size  # bytes


def write_csv(path):
    path.write_text(csv(IMAGES, LABELS))


def write_gzipped_csv(path):
    path.write_bytes(gzip.compress(csv(IMAGES, LABELS).encode()))


def write_npz(path):
    with open(path, "wb") as file:
        np.savez(file, x=IMAGES, y=LABELS)


def write_labelled(path):
    import test_labelled

    test_labelled.write(path, IMAGES, LABELS)


def write_parquet(path):
    test_parquet = pytest.importorskip("test_parquet")
    test_parquet.write(path, IMAGES, LABELS)


def write_class_folders(path):
    write_folders(path, IMAGES, LABELS)


def write_idx_files(path):
    write_idx_set(path, IMAGES, LABELS.astype(np.uint8))


def write_cifar_files(path):
    path.mkdir()
    write_cifar(path)


@pytest.mark.parametrize(
    "write",
    [
        write_csv, write_gzipped_csv, write_npz, write_labelled, write_parquet, write_class_folders,
        write_idx_files, write_cifar_files,
    ],
)  # fmt: skip
def test_what_is_needed_and_what_there_is_are_told_before_anything_is_read(tmp_path, monkeypatch, write):
    write(tmp_path / "data")
    asked = []
    monkeypatch.setattr(room, "SMALL", 0)
    monkeypatch.setattr(room, "available_memory", lambda: asked.append(1) or 0)
    message = refusal(tmp_path / "data")
    assert message.startswith(str(tmp_path / "data"))
    assert "too large for this memory, expected 0 MB to be free, got 0 MB" in message
    assert len(asked) == 1
    monkeypatch.setattr(room, "available_memory", lambda: 1 << 40)
    load_data(tmp_path / "data")
    monkeypatch.setattr(room, "available_memory", lambda: None)
    load_data(tmp_path / "data")


def sparse_idx(directory, count):
    """A set of IDX files of `count` images of zeros, which take no room on the disk."""
    write_idx_files(directory)
    path = directory / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + struct.pack(">3I", count, 28, 28))
    os.truncate(path, 16 + 784 * count)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_limit_on_the_address_space_counts(tmp_path):
    sparse_idx(tmp_path / "data", 500_000)  # 392 MB

    def work():
        with limit("RLIMIT_AS", room.COPIES * 300_000_000 + address_space()):
            message = refusal(tmp_path / "data")
        assert "data: too large for this memory, expected 784 MB to be free, got " in message
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 50_000  # kilobytes

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert exit_code(start_child(work)) == 0


def address_space():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


# --- training ---

TRAIN = """
import os, resource, sys
import numpy
from minicnn.cli import main

with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {more}, used + {more}))
sys.exit(main(["train", "--steps", "2", "--batch-size", "5", "--quiet",
               "--data", {data!r}, "--run-dir", "r"]))
"""
NEEDED = r"needs about (\d+) MB more, the limit on addresses \(ulimit -v\) leaves (\d+) MB"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (100 << 20, rf"Numba {NEEDED}; train --ops reference works without"),
        (400 << 20, rf"not enough memory: the training {NEEDED}"),
    ],
)
def test_too_few_addresses_for_a_training_are_one_line_and_no_run_directory(tmp_path, more, message):
    data = write_data(tmp_path)
    done = new_process(TRAIN.format(data=str(data), more=more), directory=tmp_path)
    assert re.fullmatch(rf"minicnn: error: {message}\n", done.stderr)
    assert done.returncode == 2
    assert not (tmp_path / "r").exists()


def test_a_training_is_content_with_the_addresses_that_it_asks_for(tmp_path):
    data, more = write_data(tmp_path), 400 << 20
    refused = new_process(TRAIN.format(data=str(data), more=more), directory=tmp_path)
    needed, left = map(int, re.search(NEEDED, refused.stderr).groups())
    enough = more + (needed - left + 2) * 10**6
    done = new_process(TRAIN.format(data=str(data), more=enough), directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(compiling kernels .*\n)?", done.stderr)  # where no cache has them yet


def test_steps_that_cannot_fit_into_memory_are_refused_before_there_is_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(training_room, "available_memory", lambda: 10**9)
    message = r"steps of 10000 images take 1,\d\d\d MB or more, got 1,000 MB; try a smaller --batch-size"
    with pytest.raises(RunError, match=message):
        new_cnn_run(tmp_path / "r", 1, batch_size=10_000)
    assert not (tmp_path / "r").exists()
    new_cnn_run(tmp_path / "r", 1, batch_size=1000)


# --- how much memory there is ---


def system(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_the_files_of_the_system_nothing_is_known(tmp_path):
    assert available_memory(tmp_path) is None


def test_the_system_tells_what_is_available(tmp_path):
    root = system(tmp_path, proc__meminfo="MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    5 kB\n")
    assert available_memory(root) == 5 * 1024


def test_a_container_leaves_its_limit_less_what_it_uses_and_could_not_give_back(tmp_path):
    root = system(tmp_path, proc__meminfo="MemAvailable: 100 kB\n", proc__self__cgroup="0::/a/b\n")
    group = system(root / "sys/fs/cgroup/a", **{"memory.max": "10000\n", "memory.current": "8000\n"})
    assert available_memory(root) == 2000
    (group / "memory.stat").write_text("anon 1\ninactive_file 3000\nactive_file 5\n")
    assert available_memory(root) == 5000
    (group / "memory.max").write_text("max\n")
    assert available_memory(root) == 100 * 1024


def test_the_first_version_of_control_groups_is_read_too(tmp_path):
    root = system(tmp_path, proc__self__cgroup="4:memory:/a\n3:cpu:/\n")
    files = {"memory.limit_in_bytes": "9000\n", "memory.usage_in_bytes": "9500\n"}
    system(root / "sys/fs/cgroup/memory/a", **files)
    assert available_memory(root) == 0
