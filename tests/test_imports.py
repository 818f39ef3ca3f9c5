"""The house: imports go only downwards, what is heavy is imported late, what is public is described."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn

ROOT = Path(minicnn.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
# Rooms and lone files, from the ground up. A room imports from lower levels, and within its level only as
# long as no two import each other.
LEVELS = [
    ["storage", "_version"],
    ["engine"],
    ["data"],
    ["tutorial"],
    ["checks", "runs", "pictures", "interchange"],
    ["explore", "learn", "sweeps", "parallel"],
    ["cli", "__main__", "__init__"],  # __init__ is the front door: it may import everything
]
LEVEL = {unit: level for level, units in enumerate(LEVELS) for unit in units}
# The same within the engine.
ENGINE_LEVELS = [
    ["arguments", "locks", "numba_settings", "workspace", "reference", "shards"],
    ["profile", "without_blas"],
    ["kernels"],
    ["initializers", "ops"],
    ["parameters"],
    ["layers", "losses", "optimizers"],
    ["network"],
    ["averaging"],
]
ENGINE_LEVEL = {unit: level for level, units in enumerate(ENGINE_LEVELS) for unit in units}
ENGINE_FILES = [file for file in FILES if file.startswith("engine/") and file != "engine/__init__.py"]
every_file = pytest.mark.parametrize("file", FILES)


def tree(file):
    return ast.parse((ROOT / file).read_text())


def unit_of(module, room):
    """The file or directory in a room that holds a module: "layers" for "minicnn.engine.layers.base"."""
    rest = module.removeprefix(room).split(".")
    return rest[1] if len(rest) > 1 else "__init__"


def imports(source, file, room="minicnn"):
    """Units of a room (a package) that a file's source imports, anywhere in it."""
    package = ["minicnn", *Path(file).parts[:-1]]
    modules = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            modules |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            # from minicnn.engine import layers: a module of the room, not a name in its __init__
            inside = {f"{module}.{a.name}" for a in node.names if is_module(f"{module}.{a.name}")}
            modules |= inside or {module}
    return {unit_of(m, room) for m in modules if m == room or m.startswith(f"{room}.")}


def is_module(name):
    place = ROOT.parent.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or place.is_dir()


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


@pytest.mark.parametrize("file", ENGINE_FILES)
def test_imports_within_the_engine_go_only_downwards(file):
    own = Path(file).parts[1].removesuffix(".py")
    units = {unit for unit in imports(tree(file), file, "minicnn.engine") if unit != own}
    assert [unit for unit in units if ENGINE_LEVEL[unit] >= ENGINE_LEVEL[own]] == []


def test_no_two_rooms_import_each_other_however_indirectly():
    below = {unit: set() for unit in LEVEL}
    for file in FILES:
        below[own_unit(file)] |= imports(tree(file), file) - {own_unit(file)}
    while leaves := {unit for unit, units in below.items() if not units}:
        below = {unit: units - leaves for unit, units in below.items() if unit not in leaves}
    assert below == {}


@pytest.mark.parametrize(
    ("line", "file", "unit"),
    [
        ("import minicnn.engine.layers.base", "tutorial.py", "engine"),
        ("from minicnn.engine.network import Sequential", "tutorial.py", "engine"),
        ("from minicnn.engine import kernels", "engine/layers/base.py", "engine"),
        ("from minicnn import tutorial_network", "pictures/report.py", "__init__"),
        ("import minicnn", "pictures/report.py", "__init__"),
        ("def f():\n    from minicnn import pictures", "runs/loop.py", "pictures"),
        ("from .idx import read_idx", "data/mnist.py", "data"),
        ("from ..storage.files import write_whole", "data/mnist.py", "storage"),
        ("from . import cli", "__main__.py", "cli"),
    ],
)
def test_imports_are_found(line, file, unit):
    assert imports(ast.parse(line), file) == {unit}


def test_imports_within_the_engine_are_found():
    source = ast.parse("from minicnn.engine import kernels\nfrom minicnn.engine.layers.base import Layer")
    assert imports(source, "engine/network.py", "minicnn.engine") == {"kernels", "layers"}


def test_the_reference_trains_without_numba():
    code = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None  # importing them fails
import numpy as np
import minicnn
from minicnn import Adam, SoftmaxCrossEntropy, train_step, tutorial_network
network = tutorial_network(ops="reference")
loss, adam = SoftmaxCrossEntropy(ops="reference"), Adam(network.parameters(), 1e-3, ops="reference")
x, labels = np.random.default_rng(0).random((2, 28, 28, 1), np.float32), np.array([3, 7])
losses = [train_step(network, loss, adam, x, labels) for _ in range(4)]
assert losses[-1] < losses[0], losses
assert network.predict(x).shape == (2, 10)
try:
    tutorial_network().forward(x)
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("the kernels need Numba")
    assert result.stdout.endswith('compute with ops="reference" instead\n')


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
