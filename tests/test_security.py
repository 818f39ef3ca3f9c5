"""Nothing in a file that is read can run code: SECURITY.md lists the files, and why."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from runs import DATA, new_run

import minicnn
from minicnn import load_network
from minicnn.data import DataError, read_idx
from minicnn.runs import checkpoint
from minicnn.runs.checkpoint import NEWEST, CheckpointError
from minicnn.runs.directory import CONFIG, RunError, read_config
from minicnn.storage import limits

ROOT = Path(minicnn.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "importlib.util"}
FORBIDDEN_CALLS = {"eval", "__import__", "np.load", "numpy.load", "os.system", "np.fromregex"}
# Runs text that it has written itself, from no input: the body of an unrolled loop.
PICKLES = "checks/contract.py"  # it copies layers through pickle
RUNS_A_PROGRAM = {"checks/files/discover.py"}  # of the user's own, which says so: see SECURITY.md
WRITES_CODE = {"engine/kernels/tile.py", "engine/without_blas.py"}  # from source of its own


def names_of(node):
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {node.module or ""}
    return set()


def test_the_contract_unpickles_only_what_it_has_just_pickled():
    tree = ast.parse((ROOT / PICKLES).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    loads = [ast.unparse(c) for c in calls if ast.unparse(c.func).startswith("pickle.load")]
    assert loads == ["pickle.loads(pickle.dumps(layer))"]


@pytest.mark.parametrize("file", FILES)
def test_no_file_of_the_package_uses_what_runs_code_from_data(file):
    if file == PICKLES:
        return
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if file not in RUNS_A_PROGRAM:
            assert not names_of(node) & FORBIDDEN_MODULES
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS
            assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords)
            if ast.unparse(node.func) in ("exec", "compile"):
                assert file in WRITES_CODE


PICKLE = b"cos\nsystem\n(S'touch PWNED'\ntR."  # the classic


@pytest.fixture
def pickles(tmp_path, monkeypatch):
    """Two files whose unpickling leaves a file, bare and as NumPy would store it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare").write_bytes(PICKLE)
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    (tmp_path / "npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + PICKLE)
    yield tmp_path / "bare", tmp_path / "npy"
    assert not (tmp_path / "PWNED").exists()


def test_the_pickles_of_these_tests_would_run_code(tmp_path, monkeypatch):
    import pickle

    monkeypatch.chdir(tmp_path)
    pickle.loads(PICKLE)
    assert (tmp_path / "PWNED").exists()


def test_a_pickle_is_refused_wherever_a_file_is_read(pickles):
    run = new_run("r", data=DATA)
    for path in pickles:
        content = path.read_bytes()
        with pytest.raises(DataError):
            read_idx(path)
        with pytest.raises(ValueError, match=path.name):
            load_network(path)
        (run.directory / NEWEST).write_bytes(content)
        with pytest.raises(CheckpointError):
            checkpoint.read(run.directory / NEWEST, {"fc.weight": np.zeros((784, 10), np.float32)})
        (run.directory / CONFIG).write_bytes(content)
        with pytest.raises(RunError):
            read_config(run.directory)


# --- limits ---

LIMITS = {  # of each row of the table in SECURITY.md
    "MNIST and other data sets": ["IDX", "GZIP_FREE"],
    "CSV files of images": ["CSV"],
    "NumPy archives (`.npz`)": ["NPZ"],
    "parquet files of images": ["PARQUET"],
    "`labels.csv` beside pictures": ["LABELS"],
    "CIFAR's files": ["CIFAR"],
    "names of classes": ["NAMES"],
    "checkpoints, saved networks": ["HEADER", "ARRAYS"],
    "`config.json`": ["CONFIG"],
    "`metrics.csv`": ["METRICS"],
    "`sweep.json`": ["CONFIG"],
    "photos and drawings, folders of pictures": ["IMAGE", "PIXELS"],
    "weights from PyTorch": ["HEADER", "ARRAYS"],
    "networks from elsewhere": ["ONNX"],
}


def test_the_table_of_what_is_read_has_the_limits():
    path = ROOT.parent / "SECURITY.md"
    if not path.exists():
        pytest.skip("needs the sources")
    rows = [
        line.strip("| \n").split(" | ") for line in path.read_text().splitlines() if line.startswith("| ")
    ]
    found = {row[0]: re.findall(r"([\d,]+) MiB", row[3]) for row in rows[2:]}
    wanted = {name: [f"{getattr(limits, one) >> 20:,}" for one in of_row] for name, of_row in LIMITS.items()}
    assert found == wanted
    assert f"{limits.GZIP_RATIO} times the bytes of the gzip" in path.read_text()
    named = {name for name in vars(limits) if name.isupper()} - {"MIB", "GZIP_RATIO"}
    assert named == {name for of_row in LIMITS.values() for name in of_row}
