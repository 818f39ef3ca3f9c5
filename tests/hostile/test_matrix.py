"""The matrix of commands and hostile files is complete; no file is opened past the one function for it."""

import argparse
import ast
import re
from pathlib import Path

import corpus
import matrix
import pytest

import minicnn
from minicnn.cli import build_parser

ROOT = Path(minicnn.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
# Arguments that are text, but no name of a file that is read as data: a program of the user's own is run.
NO_FILES = {("train", "recipe"), ("gradcheck", "layer"), ("gradcheck", "file"), ("learn", "directory")}
NO_FILES |= {("sweep", name) for name in ("seeds", "recipe", "model", "set", "scheduler")}


def commands():
    actions = build_parser()._actions
    return next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices


def actions_of(parser):
    """The arguments of a command, and those of its actions."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part in action.choices.values():
                yield from actions_of(part)
        else:
            yield action


def text_arguments(command):
    """What may be the name of a file: anything that is not a number, a choice or a switch."""
    for action in actions_of(commands()[command]):
        if action.type is None and action.choices is None and action.nargs != 0:
            yield action.dest


# --- commands ---


def test_every_command_has_a_row():
    assert {row.argv[0] for row in matrix.ROWS} | matrix.READ_NO_FILE == set(commands())


@pytest.mark.parametrize("command", commands())
def test_every_argument_that_names_a_file_has_a_column(command):
    known = set().union(*(row.reads for row in matrix.ROWS if row.argv[0] == command))
    assert {name for name in text_arguments(command) if (command, name) not in NO_FILES} == known


@pytest.mark.parametrize("row", matrix.ROWS, ids=lambda row: row.name)
def test_every_row_reads_kinds_that_there_are(row):
    assert row.kinds <= set(matrix.PLACES)
    build_parser().parse_args(row.argv)


# --- readers ---


def calls(file):
    """The calls in a file, each with the innermost function around it."""
    found = []

    def visit(node, function):
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.Call):
            found.append((function, ast.unparse(node.func)))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse((ROOT / file).read_text()), None)
    return found


def test_every_function_that_reads_a_file_has_a_column():
    openers = {"open_regular", "read_regular", "files.open_regular", "files.read_regular"}
    readers = {f"{file}:{function}" for file in FILES for function, call in calls(file) if call in openers}
    assert readers == set(matrix.READERS)


@pytest.mark.parametrize("kind", sorted(matrix.PLACES))
def test_every_kind_of_file_is_read_somewhere_and_has_cases(kind):
    assert any(kind in row.kinds for row in matrix.ROWS)
    assert len(corpus.CASES[kind]) >= (6 if kind in ("run", "data", "picture") else 15)
    if kind not in ("run", "data"):
        assert any(kind in kinds for kinds in matrix.READERS.values())


# --- openers ---

OPENS = re.compile(
    r"(.*\.)?(open|fdopen|open_code|read_text|read_bytes|load_file|safe_open|fromfile|memmap|loadtxt|genfromtxt|mmap"
    r"|imread)|(np|numpy|onnx|json|torch|pickle|safetensors\.numpy)\.load"
)
# What opens no file that somebody else made: file, function, call.
ALLOWED = {
    ("storage/files.py", "open_regular", "open"),
    ("storage/files.py", "_without_waiting", "os.open"),
    ("storage/files.py", "write_whole", "temporary.open"),
    ("storage/files.py", "sync_directory", "os.open"),
    ("runs/directory.py", "append_metrics", "open"),  # cut_metrics has read it before
    ("engine/kernels/cache.py", "_find_directory", "source.read_bytes"),  # its own source
    ("storage/cgroups.py", "read", "file.read_text"),  # of the system: /proc and /sys
    ("cli/terminal.py", "abandon_stdout_if_broken", "os.open"),  # nowhere
    ("cli/terminal.py", "fail_unexpectedly", "open"),  # a new temporary file
    ("pictures/style.py", "is_ours", "Image.open"),  # gets the open file
    ("data/image_file.py", "_opened", "Image.open"),  # gets the open file
    ("data/sources/npz_file.py", "_array", "archive.open"),  # a member of the open file
    ("checks/conventions/functions.py", "_matched_reading", "arguments.open"),  # no file: lets arguments vary
    ("explore/server.py", "add", "entry.read_bytes"),  # its own pages
    ("cli/common.py", "open_run", "Run.open"),
    ("learn/start.py", "exercises", "place.read_text"),  # a file of the package
    ("learn/start.py", "write_exercises", "file.open"),  # a new file
    ("learn/child.py", "main", "os.fdopen"),  # its own stdout
    ("cli/train.py", "_resume", "Run.open"),
    ("sweeps/cell.py", "_train", "Run.open"),
}


@pytest.mark.parametrize("file", FILES)
def test_no_file_is_opened_past_the_one_function_for_it(file):
    opening = {(file, function, call) for function, call in calls(file) if OPENS.fullmatch(call)}
    assert opening <= ALLOWED


@pytest.mark.parametrize(
    "line", ["open(p)", "Path(p).read_text()", "np.load(p)", "Image.open(p)", "p.open()", "onnx.load(p)"]
)
def test_openers_are_found(line, tmp_path, monkeypatch):
    (tmp_path / "f.py").write_text(f"def f():\n    {line}\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (_, call), *_ = calls("f.py")
    assert OPENS.fullmatch(call)
