"""Any environment: the engine computes, or says in one line why not, wherever its cache may or may not go.

The short versions compile three small kernels; the long ones train with all of them.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import new_process, write_data

import minicnn

PACKAGE = Path(minicnn.__file__).parent

# Three kernels: two elementwise, and an update.
COMPUTE = """
import hashlib
import numpy as np
from minicnn.engine import kernels
x = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
digest = hashlib.sha256(kernels.relu_forward(x)[0])
"""
GO_ON = """
digest.update(kernels.relu_backward(x, kernels.relu_forward(x)[1]))
kernels.sgd_update(x.reshape(-1), x.reshape(-1).copy(), np.zeros(x.size, np.float32), 0.1, 0.9)
digest.update(x)
print(digest.hexdigest())
"""
ALL = COMPUTE + GO_ON
SERIAL = {"NUMBA_NUM_THREADS": "1"}  # parallel kernels take three times as long to compile


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package, without caches."""
    place = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, place / "minicnn", ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.fixture(scope="module")
def unwritable(copy, tmp_path_factory):
    """A copy whose kernels have no place for a cache: root may write anywhere, but not into a file."""
    place = tmp_path_factory.mktemp("unwritable")
    shutil.copytree(copy / "minicnn", place / "minicnn", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "minicnn" / "engine" / "kernels" / "__pycache__").write_text("")
    return place


@pytest.fixture(scope="module")
def right(copy, tmp_path_factory):
    """The digest that every environment must give, and a cache full of its kernels."""
    cache = tmp_path_factory.mktemp("cache")
    return compute(ALL, copy, NUMBA_CACHE_DIR=str(cache))[0], cache


def compute(code, package, **environment):
    """The digest that the code prints, and its warnings."""
    home = {"XDG_CACHE_HOME": None, "NUMBA_CACHE_DIR": None, "PYTHONPATH": None}
    done = new_process(code, directory=package, **{**home, **SERIAL, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), re.findall(r"RuntimeWarning: (.*)", done.stderr)


# --- no place for the cache ---


@pytest.mark.parametrize("home", [None, "/dev/null", "/nonexistent"])
def test_without_a_home_the_cache_is_beside_the_sources(copy, right, home):
    assert compute(ALL, copy, HOME=home) == (right[0], [])


def test_parallel_kernels_have_their_place_beside_the_serial_ones(copy, right, tmp_path):
    shutil.copytree(right[1], tmp_path / "cache")
    for _ in range(2):  # compiled, and from the cache
        threads = {"NUMBA_NUM_THREADS": "2", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        assert compute(ALL, copy, **threads) == (right[0], [])
    for variant in "serial", "parallel":
        assert list((tmp_path / "cache").rglob(f"{variant}/**/*.nbi"))


def test_without_a_writable_package_the_cache_is_in_the_home(unwritable, right, tmp_path):
    assert compute(ALL, unwritable, HOME=str(tmp_path)) == (right[0], [])
    assert list((tmp_path / ".cache" / "minicnn").rglob("*.nbi"))


def test_without_any_place_kernels_are_compiled_with_one_warning(unwritable, right):
    digest, warnings = compute(ALL, unwritable, HOME="/dev/null")
    assert digest == right[0]
    assert len(warnings) == 1
    assert "no directory for the cache is writable; set NUMBA_CACHE_DIR" in warnings[0]


def test_a_full_disk_under_the_cache_costs_one_warning(copy, right, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
    digest, warnings = compute(limit + ALL, copy, NUMBA_CACHE_DIR=str(tmp_path))
    assert digest == right[0]
    assert len(warnings) == 1
    assert "File too large" in warnings[0]


# The package cannot be written: as root everything can, so this is said to Python.
READ_ONLY = """
import tempfile
TemporaryFile = tempfile.TemporaryFile
def refuse(*args, dir=None, **options):
    if str(dir).startswith({package!r}):
        raise PermissionError(13, "read-only")
    return TemporaryFile(*args, dir=dir, **options)
tempfile.TemporaryFile = refuse
from numba.core import event
class Compilations(event.Listener):
    count = 0
    def on_start(self, event): self.count += 1
    def on_end(self, event): pass
compilations = Compilations()
event.register("numba:compile", compilations)
"""
COUNT = "\nfrom minicnn.engine.kernels import cache\nprint(compilations.count, cache.DIRECTORY)"


@pytest.fixture(scope="module")
def read_only(copy, tmp_path_factory):
    """A copy whose cache beside the sources is full, and the code that forbids to write there."""
    place = tmp_path_factory.mktemp("installed")
    shutil.copytree(copy / "minicnn", place / "minicnn", ignore=shutil.ignore_patterns("__pycache__"))
    compute(ALL, place, HOME=None)
    return place, READ_ONLY.format(package=str(place)) + ALL + COUNT


def files_of(directory):
    return sorted(path.relative_to(directory) for path in directory.rglob("*"))


def test_the_full_cache_of_a_read_only_installation_is_read_without_any_home(read_only, right, tmp_path):
    place, code = read_only
    before = files_of(place)
    found, warnings = compute(code, place, HOME="/dev/null", TMPDIR=str(tmp_path))
    digest, count, used = found.split()
    assert (digest, count, warnings) == (right[0], "0", [])
    assert used.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []  # it is gone with the process
    assert files_of(place) == before


def test_the_full_cache_of_a_read_only_installation_is_copied_into_the_home(read_only, right, tmp_path):
    place, code = read_only
    for _ in range(2):
        found, warnings = compute(code, place, HOME=str(tmp_path))
        digest, count, used = found.split()
        assert (digest, count, warnings) == (right[0], "0", [])
        assert used.startswith(str(tmp_path / ".cache"))
    assert len(list((tmp_path / ".cache" / "minicnn").iterdir())) == 1


def test_a_cache_that_somebody_chose_begins_empty(read_only, right, tmp_path):
    place, code = read_only
    digest, count, used = compute(code, place, NUMBA_CACHE_DIR=str(tmp_path))[0].split()
    assert (digest, used.startswith(str(tmp_path))) == (right[0], True)
    assert int(count) > 0


def test_an_archive_is_refused_in_one_line(copy, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", copy, "minicnn")
    done = new_process("import minicnn", directory=tmp_path, PYTHONPATH=archive)
    assert re.search(r"ImportError: minicnn cannot run from an archive \(.*packed.zip", done.stderr)
    command = [sys.executable, "-m", "minicnn", "train"]
    environment = os.environ | {"PYTHONPATH": archive}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert re.fullmatch(r"minicnn: error: minicnn cannot run from an archive .*\n", done.stderr)


def test_a_place_with_too_long_a_name_for_windows_is_passed_over(monkeypatch, tmp_path):
    from minicnn.engine.kernels import cache

    far = tmp_path / ("n" * 150)
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(far))
    assert cache._find_directory().startswith(str(far))
    monkeypatch.setattr(sys, "platform", "win32")
    assert not cache._find_directory().startswith(str(far))


def test_the_names_in_the_cache_are_no_longer_than_is_allowed_for():
    from minicnn.engine.kernels import cache

    longest = 0
    for path in (PACKAGE / "engine" / "kernels").glob("*.py"):
        for kernel in re.findall(r"\n@kernel\(.*\)\ndef (\w+)", path.read_text()):
            file = f"{path.stem}.{kernel}-1234.py314t.12.nbc.tmp.{16 * 'x'}"
            longest = max(longest, len(f"/parallel/kernels_{40 * 'x'}/{file}"))
    assert 100 < longest <= cache.LONGEST


# --- a bad cache ---


def empty(path):
    path.write_bytes(b"")


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path):
    path.write_bytes(b"nonsense" * 100)


@pytest.mark.parametrize("damage", [empty, halve, garble, Path.unlink])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_costs_at_most_one_warning(copy, right, tmp_path, damage, kind):
    shutil.copytree(right[1], tmp_path / "cache")
    files = list((tmp_path / "cache").rglob(f"*.{kind}"))
    assert files
    for path in files:
        damage(path)
    digest, warnings = compute(ALL, copy, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert digest == right[0]
    assert len(warnings) <= 1


def test_a_cache_deleted_in_the_middle_costs_at_most_one_warning(copy, right, tmp_path):
    shutil.copytree(right[1], tmp_path / "cache")
    delete = f"import shutil; shutil.rmtree({str(tmp_path / 'cache')!r})\n"
    digest, warnings = compute(COMPUTE + delete + GO_ON, copy, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert digest == right[0]
    assert len(warnings) <= 1


def test_four_processes_may_fill_one_cache_at_once(copy, right, tmp_path):
    environment = os.environ | SERIAL | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(copy)}
    command = [sys.executable, "-c", ALL]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    found = [process.communicate()[0].strip() for process in started]
    assert found == [right[0]] * 4
    assert compute(ALL, copy, NUMBA_CACHE_DIR=str(tmp_path)) == (right[0], [])


# --- around the command ---


def train(directory, *options, python=(), **environment):
    """A short training by the command, in a process of its own."""
    small = ["--steps", "4", "--batch-size", "5", "--data", str(directory), "--run-dir", "r", *options]
    command = [sys.executable, *python, "-m", "minicnn", "train", *small]
    merged = {name: value for name, value in (os.environ | environment).items() if value is not None}
    return subprocess.run(command, capture_output=True, text=True, cwd=directory, env=merged)


SOFTMAX = ("--model", "softmax", "--ops", "reference")


@pytest.mark.parametrize("python", [("-O",), ("-OO",), ("-W", "error")], ids="".join)
def test_python_may_be_strict_or_optimised(tmp_path, python):
    done = train(write_data(tmp_path), *SOFTMAX, python=python)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"HOME": None}, {"HOME": "/dev/null"}], ids=str
)
def test_a_bare_environment_will_do(tmp_path, environment):
    done = train(write_data(tmp_path), *SOFTMAX, MPLCONFIGDIR=None, **environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_working_directory_that_is_gone_is_one_line(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    leave = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
    done = new_process(leave + "from minicnn.cli import main; exit(main([]))")
    assert done.returncode == 2
    assert re.fullmatch(r"minicnn: error: runs: .*\n", done.stderr)


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_is_no_reason_to_fail(tmp_path, closed):
    code = f"import os; os.close({closed}); os.execv(PYTHON, [PYTHON, '-m', 'minicnn', *ARGS])"
    arguments = ["train", *SOFTMAX, "--steps", "2", "--data", str(write_data(tmp_path)), "--run-dir", "r"]
    done = new_process(f"PYTHON, ARGS = {sys.executable!r}, {arguments!r}\n{code}", directory=tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (tmp_path / "r" / "curves.png").exists()


# --- with all kernels ---


@pytest.mark.long
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_training_without_any_cache_ends_as_any_other(unwritable, tmp_path, layer):
    data = write_data(tmp_path)
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": None, "NUMBA_CACHE_DIR": None}
    done = train(data, PYTHONPATH=str(unwritable), NUMBA_THREADING_LAYER=layer, **nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("minicnn: warning: kernels are compiled anew") == 1
    shutil.rmtree(tmp_path / "r")
    assert train(data).stdout == done.stdout


@pytest.mark.long
def test_four_cold_trainings_at_once_end_alike(copy, tmp_path):
    data = write_data(tmp_path)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(copy)}
    started = []
    for name in "abcd":
        options = ["--steps", "4", "--batch-size", "5", "--data", str(data), "--run-dir", name, "--quiet"]
        command = [sys.executable, "-m", "minicnn", "train", *options]
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE))
    found = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len(set(found)) == 1
    weights = set()
    for name in "abcd":
        data = (tmp_path / name / "checkpoint.safetensors").read_bytes()
        weights.add(data[8 + int.from_bytes(data[:8], "little") :])  # not the header, which has the time
    assert len(weights) == 1


@pytest.mark.long
def test_the_cache_may_go_while_a_training_runs(copy, tmp_path):
    cache, data = tmp_path / "cache", write_data(tmp_path)
    options = [
        "--steps",
        "400",
        "--batch-size",
        "5",
        "--log-every",
        "1",
        "--data",
        str(data),
        "--run-dir",
        "r",
    ]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "minicnn", "train", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)
    while not process.stdout.readline().startswith("step 1 "):
        pass
    shutil.rmtree(cache)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "test accuracy" in out.splitlines()[-1]
