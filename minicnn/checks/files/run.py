"""`minicnn gradcheck file.py`: all that has a backward in a file, in a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from minicnn.checks.files.discover import EXAMPLES, STATED, Found, NoArguments, discover, load
from minicnn.checks.gradcheck import gradient_check
from minicnn.checks.report import GradientReport

NOTHING = (
    "found no pairs of functions (x_forward, x_backward), losses or classes with forward and backward; "
    'state what to check: gradcheck_examples = {{"name": lambda rng: (arguments of gradient_check)}}'
)


def split_target(target: str) -> tuple[Path, str | None]:
    """`file.py:name` in its two parts."""
    path, colon, name = target.rpartition(":")
    return (Path(path), name) if colon and path.endswith(".py") else (Path(target), None)


def check_file(target: str, seed: int = 0, out: TextIO | None = None) -> bool:
    """Run a file, check what it has, print a table and the reports of what fails. Whether all is right.

    Raises FileNotFoundError if there is no such file, ValueError, listing the names, if there is nothing to
    check or nothing of that name, ImportError if the file fails.
    """
    out = sys.stdout if out is None else out
    path, name = split_target(target)
    if not path.is_file():
        raise FileNotFoundError(2, "No such file", str(path))
    print(f"running {path}", file=out, flush=True)
    try:
        module = load(path)
    except Exception as error:
        raise ImportError(f"{path} failed: {type(error).__name__}: {error}") from error
    found = discover(module)
    if not found:
        raise ValueError(f"{path}: {NOTHING.format()}")
    if name is not None:
        chosen = [f for f in found if name in (f.name, f.name.removesuffix("_forward"))]
        if not chosen:
            raise ValueError(f"{path}: expected one of {', '.join(f.name for f in found)}, got {name!r}")
        found = chosen
    return _check_all(found, seed, out)


def _check_all(found: list[Found], seed: int, out: TextIO) -> bool:
    width = max(4, *(len(f.name) for f in found))
    print(f"{'what':<{width}}  {'arguments':<24}  arrays  compared  kinks  error", file=out)
    failed: list[tuple[str, str]] = []
    for one in found:
        report: GradientReport | None = None
        family = ""
        try:
            family, arguments = one.arguments(seed)
            report = gradient_check(*arguments, seed=seed)
        except NoArguments as error:
            verdict, text = "not checked", str(error)
        except Exception as error:
            verdict, text = "ERROR", f"{type(error).__name__}: {error}"
        if report is None:
            print(f"{one.name:<{width}}  {family:<24}  {'':<32}  {verdict}", file=out, flush=True)
            failed.append((one.name, text))
            continue
        print(f"{one.name:<{width}}  {family:<24}  {report.row}", file=out, flush=True)
        if not report.ok:
            guessed = "" if family == STATED else f"\n{_called_with(report, family)}"
            failed.append((one.name, f"{report}{guessed}"))
    for name, text in failed:
        print(f"\n{name}: {text}", file=out)
    right = len(found) - len(failed)
    print(f"\ngradients right in {right} of {len(found)} checks (seed {seed})", file=out)
    return not failed


def _called_with(report: GradientReport, family: str) -> str:
    """What a function was called with: a guess, which its author may not have meant."""
    arrays = ", ".join(f"{a.name} {list(a.shape)}" for a in report.arrays)
    return f"called with {family}: {arrays}; if it is not meant for these, state arguments in {EXAMPLES}"
