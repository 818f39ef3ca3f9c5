"""Every command on every hostile file that it reads: one line of error in 1 GB and 10 s, nothing changed.

A sample runs always; `pytest -m long tests/hostile` runs the full cross.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import corpus
import matrix
import pytest

from minicnn import cli

HERE = Path(__file__).parent
ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
LESS_ADDRESS_SPACE = ONE_THREAD | {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # its own reserves a gigabyte
EVERY_ROW = pytest.mark.parametrize("row", matrix.ROWS, ids=lambda row: row.name)
SHARE = 4  # of the cases that are the same for every kind of file, the sample has one in so many
ALIKE = {case.name for case in corpus.CASES["metrics"]} & {case.name for case in corpus.CASES["torch"]}


MISSING = set() if importlib.util.find_spec("onnx") else {"onnx", "weights"}  # packages that read these
MISSING |= set() if importlib.util.find_spec("pyarrow") else {"parquet"}


def kinds_of(row):
    """The kinds of files that a row reads, and the environment; none where a package is missing."""
    files = row.kinds - MISSING
    return [*sorted(files), "environment"] if files else []


def all_pairs(row):
    return [(row.name, kind, case.name) for kind in kinds_of(row) for case in corpus.CASES[kind]]


def sample():
    """Every good command; every case of a single kind once, and a share of the others."""
    pairs = [(row.name, kind, "good") for row in matrix.ROWS for kind in kinds_of(row)[:1]]
    for number, (kind, cases) in enumerate(corpus.CASES.items()):
        rows = [row for row in matrix.ROWS if kind in kinds_of(row)]
        for index, case in enumerate(cases):
            if rows and (case.name not in ALIKE or (index + number) % SHARE == 0):
                pairs.append((rows[index % len(rows)].name, kind, case.name))
    return pairs


def run(pairs, directory):
    """What happened in each pair: see `worker.py`."""
    for name in ("good", "scratch"):
        (directory / name).mkdir()
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, HERE / "worker.py", directory / "good", directory / "scratch"]
    environment = os.environ | LESS_ADDRESS_SPACE | {"PYTHONPATH": path}
    done = subprocess.run(command, input=json.dumps(pairs), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((directory / "scratch" / "results.json").read_text())


def faults(result):
    """What is wrong with what happened, in a few words."""
    by = [case.read_by for case in corpus.CASES[result["kind"]] if case.name == result["case"]] or [("",)]
    code, out, err = result["code"], result["out"], result["err"]
    if any(result["row"].startswith(row) for row in by[0]):
        if code != 0 and not (code == 1 and result["row"].startswith("train")):  # a training may diverge
            yield "refused"
    else:
        if code != 2:
            yield f"exit code {code}"
        if err.count("\n") != 1 or not err.startswith("minicnn: error: "):
            yield "not one line of error"
        if out:
            yield "output"
        if result["changed"]:
            yield f"changed {result['changed']}"
    if not all(character.isprintable() or character == "\n" for character in out + err):
        yield "raw control characters"
    if len(err) > 2000:
        yield f"an error of {len(err)} characters"


def all_faults(results):
    return [
        f"{r['row']}, {r['kind']}: {r['case']}: {fault} ({r['seconds']:.1f} s) {r['err'][:300]}"
        for r in results
        for fault in faults(r)
    ]


@pytest.fixture(scope="module")
def happened(tmp_path_factory):
    return run(sample(), tmp_path_factory.mktemp("hostile"))


@EVERY_ROW
def test_a_sample_of_what_a_command_reads_is_refused_in_one_line_or_read(happened, row):
    assert all_faults([result for result in happened if result["row"] == row.name]) == []


def test_the_sample_has_every_hostile_file(happened):
    found = {result["case"] for result in happened}
    kinds = {kind for row in matrix.ROWS for kind in kinds_of(row)}
    assert {case.name for kind in kinds for case in corpus.CASES[kind]} <= found


@pytest.mark.long
@EVERY_ROW
def test_all_that_a_command_reads_is_refused_in_one_line_or_read(tmp_path, row):
    assert all_faults(run(all_pairs(row), tmp_path)) == []


def test_the_check_finds_each_fault():
    good = {
        "row": "predict RUN",
        "kind": "image",
        "case": "good",
        "code": 0,
        "out": "",
        "err": "",
        "changed": [],
    }
    bad = good | {"case": "a web page", "code": 2, "err": "minicnn: error: x\n", "seconds": 0.0}
    assert list(faults(good)) == list(faults(bad)) == []
    errors = (
        "",
        bad["err"] * 2,
        "Traceback\n",
        "minicnn: error: \x1b[31m\n",
        f"minicnn: error: {'x' * 3000}\n",
    )
    others = {"code": 0}, {"code": 99}, {"code": -14}, {"out": "7"}, {"changed": ["x"]}
    for change in (*({"err": error} for error in errors), *others):
        assert len(list(faults(bad | change))) == 1, change
    assert len(list(faults(good | {"code": 2}))) == 1


# --- names ---

ODD_NAMES = ("\x1b[2J\x1b]0;title\x07", "two\nlines", "\u202egnp.exe", "\udcff\udcfe", "n" * 300, "no\tsuch")


@pytest.mark.parametrize("name", ODD_NAMES, ids=["escape", "line feed", "direction", "bytes", "long", "tab"])
@EVERY_ROW
def test_a_name_of_any_characters_is_printed_in_one_line(capsys, tmp_path, monkeypatch, row, name):
    monkeypatch.chdir(tmp_path)
    named = {Path(place).parts[0] for place in matrix.PLACES.values()}
    argv = [name if argument in named else argument for argument in row.argv]
    assert name in argv
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("minicnn: error: ")
    assert err.endswith("\n")
    assert err[:-1].isprintable()
