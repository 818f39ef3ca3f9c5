"""A small mutation tester: change one operator, number or name at a time, and see whether the tests notice.

    python tests/mutation.py FILE... [--minutes 15] [--seed 0]

FILE is below minicnn/, such as reference.py or layers/dense.py. Each mutant runs in a forked process:
there `import minicnn` finds the mutated code, and pytest runs the tests that are about that file until
one fails. Kernels stay as they are, compiled: no mutant waits for a compiler. What is printed are the
survivors: mutants that no test noticed, each a missing test or a change that makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "minicnn"
SECONDS = 120  # of computing time for one mutant
EXAMPLES = 10  # of Hypothesis
TESTS_OF = {  # the quickest first: most mutants do not get beyond it
    "reference.py": [
        *("test_reference.py", "test_augmentation.py", "test_reference_gradients.py", "test_kernels.py"),
    ],
    "layers": [
        *("test_layers.py", "test_check_layer.py", "test_api_errors.py", "test_gradcheck_subjects.py"),
        "test_network.py",
    ],
}
# Left out: what starts processes, tests other files, or repeats at large sizes what is tested at small ones.
SLOW = [
    *("larger_than_one_block", "sizes_of_the_tutorial", "tutorial", "independent_computation"),
    *("thread", "cache", "buffers", "left_alone", "predict", "file", "saved"),
]
SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def mutants(tree: ast.Module):
    """Yield (line, what, node, field, new value) for every mutation; annotations and messages are spared."""
    spared = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                spared |= set(map(id, ast.walk(getattr(node, field))))
        if isinstance(node, ast.Raise | ast.JoinedStr):
            spared |= set(map(id, ast.walk(node)))
    for node in ast.walk(tree):
        if id(node) in spared:
            continue
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
            new = SWAPS[type(node.op)]()
            yield line, f"{type(node.op).__name__} -> {type(new).__name__}", node, "op", new
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            new = SWAPS[type(node.ops[0])]()
            yield (
                line,
                f"{type(node.ops[0]).__name__} -> {type(new).__name__}",
                node,
                "ops",
                [new, *node.ops[1:]],
            )
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield line, "- -> +", node, "op", ast.UAdd()
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield line, f"{node.value} -> {not node.value}", node, "value", not node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield line, f"{node.value} -> {node.value + 1}", node, "value", node.value + 1
        if isinstance(node, ast.IfExp):
            yield line, "if and else swapped", node, "body", node.orelse
        if isinstance(node, ast.If):
            yield line, "if always", node, "test", ast.Constant(True)
            yield line, "if never", node, "test", ast.Constant(False)
        if isinstance(node, ast.Return) and node.value is not None:
            yield line, "return None", node, "value", ast.Constant(None)


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module of the package with other code in it."""

    def __init__(self, name, path, code):
        self.name, self.path, self.code = name, path, code

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        package = self.path.name == "__init__.py"
        return importlib.util.spec_from_file_location(
            name,
            self.path,
            loader=self,
            submodule_search_locations=[str(self.path.parent)] if package else None,
        )

    def exec_module(self, module):
        exec(self.code, module.__dict__)


def outcome(file: str, code) -> str:
    """What the tests say to the mutant, in a process of its own: "noticed", "survived" or "timed out"."""
    child = os.fork()
    if child == 0:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        name = f"minicnn.{file.removesuffix('.py').replace('/', '.')}"
        sys.meta_path.insert(0, Mutated(name, SOURCE / file, code))
        from hypothesis import settings

        settings.register_profile("mutation", deadline=None, max_examples=EXAMPLES, derandomize=True)
        os.environ["HYPOTHESIS_PROFILE"] = "mutation"
        import pytest

        tests = [str(TESTS / test) for test in TESTS_OF[file.split("/")[0]]]
        chosen = " and ".join(f"not {name}" for name in SLOW)
        result = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", chosen, *tests])
        os._exit(0 if result == 0 else 1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return "timed out"
    return "survived" if status == 0 else "noticed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    import hypothesis  # noqa: F401  what every child needs is imported once
    import numba  # noqa: F401
    import numpy  # noqa: F401
    import pytest  # noqa: F401

    todo = []
    for file in args.files:
        tree = ast.parse((SOURCE / file).read_text())
        todo += [(file, k) for k in range(len(list(mutants(tree))))]
    random.Random(args.seed).shuffle(todo)
    for file in dict.fromkeys(args.files):
        whole = compile((SOURCE / file).read_text(), str(SOURCE / file), "exec")
        if outcome(file, whole) != "survived":
            sys.exit(f"{file}: the tests fail without any mutation")
    print(f"{len(todo)} possible mutants", flush=True)
    start, tally = time.monotonic(), dict.fromkeys(("noticed", "survived", "timed out"), 0)
    for file, k in todo:
        if time.monotonic() - start > 60 * args.minutes:
            break
        tree = ast.parse((SOURCE / file).read_text())
        line, what, node, field, new = list(mutants(tree))[k]
        setattr(node, field, new)
        code = compile(ast.fix_missing_locations(tree), str(SOURCE / file), "exec")
        result = outcome(file, code)
        tally[result] += 1
        if result != "noticed":
            text = (SOURCE / file).read_text().splitlines()[line - 1].strip()
            print(f"{result}: {file}:{line}: {what}: {text}", flush=True)
    minutes = (time.monotonic() - start) / 60
    counts = ", ".join(f"{count} {result}" for result, count in tally.items())
    print(f"{counts}, of {len(todo)} possible mutants, in {minutes:.0f} minutes")


if __name__ == "__main__":
    main()
