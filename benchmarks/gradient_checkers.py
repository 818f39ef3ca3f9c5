"""Gradient checkers side by side: what each calls wrong, what each misses, how long each takes.

    python benchmarks/gradient_checkers.py                   2,000 right cases, as many spoilt, planted bugs
    python benchmarks/gradient_checkers.py --cases 100 --no-network

All are given the same pairs of NumPy functions, forward and backward, each in the way it wants them:
PyTorch's gradcheck as an autograd.Function, JAX's check_grads as a custom_vjp with callbacks, autograd's as a
primitive. The loop is what courses hand out: one entry after the other, a step of 1e-5, and a relative error
below 1e-6. Each runs with its defaults. Needs the extras "peers" and "test", and autograd; what is missing is
left out.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import planted
import torch
import torch_fuzz

from minicnn import gradient_check, load_mnist, reference, tutorial_network
from minicnn.checks.suite import OPERATIONS, OPTIONS

Arrays = list[np.ndarray]
FEATURES = ("kinks", "ties", "what a call changes", "localises", "second derivatives", "shrinks", "float32")


@dataclass(frozen=True)
class Case:
    """A pair of functions of float arrays: y, cache = forward(*arrays), dx, ... = backward(dy, cache)."""

    name: str
    forward: Callable
    backward: Callable
    arrays: Arrays

    def gradients(self, dy: np.ndarray, arrays: Arrays) -> tuple[np.ndarray, ...]:
        """Of all arrays; backward gets copies."""
        with torch.enable_grad():  # for functions of PyTorch inside a function of PyTorch
            found = self.backward(np.array(dy), self.forward(*[np.array(a) for a in arrays])[1])
        return tuple(found) if isinstance(found, tuple | list) else (found,)

    def output(self, *arrays: np.ndarray) -> np.ndarray:
        """y alone."""
        with torch.enable_grad():
            return np.array(self.forward(*[np.array(a) for a in arrays])[0])


# --- the checkers: "right", "wrong" or "open" ----------------------------------------------------


def minicnns(case: Case) -> str:
    """This package's."""
    report = gradient_check((case.forward, case.backward), *case.arrays)
    return "wrong" if report.wrong else "right" if report.ok else "open"


def pytorchs(case: Case, **options: Any) -> str:
    """torch.autograd.gradcheck."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: torch.Tensor) -> torch.Tensor:
            ctx.arrays = [t.detach().numpy() for t in tensors]
            return torch.from_numpy(np.array(case.output(*ctx.arrays)))

        @staticmethod
        def backward(ctx: Any, dy: torch.Tensor) -> tuple:
            found = case.gradients(dy.numpy(), ctx.arrays)
            return tuple(torch.from_numpy(np.array(g)) for g in found)

    tensors = [torch.tensor(a, requires_grad=True) for a in case.arrays]
    return (
        "right"
        if torch.autograd.gradcheck(Function.apply, tensors, raise_exception=False, **options)
        else "wrong"
    )


def pytorchs_fast(case: Case) -> str:
    """The same along one random direction."""
    return pytorchs(case, fast_mode=True)


def jaxs(case: Case) -> str:
    """jax.test_util.check_grads."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    y = case.output(*case.arrays)
    shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
    shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in case.arrays)

    @jax.custom_vjp
    def function(*arrays: Any) -> Any:
        return jax.pure_callback(lambda *a: case.output(*map(np.asarray, a)), shape, *arrays)

    def backward(arrays: Any, dy: Any) -> Any:
        call = lambda dy, *a: tuple(map(np.array, case.gradients(np.asarray(dy), list(map(np.asarray, a)))))  # noqa: E731
        return jax.pure_callback(call, shapes, dy, *arrays)

    function.defvjp(lambda *arrays: (function(*arrays), arrays), backward)
    return _raises(lambda: check_grads(function, tuple(case.arrays), order=1, modes=("rev",)))


def autograds(case: Case) -> str:
    """autograd.test_util.check_grads."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    function = primitive(case.output)
    makers = [
        lambda y, *arrays, k=k: lambda dy: np.array(case.gradients(np.asarray(dy), list(arrays))[k])
        for k in range(len(case.arrays))
    ]
    defvjp(function, *makers)
    return _raises(lambda: check_grads(function, modes=["rev"], order=1)(*case.arrays))


def loops(case: Case, entries: int | None = None) -> str:
    """A loop over all entries, as courses hand it out."""
    rng = np.random.default_rng(0)
    dy = rng.standard_normal(case.output(*case.arrays).shape)
    worst = 0.0
    for claimed, array in zip(case.gradients(dy, case.arrays), case.arrays, strict=True):
        for index in list(np.ndindex(array.shape))[:entries]:
            value, h = array[index], 1e-5
            array[index] = value + h
            up = case.output(*case.arrays)
            array[index] = value - h
            down = case.output(*case.arrays)
            array[index] = value
            n, a = np.sum((up - down) * dy) / (2 * h), claimed[index]
            worst = max(worst, float(abs(a - n) / max(1e-8, abs(a) + abs(n))))
            if np.isnan(a):
                return "wrong"
    return "right" if worst < 1e-6 else "wrong"


def _raises(check: Callable[[], Any]) -> str:
    try:
        check()
    except AssertionError:
        return "wrong"
    return "right"


CHECKERS: dict[str, Callable[[Case], str]] = {
    "minicnn": minicnns,
    "PyTorch": pytorchs,
    "PyTorch, fast": pytorchs_fast,
    "JAX": jaxs,
    "autograd": autograds,
    "a loop": loops,
}
# What each has, from its documentation and source.
HAS: dict[str, tuple[str, ...]] = {
    "minicnn": FEATURES,
    "PyTorch": ("localises", "second derivatives"),
    "PyTorch, fast": ("second derivatives",),
    "JAX": ("second derivatives", "float32"),
    "autograd": ("second derivatives",),
    "a loop": ("localises",),
}


# --- the cases -----------------------------------------------------------------------------------


def right_cases(count: int) -> Iterator[tuple[Case, str | None]]:
    """Random cases of PyTorch's operations, and for each, where it can be, a way to spoil it."""
    ways = list(torch_fuzz.SPOILT)
    for n, (name, _, seed, inputs) in enumerate(torch_fuzz.cases(10**6)):
        if n == count:
            return
        operation, way = torch_fuzz.OPERATIONS[name], ways[n % len(ways)]
        spoilt = way if torch_fuzz.changes(inputs, operation, way, seed) else None
        yield Case(name, *torch_fuzz.pair(operation.f), inputs), spoilt
        if spoilt:
            pair = torch_fuzz.pair(operation.f, torch_fuzz.spoiled(way, seed))
            yield Case(name, *pair, inputs), way


def operation_cases(ops: Any) -> Iterator[Case]:
    """The suite's operations as pairs of functions of their float arrays alone."""
    for key, draw in OPERATIONS.items():
        arguments = list(draw(np.random.default_rng(0)))
        fixed = OPTIONS.get(key, lambda rng: {})(np.random.default_rng(0)).get("constants", ())
        floats = [k for k, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        floats = floats[: len(floats) - len(fixed)]
        forward, backward = getattr(ops, f"{key[0]}_forward"), getattr(ops, f"{key[0]}_backward")

        def call(*arrays: np.ndarray, f: Callable = forward, a: list = arguments, k: list = floats) -> Any:
            given = list(a)
            for place, array in zip(k, arrays, strict=True):
                given[place] = array
            return f(*given)

        yield Case(" ".join(key), call, backward, [arguments[k] for k in floats])


def judged(check: Callable[[Case], str], case: Case) -> str:
    """The verdict; an exception is an error of the checker or a backward that stumbles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return check(case)
        except ImportError:
            raise
        except Exception:
            return "error"


def planted_bugs(checkers: dict[str, Callable]) -> dict[str, Counter]:
    """Of the bugs planted in the reference's gradients: how many each checker finds in some operation.

    What it says of an operation without the bug, too, is no find.
    """
    found: dict[str, Counter] = {name: Counter() for name in checkers}
    before = {
        name: [judged(check, c) for c in operation_cases(reference)] for name, check in checkers.items()
    }
    for bug in planted.BUGS:
        if bug.tier != "reference" or bug.caught_by != "gradient" or "reference" not in bug.file:
            continue
        with planted.spoiled(bug) as package:
            cases = list(operation_cases(package.reference))
        for name, check in checkers.items():
            pairs = zip((judged(check, case) for case in cases), before[name], strict=True)
            caught = any(now != then and now in ("wrong", "error") for now, then in pairs)
            found[name]["found" if caught else "missed"] += 1
    return found


# --- the tables ----------------------------------------------------------------------------------


def dense(size: int = 316) -> Case:
    """A layer of 100,000 parameters, at a batch of 4."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, size)), rng.standard_normal((size, size)), rng.standard_normal(size)]
    return Case("dense", reference.dense_forward, reference.dense_backward, arrays)


def seconds(check: Callable[[Case], str], case: Case) -> str:
    """How long a check takes, with its verdict if that is not "right"."""
    start = time.perf_counter()
    verdict = judged(check, case)
    taken = f"{time.perf_counter() - start:.1f} s"
    return taken if verdict == "right" else f"{taken} ({verdict})"


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", type=int, default=2000, help="right cases (2000)")
    parser.add_argument("--only", nargs="+", help="checkers with these names")
    parser.add_argument("--no-bugs", action="store_true", help="leave the planted bugs out")
    parser.add_argument("--no-network", action="store_true", help="leave the whole network out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    checkers = {}
    for name, check in CHECKERS.items():
        if args.only and name not in args.only:
            continue
        try:
            judged(check, next(operation_cases(reference)))
            checkers[name] = check
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    right: dict[str, Counter] = {name: Counter() for name in checkers}
    spoilt: dict[str, Counter] = {name: Counter() for name in checkers}
    taken: Counter = Counter()
    wrong_next = False
    for case, way in right_cases(args.cases):
        table, wrong_next = (spoilt, False) if wrong_next else (right, way is not None)
        for name, check in checkers.items():
            start = time.perf_counter()
            table[name][judged(check, case)] += 1
            taken[name] += time.perf_counter() - start
    bugs = {} if args.no_bugs else planted_bugs(checkers)

    print("| checker | false alarms | open | misses | open | planted bugs missed | seconds | errors |")
    print("| --- |" + " ---: |" * 7)
    for name in checkers:
        a, b, c = right[name], spoilt[name], bugs.get(name, Counter())
        cells = [
            f"{a['wrong']} of {a.total()}",
            f"{a['open']}",
            f"{b['right']} of {b.total()}",
            f"{b['open']}",
            f"{c['missed']} of {c.total()}",
            f"{taken[name]:.0f}",
            f"{a['error'] + b['error']}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n| checker | {' | '.join(FEATURES)} | 100,000 parameters |")
    print("| --- |" + " --- |" * len(FEATURES) + " ---: |")
    for name, check in checkers.items():
        marks = " | ".join("yes" if feature in HAS[name] else "" for feature in FEATURES)
        print(f"| {name} | {marks} | {'' if name == 'PyTorch' else seconds(check, dense())} |", flush=True)
    if not args.no_network:
        network, x = tutorial_network(), load_mnist().test.images[5:6, ..., None] / 255
        network.forward(x.astype(np.float32))
        gradient_check(network, x, entries=1, directions=1)  # compiles
        start = time.perf_counter()
        report = gradient_check(network, x)
        print(f"\nthe whole network: {time.perf_counter() - start:.1f} s, {report.verdict}")


if __name__ == "__main__":
    main()
