"""What each system lacks of Python's standard library, read from typeshed: the stubs that come with mypy.

A stub says `if sys.platform != "win32":` around what Windows has not. Here such conditions are evaluated for
a system, for the oldest Python that minicnn supports.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

SYSTEMS = ("linux", "darwin", "win32")
OLDEST_PYTHON = (3, 10)


def lacking(module: str, system: str) -> frozenset[str]:
    """The names of a module of the standard library that some system has and this one has not."""
    anywhere = frozenset().union(*(_names(module, other) for other in SYSTEMS))
    return anywhere - _names(module, system)


def is_absent(module: str, system: str) -> bool:
    """Whether a module of the standard library cannot be imported on this system, but on another."""
    return not _names(module, system) and any(_names(module, other) for other in SYSTEMS)


def systems_without(module: str, name: str = "") -> frozenset[str]:
    """The systems that lack a name of a module, or the module itself."""
    if not name:
        return frozenset(system for system in SYSTEMS if is_absent(module, system))
    return frozenset(system for system in SYSTEMS if name in lacking(module, system))


@functools.cache
def _names(module: str, system: str) -> frozenset[str]:
    tree = _stub(module)
    return frozenset() if tree is None else frozenset(_defined(tree.body, system))


@functools.cache
def _stub(module: str) -> ast.Module | None:
    if module not in sys.stdlib_module_names:
        return None
    mypy = importlib.util.find_spec("mypy")
    assert mypy is not None, "the stubs come with mypy, which is in the extra `test`"
    for folder in mypy.submodule_search_locations or ():
        place = Path(folder, "typeshed", "stdlib")
        for file in (place / f"{module}.pyi", place / module / "__init__.pyi"):
            if file.exists():
                return ast.parse(file.read_text(encoding="utf-8"))
    return None


def _defined(body: list[ast.stmt], system: str) -> set[str]:
    """The public names that statements define, without those that they import."""
    names = set()
    for statement in body:
        if isinstance(statement, ast.If):
            names |= _defined(statement.body if _holds(statement.test, system) else statement.orelse, system)
        elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
        elif isinstance(statement, ast.Assign):
            names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def _holds(test: ast.expr, system: str) -> bool:
    if isinstance(test, ast.BoolOp):
        values = [_holds(value, system) for value in test.values]
        return any(values) if isinstance(test.op, ast.Or) else all(values)
    if isinstance(test, ast.UnaryOp):
        return not _holds(test.operand, system)
    known = SimpleNamespace(platform=system, version_info=OLDEST_PYTHON)
    return bool(eval(ast.unparse(test), {"__builtins__": {}, "sys": known}))
