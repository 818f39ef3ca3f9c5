"""Who checks the checks? Bugs, planted one at a time in the real source, and the check that must find each.

    python tests/planted.py            prints the matrix of bugs against checks as Markdown
    python tests/planted.py --write    puts it into tests/README.md, too
    python tests/planted.py adam       only the bugs with this word in their file or name

planted_bugs.txt holds the bugs: pieces of text in a file of the package, and what to put in their place.
`spoiled` copies the package, replaces the text and imports the copy; `links.CHECKS` look at it.
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import sys
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import ModuleType

import links
import numba
import numpy as np
from numba.core import config, event

import minicnn
from minicnn.engine.kernels.jit import Kernel
from minicnn.engine.kernels.threads import set_threads

SOURCE = Path(minicnn.__file__).parent
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- begin of the matrix -->", "<!-- end of the matrix -->"
OPTIMISED = config.OPT
MODULES = ("reference", "kernels", "ops", "parameters", "layers", "losses", "optimizers", "network")


@dataclass(frozen=True)
class Bug:
    """Pieces of text of `file` and their replacements, and the check that must notice."""

    file: str
    caught_by: str
    op: str | None  # of a kernel, the operation that it is part of
    what: str
    changes: tuple[tuple[str, str], ...]

    @property
    def module(self) -> str:
        return f"minicnn.{self.file.removesuffix('.py').replace('/', '.')}"

    @property
    def tier(self) -> str:
        return "kernels" if self.file.startswith("engine/kernels") else "reference"


def read_bugs(path: Path) -> list[Bug]:
    """Bugs are separated by empty lines; within one, lines of - and lines of + take turns."""
    bugs = []
    for block in path.read_text().strip().split("\n\n")[1:]:
        head, *lines = block.split("\n")
        file, check, op, what = (word.strip() for word in head.split("|"))
        turns = [
            (sign, "\n".join(line[1:] for line in group)) for sign, group in groupby(lines, lambda x: x[0])
        ]
        signs = "".join(sign for sign, _ in turns)
        assert re.fullmatch(r"(-\+)+|-", signs), f"{what}: expected lines of - and +"
        texts = [text for _, text in turns] + [""] * (len(turns) % 2)
        bugs.append(Bug(file, check, op or None, what, tuple(zip(texts[::2], texts[1::2], strict=True))))
    return bugs


BUGS = read_bugs(Path(__file__).with_name("planted_bugs.txt"))


# --- planting ------------------------------------------------------------------------------------


def spoil(bug: Bug, text: str) -> str:
    """The text of bug.file with the bug in it. Each piece must be there exactly once."""
    for old, new in bug.changes:
        assert text.count(old) == 1, f"{bug.what}: expected {old!r} once in {bug.file}, got {text.count(old)}"
        text = text.replace(old, new)
    return text


def copy_package(bug: Bug, directory: Path) -> None:
    for path in SOURCE.rglob("*.py"):
        file = path.relative_to(SOURCE).as_posix()
        target = directory / "minicnn" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        target.write_text(spoil(bug, text) if file == bug.file else text)


def untouched_kernels(bug: Bug) -> set[str]:
    """The kernel modules that do not import the file with the bug: what is compiled there can stay."""
    pattern = r"from (minicnn\.engine\.kernels\.\w+) import"
    imported = {
        f"minicnn.engine.kernels.{path.stem}": set(re.findall(pattern, path.read_text()))
        for path in (SOURCE / "engine" / "kernels").glob("*.py")
        if path.stem != "__init__"
    }
    touched = {bug.module}
    while more := {name for name, others in imported.items() if others & touched} - touched:
        touched |= more
    return set(imported) - touched


def definitions(text: str) -> dict[str, str]:
    """The source of each function of a module, and under "" all the rest."""
    found = {"": ""}
    for node in ast.parse(text).body:
        name = getattr(node, "name", "")
        found[name] = found.get(name, "") + ast.unparse(node)
    return found


def reuse_kernels(bug: Bug, copies: dict[str, ModuleType], ours: dict[str, ModuleType]) -> None:
    """Keep the other kernels, if the bug is in kernels alone and not in a piece that others share."""
    text = (SOURCE / bug.file).read_text()
    before, after = definitions(text), definitions(spoil(bug, text))
    changed = {name for name in before if before[name] != after.get(name)}
    if not all(isinstance(vars(copies[bug.module]).get(name), Kernel) for name in changed):
        return
    for name, module in copies.items():
        for kernel, value in list(vars(module).items()):
            if isinstance(value, Kernel) and not (name == bug.module and kernel in changed):
                setattr(module, kernel, getattr(ours[name], kernel))


class Unoptimised(event.Listener):
    """Lets what lies in `directory` be compiled without optimisation, twice as fast: it runs once."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.before = str(directory), []

    def on_start(self, compilation: event.Event) -> None:
        self.before.append(config.OPT)
        file = compilation.data["dispatcher"].py_func.__code__.co_filename
        config.OPT = type(OPTIMISED)(0) if file.startswith(self.directory) else OPTIMISED

    def on_end(self, _: event.Event) -> None:
        config.OPT = self.before.pop()


@contextmanager
def spoiled(bug: Bug):
    """A `links.Package` with the bug in it. What the bug leaves alone is the real, compiled one."""
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "minicnn"}
    threads, directory = numba.get_num_threads(), Path(tempfile.mkdtemp(prefix="planted"))
    try:
        copy_package(bug, directory)
        for name in set(ours) - untouched_kernels(bug):
            del sys.modules[name]
        sys.path.insert(0, str(directory))
        importlib.invalidate_caches()
        modules = {name: importlib.import_module(f"minicnn.engine.{name}") for name in MODULES}
        if bug.tier == "reference":
            modules["kernels"] = ours["minicnn.engine.kernels"]
        else:
            modules["reference"] = ours["minicnn.engine.reference"]
            copies = {n: m for n, m in sys.modules.items() if n.startswith("minicnn.engine.kernels.")}
            reuse_kernels(bug, copies, ours)
            set_threads(1)  # then a kernel is compiled in one variant only
            sys.modules["minicnn.engine.kernels.threads"].set_threads(1)
        modules["ops"].MODULES["kernels"] = modules["kernels"]  # or its layers would import the real ones
    finally:
        if str(directory) in sys.path:
            sys.path.remove(str(directory))
        for name in [name for name in sys.modules if name.split(".")[0] == "minicnn"]:
            del sys.modules[name]
        sys.modules.update(ours)
    try:
        with warnings.catch_warnings(), event.install_listener("numba:compile", Unoptimised(directory)):
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", numba.NumbaWarning)  # such code is not cached
            yield links.Package(modules, bug.tier, bug.op)
    finally:
        numba.set_num_threads(threads)
        shutil.rmtree(directory, ignore_errors=True)


def is_caught(bug: Bug, check: str, package: links.Package | None = None) -> bool:
    """Whether the check fails, or stumbles, over the bug."""
    if package is None:
        with spoiled(bug) as package:
            return is_caught(bug, check, package)
    try:
        with np.errstate(all="ignore"):
            links.CHECKS[check](package)
    except Exception:
        return True
    return False


# --- the matrix ----------------------------------------------------------------------------------


def applies(bug: Bug, check: str) -> bool:
    """Whether the check looks at anything that the bug is in, without compiling all other kernels."""
    if bug.tier == "reference":
        return True
    updates = bug.op == "adam"
    if check in ("kernels", "optimizer"):
        return check == "kernels" or updates
    if check == "network" or updates:
        return False
    if check == "fused":
        return bug.op == "conv_relu_pool"
    return check not in ("layer", "contract") or bug.op in links.LAYER_OF


def matrix(bugs: list[Bug]) -> tuple[list[str], bool]:
    """A row a bug, a column a check: X caught, . missed, blank not run. And whether all are caught."""
    rows = ["| planted bug | in | " + " | ".join(links.CHECKS) + " |"]
    rows.append("| --- | --- |" + " :-: |" * len(links.CHECKS))
    caught = dict.fromkeys(links.CHECKS, 0)
    missed = []
    for bug in bugs:
        marks = {}
        with spoiled(bug) as package:
            for check in links.CHECKS:
                marks[check] = " "
                if applies(bug, check):
                    marks[check] = "X" if is_caught(bug, check, package) else "."
                caught[check] += marks[check] == "X"
        if "X" not in {mark for check, mark in marks.items() if check != "dy = 1"}:
            missed.append(bug.what)
        rows.append(f"| {bug.what} | {bug.file} | " + " | ".join(marks.values()) + " |")
        print(rows[-1], file=sys.stderr, flush=True)
    rows.append("| **caught** | | " + " | ".join(str(n) for n in caught.values()) + " |")
    rows += ["", f"{len(bugs) - len(missed)} of {len(bugs)} planted bugs caught"]
    return rows, not missed


def write(rows: list[str]) -> None:
    """Replace what is between the two marks in tests/README.md."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text("\n".join([before + BEGIN, "", *rows, "", END + after]))


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--write"]
    rows, all_caught = matrix(
        [bug for bug in BUGS if all(word in f"{bug.file} {bug.what}" for word in words)]
    )
    print("\n".join(rows))
    if "--write" in sys.argv:
        write(rows)
    sys.exit(not all_caught)
