"""Nothing that one system lacks is used without a guard, and docs/platforms.md lists all of it.

What systems lack is read from typeshed (`elsewhere/systems.py`); what exists everywhere and behaves
differently is listed here. mypy checks that guards are the right way round (`mypy --platform win32`).
"""

import ast
import errno
import functools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import pytest
from commands import assert_usage_error, options, run_main

import minicnn
from minicnn.engine.numba_settings import cpu_quota
from minicnn.explore.server import read_files
from minicnn.storage.memory import available_memory
from minicnn.storage.names import is_bare

sys.path.insert(0, str(Path(__file__).parent / "elsewhere"))
from systems import is_absent, systems_without

PACKAGE = Path(minicnn.__file__).parent
PAGE = PACKAGE.parent / "docs" / "platforms.md"
LINUX_ONLY = frozenset({"darwin", "win32"})
# Names that exist everywhere: what fails on some system or file system, and what to do there.
DIFFERENT = {"os.link": "file systems without links", "os.replace": "refused", "os.rename": "refused"}
FILES_OF_LINUX = re.compile(r"/?(proc|sys)/\w")
SIGNAL = re.compile(r"SIG[A-Z0-9]{3,}")
CAUGHT = {"AttributeError", "ImportError", "ModuleNotFoundError", "OSError", "PermissionError"}


class Use(NamedTuple):
    """Something that is not everywhere: its name, where it is used, and the systems without it."""

    name: str
    node: ast.AST
    missing: frozenset[str]


class Source:
    """A file of the package, as a tree in which each node knows its parent."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.modules = {  # what each name stands for
            alias.asname or alias.name: alias.name
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }

    def above(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Each node above this one, and the one on the way to it."""
        while node in self.parents:
            yield self.parents[node], node
            node = self.parents[node]

    def uses(self) -> Iterator[Use]:
        for node in ast.walk(self.tree):
            for name, missing in self._names(node):
                if missing:
                    yield Use(name, node, missing)

    def _names(self, node: ast.AST) -> Iterator[tuple[str, frozenset[str]]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, systems_without(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, systems_without(node.module)
            for alias in node.names:
                yield from self._name(node.module, alias.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from self._name(self.modules.get(node.value.id, ""), node.attr)
        elif isinstance(node, ast.Attribute) and "CDLL" in ast.unparse(node.value):
            yield node.attr, LINUX_ONLY
        elif isinstance(node, ast.Call):
            match [ast.unparse(node.func), *node.args]:
                case ["hasattr" | "getattr", ast.Name(id=owner), ast.Constant(value=str(name)), *_]:
                    yield from self._name(self.modules.get(owner, ""), name)
                case [str(function), ast.Constant(value=str(name)), *_] if "ExternalFunction" in function:
                    yield name, LINUX_ONLY
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if FILES_OF_LINUX.match(node.value):
                yield f"/{node.value.lstrip('/').split('/')[0]}", LINUX_ONLY
            if SIGNAL.fullmatch(node.value):
                yield node.value, systems_without("signal", node.value)

    def _name(self, module: str, name: str) -> Iterator[tuple[str, frozenset[str]]]:
        if module and not is_absent(module, "win32"):  # what is in an absent module is guarded with it
            full = f"{module}.{name}"
            yield full, frozenset({"win32"}) if full in DIFFERENT else systems_without(module, name)

    def is_guarded(self, use: Use) -> bool:
        if isinstance(use.node, ast.Call):
            function = ast.unparse(use.node.func)
            if function in ("hasattr", "getattr"):
                return function == "hasattr" or len(use.node.args) == 3
            return any(  # a function of the C library, which Python has under the same name
                ast.unparse(node).startswith("hasattr(os, ") and f"'{use.name}'" in ast.unparse(node)
                for node in ast.walk(self.tree)
            )
        return any(self._guards(above, below, use.missing) for above, below in self.above(use.node))

    def _guards(self, above: ast.AST, below: ast.AST, missing: frozenset[str]) -> bool:
        match above:
            case ast.If() | ast.IfExp() if below is not above.test and self._asks(above.test, missing):
                return True
            case ast.BoolOp() if any(
                self._asks(value, missing) for value in above.values[: above.values.index(below)]
            ):
                return True
            case ast.comprehension() if below not in above.ifs:
                return any(self._asks(test, missing) for test in above.ifs)
            case ast.GeneratorExp() | ast.ListComp() if below not in above.generators:
                return any(self._asks(test, missing) for part in above.generators for test in part.ifs)
            case ast.Try() if below in above.body:
                return any(_caught(handler.type) for handler in above.handlers)
            case ast.With() if below in above.body:
                return any(
                    isinstance(call := item.context_expr, ast.Call)
                    and ast.unparse(call.func) == "contextlib.suppress"
                    and any(map(_caught, call.args))
                    for item in above.items
                )
            case ast.Call() if ast.unparse(above.func).endswith(("read", "_upwards")):
                return True  # minicnn.storage.cgroups: what is not there has no limits
        before = getattr(above, "body", [])
        if isinstance(before, list) and below in before:
            return any(
                isinstance(earlier, ast.If)
                and isinstance(earlier.body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))
                and self._asks(earlier.test, missing)
                for earlier in before[: before.index(below)]
            )
        return False

    def _asks(self, test: ast.expr, missing: frozenset[str]) -> bool:
        """Whether a condition asks for the system, or for a name that is missing wherever this one is."""
        text = ast.unparse(test)
        if "sys.platform" in text or "signal.Signals.__members__" in text:
            return True
        found = re.findall(r"hasattr\((\w+), '(\w+)'\)", text)
        return any(missing <= systems_without(self.modules.get(owner, ""), name) for owner, name in found)


def _caught(kind: ast.expr | None) -> bool:
    return kind is None or bool(CAUGHT & set(re.findall(r"\w+", ast.unparse(kind))))


@functools.cache
def sources():
    return {path: Source(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def test_what_some_system_lacks_is_used_behind_a_guard_only():
    loose = [
        f"{path.relative_to(PACKAGE)}:{use.node.lineno}: {use.name}, missing on {', '.join(use.missing)}"
        for path, source in sources().items()
        for use in source.uses()
        if not source.is_guarded(use)
    ]
    assert loose == []


def test_the_page_lists_what_some_system_lacks_and_nothing_else():
    table = PAGE.read_text(encoding="utf-8").split("## What differs")[1].split("\n## ")[0]
    cells = [line.split("|")[2] for line in table.splitlines() if line.startswith("|")]
    listed = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    used = {use.name for source in sources().values() for use in source.uses()}
    assert used
    assert listed == used


LOOSE = [
    "import os\nos.fork()",
    "import fcntl",
    "from os import getuid",
    "import os as system\ndef f():\n    return system.sched_getaffinity(0)",
    "import os\nif hasattr(os, 'fork'):\n    os.sched_getaffinity(0)",  # macOS has the one and not the other
    "import os\ntry:\n    pass\nexcept OSError:\n    os.mkfifo('x')",
    "import os\nif not hasattr(os, 'fork'):\n    pass\nos.fork()",
    "import signal\nsignal.signal(signal.SIGHUP, print)",
    "open('/proc/self/status')",
    "import os\nos.link('a', 'b')",
    "import ctypes\nctypes.CDLL(None).malloc_trim(0)",
    "import os\ngetattr(os, 'O_NOCTTY')",
    "import select\nselect.poll()",
    "f = types.ExternalFunction('sched_setaffinity', 1)",
]
GUARDED = [
    "import os\nif hasattr(os, 'fork'):\n    os.fork()",
    "import os, sys\nif sys.platform != 'win32':\n    os.getuid()",
    "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None",
    "import os\nwhile 1:\n    if not hasattr(os, 'sched_yield'):\n        break\n    os.sched_yield()",
    "import contextlib, os\nwith contextlib.suppress(OSError):\n    os.link('a', 'b')",
    "import os\ngetattr(os, 'O_NOCTTY', 0)",
    "import os\nuser = os.getuid() if hasattr(os, 'getuid') else 0",
]


@pytest.mark.parametrize("text", LOOSE)
def test_what_is_loose_is_found(text):
    source = Source(text)
    assert not all(map(source.is_guarded, source.uses()))


@pytest.mark.parametrize("text", GUARDED)
def test_a_guard_is_recognised(text):
    source = Source(text)
    assert list(source.uses())
    assert all(map(source.is_guarded, source.uses()))


def calls():
    """Every call in the package, with its file and the name of what is called."""
    for path, source in sources().items():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                yield path.relative_to(PACKAGE).as_posix(), ast.unparse(node.func), node


def test_text_that_is_written_says_how_its_lines_end():
    for file, function, call in calls():
        mode = next((arg.value for arg in call.args[1:2] if isinstance(arg, ast.Constant)), "r")
        if (function == "open" and "b" not in mode and mode != "r") or function.endswith("write_text"):
            assert "newline" in {keyword.arg for keyword in call.keywords}, file


def test_files_are_replaced_in_one_place_that_waits_and_quoted_in_one_that_knows_the_shell():
    places = {"os.replace": "storage/files.py", "os.rename": "", "shlex.quote": "cli/terminal.py"}
    for file, function, _ in calls():
        if function in places:
            assert file == places[function]


def test_a_system_without_proc_and_sys_has_no_limits(tmp_path):
    assert cpu_quota(tmp_path) == float("inf")
    assert available_memory(tmp_path) is None or sys.platform != "win32"  # RLIMIT_AS


# --- Windows ---


def test_a_name_of_a_file_leads_nowhere_else_on_any_system():
    for system in (PurePosixPath, PureWindowsPath):
        assert is_bare("weights.bin", system)
        assert not any(is_bare(name, system) for name in ("", ".", "..", "a/b", "/a"))
    assert not any(is_bare(name, PureWindowsPath) for name in (r"..\a", "C:a", r"C:\a", r"\\host\a\b"))


def test_every_kind_of_file_of_the_page_has_its_type_whatever_the_registry_says():
    files = read_files()
    assert len(files) > 20
    plain = {name for name, (_, kind) in files.items() if kind.startswith("text/plain")}
    assert {name for name in plain if not name.startswith(("vendor/LICENSE", "vendor/README"))} == set()


def test_a_reserved_name_for_a_run_is_one_line(monkeypatch, tmp_path, capsys, data):
    def refuse(path, *more, **options):
        raise NotADirectoryError(errno.ENOTDIR, "The directory name is invalid", path)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "mkdir", refuse)
    result = run_main(capsys, *options(data, "--run-dir", "con"))
    assert_usage_error(result, "con: cannot be written (The directory name is invalid)")
