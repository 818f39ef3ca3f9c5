"""Gradient checkers side by side: what each calls wrong, what each misses, how long each takes.

    python benchmarks/gradient_checkers.py [--rounds N] [--only WORD ...]

All are given the same pairs of NumPy functions, forward and backward, each in the way it wants them:
PyTorch's gradcheck as an autograd.Function, JAX's check_grads as a custom_vjp with callbacks, autograd's as a
primitive. The loop is what courses hand out: one entry after the other, a step of 1e-5, and a relative error
below 1e-6. "Strict" is PyTorch's or JAX's with minicnn's relative tolerance, 1e-6; the others have their
defaults. Needs the extras "peers" and "test", and autograd; what is missing is left out.
"""

from __future__ import annotations

import contextlib
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
from common import Report, parse, parser, saying

from minicnn import gradient_check, load_mnist, reference, tutorial_network
from minicnn.checks.suite import OPERATIONS, OPTIONS

Arrays = list[np.ndarray]
STRICT = 1e-6
SMALL = "0.001 % too large"
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


def pytorchs_strict(case: Case) -> str:
    """The same as `pytorchs` with minicnn's relative tolerance."""
    return pytorchs(case, rtol=STRICT, atol=1e-9)


def jaxs_strict(case: Case) -> str:
    """The same as `jaxs` with minicnn's relative tolerance."""
    return jaxs(case, rtol=STRICT, atol=1e-9)


def jaxs(case: Case, **options: Any) -> str:
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
    jax.clear_caches()  # of the cases before, which fill the memory
    return _raises(lambda: check_grads(function, tuple(case.arrays), order=1, modes=("rev",), **options))


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
    "PyTorch, strict": pytorchs_strict,
    "PyTorch, fast": pytorchs_fast,
    "JAX": jaxs,
    "JAX, strict": jaxs_strict,
    "autograd": autograds,
    "a loop": loops,
}
# What each has, from its documentation and source.
HAS: dict[str, tuple[str, ...]] = {
    "minicnn": FEATURES,
    "PyTorch": ("localises", "second derivatives"),
    "PyTorch, strict": ("localises", "second derivatives"),
    "PyTorch, fast": ("second derivatives",),
    "JAX": ("second derivatives", "float32"),
    "JAX, strict": ("second derivatives", "float32"),
    "autograd": ("second derivatives",),
    "a loop": ("localises",),
}


# --- the cases -----------------------------------------------------------------------------------


def random_cases(count: int) -> Iterator[tuple[Case, str]]:
    """Random cases of PyTorch's operations: right (""), and then spoilt in some way, where that matters."""
    ways = list(torch_fuzz.SPOILT)
    for n, (name, _, seed, inputs) in enumerate(torch_fuzz.cases(10**6)):
        if n == count:
            return
        operation, way = torch_fuzz.OPERATIONS[name], ways[n % len(ways)]
        yield Case(name, *torch_fuzz.pair(operation.f), inputs), ""
        if torch_fuzz.changes(inputs, operation, way, seed):
            yield Case(name, *torch_fuzz.pair(operation.f, torch_fuzz.spoiled(way, seed)), inputs), way


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
    right = list(operation_cases(reference))
    before: dict[tuple[str, int], str] = {}  # verdicts without the bug
    for bug in planted.BUGS:
        if bug.tier != "reference" or bug.caught_by != "gradient" or "reference" not in bug.file:
            continue
        with planted.spoiled(bug) as package:
            cases = list(operation_cases(package.reference))
        touched = [k for k, case in enumerate(cases) if not same(case, right[k])]
        touched.sort(key=lambda k: sum(a.size for a in right[k].arrays))  # the quickest first
        for name, check in checkers.items():
            for k in touched:
                now = judged(check, cases[k])
                if now in ("wrong", "error"):
                    if (name, k) not in before:
                        before[name, k] = judged(check, right[k])
                    if now != before[name, k]:
                        found[name]["found"] += 1
                        break
            else:
                found[name]["missed"] += 1
    return found


def same(case: Case, other: Case) -> bool:
    """Whether two cases have the same outputs and the same gradients."""
    try:
        y, expected = case.output(*case.arrays), other.output(*other.arrays)
        if y.shape != expected.shape or not np.array_equal(y, expected, equal_nan=True):
            return False
        dy = np.random.default_rng(0).uniform(0.5, 1.5, y.shape)
        pairs = zip(case.gradients(dy, case.arrays), other.gradients(dy, other.arrays), strict=True)
        return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    except Exception:
        return False


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
    taken = f"{time.perf_counter() - start:.2f} s"
    return taken if verdict == "right" else f"{taken} ({verdict})"


def of_network() -> str:
    """How long minicnn takes for the tutorial's network, once its kernels are compiled."""
    network, x = tutorial_network(dtype=np.float64), load_mnist().test.images[5:6, ..., None] / 255
    gradient_check(network, x, entries=1, directions=1)
    start = time.perf_counter()
    verdict = gradient_check(network, x).verdict
    taken = time.perf_counter() - start
    return f"The tutorial's network, 3.3 million parameters: minicnn {taken:.1f} s, {verdict}."


def available() -> Iterator[tuple[str, Callable[[Case], str] | str]]:
    """The checkers that can be imported, and for the others the reason."""
    for name, check in CHECKERS.items():
        try:
            judged(check, next(operation_cases(reference)))
            yield name, check
        except ImportError as error:
            yield name, str(error)


def main() -> None:
    """Print the tables."""
    args = parse(parser(__doc__, rounds=2000))
    report = Report("gradient_checkers", __doc__, args)
    torch.set_num_threads(1)
    checkers = {}
    for name, check in available():
        if isinstance(check, str):
            report.left_out[name] = check
        elif any(word.lower() in name.lower() for word in args.only or [""]):
            checkers[name] = check
    judge_cases(report, checkers, args.rounds)
    judge_bugs(report, checkers)
    rows = [
        [
            name,
            *("yes" if feature in HAS[name] else "" for feature in FEATURES),
            "" if name.startswith("PyTorch") and "fast" not in name else seconds(check, dense()),
        ]
        for name, check in checkers.items()
    ]
    note = "PyTorch's takes minutes for 100,000 parameters, unless fast."
    with contextlib.suppress(ImportError):
        note += f"\n{of_network()}"
    report.add(
        "What each can do, and how long it takes", ["checker", *FEATURES, "100,000 parameters"], rows, note
    )
    report.write()


def judge_cases(report: Report, checkers: dict[str, Callable[[Case], str]], count: int) -> None:
    """Random right cases, and the same spoilt."""
    right, larger, small = ({name: Counter() for name in checkers} for _ in range(3))
    taken: Counter = Counter()
    with saying(f"{count} right cases, and as many spoilt"):
        for case, way in random_cases(count):
            table = small if way == SMALL else larger if way else right
            for name, check in checkers.items():
                start = time.perf_counter()
                table[name][judged(check, case)] += 1
                taken[name] += time.perf_counter() - start
    rows = [
        [
            name,
            f"{right[name]['wrong'] + right[name]['error']} of {right[name].total()}",
            f"{right[name]['open']}",
            f"{larger[name]['right']} of {larger[name].total()}",
            f"{small[name]['right']} of {small[name].total()}",
            f"{larger[name]['open'] + small[name]['open']}",
            f"{1000 * taken[name] / max(1, (right[name] + larger[name] + small[name]).total()):.0f}",
        ]
        for name in checkers
    ]
    report.add(
        "Random operations of PyTorch",
        ["checker", "false alarms", "open", "missed", "missed, 0.001 %", "open", "ms a check"],
        rows,
        "False alarms: right gradients called wrong. Missed: spoilt ones called right; those "
        "that are 0.001 % too large are counted apart. Open: the checker says that it cannot tell.",
    )
    report.data |= {"right": right, "spoilt": larger, "spoilt_little": small}


def judge_bugs(report: Report, checkers: dict[str, Callable[[Case], str]]) -> None:
    """The bugs planted in this package's reference."""
    with saying("planted bugs"):
        bugs = planted_bugs({name: check for name, check in checkers.items() if "strict" not in name})
    rows = [[name, f"{found['missed']} of {found.total()}"] for name, found in bugs.items()]
    report.add(
        "Bugs planted in the gradients of minicnn's reference",
        ["checker", "missed"],
        rows,
        "Those that a gradient can show; an alarm that also sounds without the bug is no find.",
    )
    report.data["bugs"] = bugs


if __name__ == "__main__":
    main()
