"""The learner's file: calling its functions, and what is said when a call fails."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minicnn.learn.findings import NotStarted, Wrong, described


class Learner:
    """The functions of the learner's file."""

    path: Path

    def __init__(self, module: ModuleType, path: Path) -> None:
        self._module, self.path = module, path

    def call(self, function: str, *arguments: Any) -> Any:
        """What the function returns for these arguments. Raises Wrong or NotStarted."""
        given = self.find(function)
        before = copy.deepcopy(arguments)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                result = given(*arguments)
            except NotImplementedError as error:
                raise self._not_written(error, function) from error
            except MemoryError as error:
                raise Wrong("memory", function=function) from error
            except (Exception, SystemExit) as error:
                raise self.failed(function, arguments, error) from error
        for name, now, then in zip(inspect.signature(given).parameters, arguments, before, strict=False):
            if isinstance(then, np.ndarray) and not np.array_equal(now, then, equal_nan=True):
                raise Wrong("changed", function=function, argument=name)
        return result

    def find(self, function: str) -> Callable[..., Any]:
        """The function of this name. Raises Wrong if there is none."""
        found = getattr(self._module, function, None)
        if not callable(found):
            raise Wrong("missing", function=function)
        return found

    def replace(self, function: str, other: Callable[..., Any]) -> None:
        """Let another function have this name in the learner's file, also for its own functions."""
        setattr(self._module, function, other)

    def failed(self, function: str, arguments: Sequence[Any], error: BaseException) -> Wrong:
        """What the learner is told about an exception: its text, and the line of the file it came from."""
        if isinstance(error, SystemExit):
            what = "exit()"
        else:
            what = f"{type(error).__name__}: {error}".split("\n")[0][:300]
        where = self.line_of(error.__traceback__)
        return Wrong(
            "raised",
            mistake="signature" if isinstance(error, TypeError) and not where else "",  # not even called
            function=function,
            error=what,
            where=where,
            arguments=", ".join(map(described, arguments)),
        )

    def _not_written(self, error: BaseException, function: str) -> NotStarted | Wrong:
        """Which function still raises NotImplementedError: the one called, or another one that it calls.

        One with code in it besides is begun, and that line was forgotten.
        """
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == self.path]
        name = frames[-1].name if frames else function
        if _has_code(self._module, name):
            return Wrong("raise_left", function=name, where=self.line_of(error.__traceback__))
        return NotStarted(name)

    def line_of(self, trace: Any) -> str:
        """The last line of the learner's own file in a traceback: "line 57: y = cols @ w"."""
        frames = [f for f in traceback.extract_tb(trace) if Path(f.filename) == self.path]
        return f"{self.path.name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""

    def pair(self, function: str, *arguments: Any) -> tuple[Any, Any]:
        """The two results of a forward function."""
        found = self.call(function, *arguments)
        if found is None:
            raise Wrong("nothing", function=function)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong("not_a_pair", function=function, found=described(found))
        return found[0], found[1]


def _has_code(module: ModuleType, function: str) -> bool:
    """Whether there is more in a function than a docstring and one statement."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(getattr(module, function)))).body
    except (AttributeError, OSError, TypeError, SyntaxError, ValueError):
        return False
    documented = isinstance(definition, ast.FunctionDef) and ast.get_docstring(definition) is not None
    return len(getattr(definition, "body", ())) > 1 + documented
