"""What has a backward in a file: pairs of functions, losses, layers. Found by their names.

    affine_forward, affine_backward     relu, relu_backward      sigmoid, sigmoid_prime
    softmax_loss                        a class or an object with forward and backward

The file is run for that.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minicnn.checks.conventions.memory import float_arrays
from minicnn.checks.conventions.methods import METHODS, methods_of
from minicnn.checks.conventions.models import is_model
from minicnn.checks.files.guesses import Unknown, guesses

EXAMPLES = "gradcheck_examples"
BACKWARDS = ["{}_backward", "backward_{}", "{}_bwd", "{}_grad", "{}_gradient", "{}_prime", "{}_derivative"]
BACKWARDS += ["d{}", "d_{}", "grad_{}", "{}_vjp"]
STATED = "as stated"
SAY_HOW = (
    "no arguments to call it with could be guessed ({}); write into the file:\n"
    '    {} = {{"{}": lambda rng: ({})}}'
)


@dataclass(frozen=True)
class Found:
    """One thing to check, and what gives the arguments of `gradient_check` for it, and their kind."""

    name: str
    arguments: Callable[[int], tuple[str, tuple[Any, ...]]]  # of a seed


class NoArguments(Exception):  # noqa: N818
    """Nobody knows what it is to be called with; the message says what to write."""


def load(path: Path) -> ModuleType:
    """Run a file as a module of its own, with its directory first on the path, as `python file.py` has it."""
    name = f"_gradcheck_{re.sub(r'[^0-9a-zA-Z]', '_', path.stem)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def discover(module: ModuleType) -> list[Found]:
    """All that can be checked of a module, in the order of the file."""
    examples: Mapping[str, Callable] = getattr(module, EXAMPLES, {})
    own = {n: v for n, v in vars(module).items() if _is_own(v, module) and not n.startswith("__")}
    found, taken = [], set()
    for name, value in own.items():
        partner = next((b for b in _backwards(name) if callable(own.get(b)) and b != name), None)
        if inspect.isfunction(value) and partner is not None:
            found.append(_of_pair(name, value, own[partner], examples))
            taken |= {name, partner}
    for name, value in own.items():
        if name in taken:
            continue
        if inspect.isclass(value) and (_has_backward(value) or hasattr(value, "loss") or name in examples):
            found.append(_of_class(name, value, examples))
        elif inspect.isfunction(value) and (name in examples or _is_loss(name, own)):
            found.append(_of_loss(name, value, examples))
        elif not callable(value) and (methods_of(value) or is_model(value)):
            found.append(_of_object(name, value, examples))
    order = list(own)
    return sorted(found, key=lambda f: order.index(f.name))


def _is_own(value: Any, module: ModuleType) -> bool:
    home = getattr(value, "__module__", None)
    return home == module.__name__ or (home is None and hasattr(value, "__dict__"))


def _backwards(name: str) -> Iterator[str]:
    bare = re.sub(r"(_forward|_fwd|^forward_)(?=_|$)", "", name)
    if "forward" in name:
        yield name.replace("forward", "backward")
    if "fwd" in name:
        yield name.replace("fwd", "bwd")
    if "forward" in name or not any(word in name for word in ("backward", "grad", "prime")):
        yield from (pattern.format(bare) for pattern in BACKWARDS)


def _has_backward(kind: type) -> bool:
    return any(callable(getattr(kind, f, None)) and callable(getattr(kind, b, None)) for f, b in METHODS)


def _is_loss(name: str, own: Mapping[str, Any]) -> bool:
    return any(word in name.lower() for word in ("loss", "entropy", "criterion")) and "grad" not in name


def _stated(name: str, examples: Mapping[str, Callable], seed: int) -> tuple[str, tuple[Any, ...]] | None:
    """The arguments that the file states."""
    if name not in examples:
        return None
    given = examples[name](np.random.default_rng(seed))
    return STATED, given if isinstance(given, tuple) else (given,)


def _of_pair(name: str, forward: Callable, backward: Callable, examples: Mapping[str, Callable]) -> Found:
    def arguments(seed: int) -> tuple[str, tuple[Any, ...]]:
        stated = _stated(name, examples, seed)
        family, inputs = stated if stated else _first(name, forward, seed)
        return family, ((forward, backward), *inputs)

    return Found(name, arguments)


def _of_loss(name: str, loss: Callable, examples: Mapping[str, Callable]) -> Found:
    def arguments(seed: int) -> tuple[str, tuple[Any, ...]]:
        stated = _stated(name, examples, seed)
        family, inputs = stated if stated else _first(name, loss, seed)
        return family, (loss, *inputs)

    return Found(name, arguments)


def _of_object(name: str, value: Any, examples: Mapping[str, Callable]) -> Found:
    def arguments(seed: int) -> tuple[str, tuple[Any, ...]]:
        stated = _stated(name, examples, seed)
        forward = _called(value)
        family, inputs = stated if stated else _first(name, forward, seed, _features(value))
        return family, (value, *inputs)

    return Found(name, arguments)


def _of_class(name: str, kind: type, examples: Mapping[str, Callable]) -> Found:
    """The examples of a class state the object as well: (Affine(5, 3), x)."""

    def arguments(seed: int) -> tuple[str, tuple[Any, ...]]:
        if (stated := _stated(name, examples, seed)) is not None:
            return stated
        rng, why = np.random.default_rng(seed), "its constructor failed"
        try:
            for family, settings in guesses(kind, name, rng):
                try:
                    made = kind(*settings)
                    forward = _called(made)
                except Exception as error:
                    why = _short(error)
                    continue
                for other, inputs in guesses(forward, _of(name, forward), rng, _features(made)):
                    if settings and _kind(other) != _kind(family):
                        continue
                    try:
                        forward(*inputs)
                        return other, (kind(*settings), *inputs)
                    except Exception as error:
                        why = _short(error)
        except Unknown as unknown:
            why = f"what is {unknown}?"
        raise NoArguments(SAY_HOW.format(why, EXAMPLES, name, f"{name}(...), rng.normal(size=(4, 5))"))

    return Found(name, arguments)


def _called(made: Any) -> Callable:
    """Its forward, or its loss."""
    methods = methods_of(made)
    return made.loss if methods is None or is_model(made) else methods[0]


def _of(name: str, forward: Callable) -> str:
    """The words that tell its kind."""
    return f"{name} {getattr(forward, '__name__', '')}"


def _features(made: Any) -> list[int]:
    """How many features an object may expect, by the lengths of its matrices."""
    return sorted({n for a in float_arrays(made).values() if a.ndim == 2 for n in a.shape})


def _kind(family: str) -> str:
    """Rows or images, channels first or last."""
    return family.split(",")[1] if family.startswith("images") else family.split(" ")[0].split(",")[0]


def _short(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".split(", with")[0]
    return text if len(text) < 90 else f"{text[:90]}..."


def _first(
    name: str, forward: Callable, seed: int, features: Sequence[int] = ()
) -> tuple[str, tuple[Any, ...]]:
    """The first guess with which forward runs and gives finite numbers."""
    why = "nothing fits"
    state = np.random.get_state()
    try:
        for family, inputs in guesses(forward, _of(name, forward), np.random.default_rng(seed), features):
            try:
                forward(*[a.copy() if hasattr(a, "copy") else a for a in inputs])
                return family, tuple(inputs)
            except Exception as error:
                why = _short(error)
    except Unknown as unknown:
        why = f"what is {unknown}?"
    finally:
        np.random.set_state(state)
    raise NoArguments(SAY_HOW.format(why, EXAMPLES, name, "rng.normal(size=(4, 5)), ..."))
