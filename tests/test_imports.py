"""The house: imports go only downwards, what is heavy is imported late, what is public is described."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn

ROOT = Path(minicnn.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
LEVELS = [
    ["reference", "arguments", "data", "files", "sealed", "_version"],
    ["kernels"],
    ["initializers", "layers", "losses", "optimizers", "augmentation"],
    ["network", "gradcheck"],
    [
        "tutorial",
        "gradcheck_suite",
        "settings",
        "checkpoint",
        "signals",
        "run",
        "ahead",
        "training",
        "drawing",
        "report",
        "prepare",
        "interchange",
    ],
    ["cli", "__main__", "__init__"],  # __init__ is the front door: it may import everything
]
LEVEL = {unit: level for level, units in enumerate(LEVELS) for unit in units}
every_file = pytest.mark.parametrize("file", FILES)


def tree(file):
    return ast.parse((ROOT / file).read_text())


def unit_of(module):
    """The file or directory that holds a module of the package: "layers" for "minicnn.engine.layers.base"."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(source, file):
    """Units of the package that a file's source imports, anywhere in it."""
    package = ["minicnn", *Path(file).parts[:-1]]
    units = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            units |= {unit_of(a.name) for a in node.names if a.name.split(".")[0] == "minicnn"}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            if module == "minicnn":  # from minicnn import layers, load_mnist
                units |= {a.name if a.name in LEVEL else "__init__" for a in node.names}
            elif module.startswith("minicnn."):
                units.add(unit_of(module))
    return units


def own_unit(file):
    return Path(file).parts[0].removesuffix(".py")


@every_file
def test_every_file_has_its_place(file):
    assert own_unit(file) in LEVEL


@every_file
def test_imports_go_only_downwards(file):
    if own_unit(file) == "__init__":
        return
    level = LEVEL[own_unit(file)]
    assert [unit for unit in imports(tree(file), file) if LEVEL[unit] > level] == []


def test_no_two_files_import_each_other_however_indirectly():
    below = {unit: set() for unit in LEVEL}
    for file in FILES:
        below[own_unit(file)] |= imports(tree(file), file) - {own_unit(file)}
    while leaves := {unit for unit, units in below.items() if not units}:
        below = {unit: units - leaves for unit, units in below.items() if unit not in leaves}
    assert below == {}


@pytest.mark.parametrize(
    ("line", "file", "unit"),
    [
        ("import minicnn.engine.layers.base", "network.py", "layers"),
        ("from minicnn.engine.network import Sequential", "tutorial.py", "network"),
        ("from minicnn import kernels", "layers/base.py", "kernels"),
        ("from minicnn import tutorial_network", "report.py", "__init__"),
        ("import minicnn", "report.py", "__init__"),
        ("def f():\n    from minicnn import report", "training.py", "report"),
        ("from .idx import read_idx", "data/mnist.py", "data"),
        ("from ..files import write_whole", "data/mnist.py", "files"),
        ("from . import cli", "__main__.py", "cli"),
    ],
)
def test_imports_are_found(line, file, unit):
    assert imports(ast.parse(line), file) == {unit}


def test_importing_minicnn_loads_nothing_that_is_only_for_a_run():
    heavy = "{'matplotlib', 'tqdm', 'PIL', 'scipy', 'torch'}"
    numbas = "import sys, numba; before = set(sys.modules)"  # Numba itself looks for SciPy
    ours = f"import minicnn; minicnn.tutorial_network; print(sorted({heavy} & set(sys.modules) - before))"
    code = f"{numbas}; {ours}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_front_door_exports_what_it_lists():
    assert sorted(minicnn.__all__, key=str.lower) == sorted(set(minicnn.__all__), key=str.lower)
    assert [name for name in minicnn.__all__ if not hasattr(minicnn, name)] == []


def is_public(node):
    return not node.name.startswith("_")


def public_definitions(file):
    """Public functions and classes at the top of a file."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node for node in tree(file).body if isinstance(node, kinds) and is_public(node)]


def is_compiled(function):
    """Whether Numba compiles the function, for whatever types it is called with."""
    words = " ".join(map(ast.unparse, function.decorator_list))
    return any(word in words for word in ("kernel", "helper", "intrinsic"))


def public_functions(file):
    """Public functions, and the public methods and constructors of public classes, with their names."""
    for node in public_definitions(file):
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and (is_public(method) or method.name == "__init__"):
                    yield f"{node.name}.{method.name}", method
        elif not is_compiled(node):
            yield node.name, node


@every_file
def test_every_file_says_what_it_is(file):
    assert ast.get_docstring(tree(file))


@every_file
def test_everything_public_has_a_docstring(file):
    assert [node.name for node in public_definitions(file) if not ast.get_docstring(node)] == []


@every_file
def test_everything_public_has_type_hints(file):
    missing = []
    for name, function in public_functions(file):
        a = function.args
        arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])]
        missing += [
            f"{name}: {x.arg}" for x in arguments if not x.annotation and x.arg not in ("self", "cls")
        ]
        missing += [f"{name} -> ?"] if function.returns is None else []
    assert missing == []
