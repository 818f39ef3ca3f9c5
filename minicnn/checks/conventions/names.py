"""How people name things: the gradient of W, the upstream gradient, a cache; and what a function returns."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection
from typing import Any

TRAINING = ("training", "train_flg", "train", "is_training", "is_train", "train_mode")
LEARNING_RATES = ("learning_rate", "lr", "eta", "alpha", "step_size", "rate")
CACHES = ("cache", "caches", "ctx", "context", "saved", "memory", "tape")
LABELS = (
    "y",
    "t",
    "target",
    "targets",
    "label",
    "labels",
    "y_true",
    "actual",
    "truth",
    "t_true",
    "ground_truth",
)
OUTPUTS = ("y", "out", "output", "outputs", "a", "s", "p", "probs", "result", "activation")
UPSTREAMS = (
    "upstream",
    "grad",
    "grad_output",
    "grad_out",
    "gradient",
    "output_gradient",
    "g",
    "delta",
    "error",
)


def gradient_names(name: str) -> list[str]:
    """What the gradient of `name` may be called: dW, grad_W, W_grad, ..., the name itself last."""
    bare = name.lstrip("_")
    stems = [f"d{bare}", f"d_{bare}", f"grad_{bare}", f"{bare}_grad", f"{bare}_gradient", f"{bare}_gradients"]
    stems += [f"grad{bare}", f"dL_d{bare}", f"dLd{bare}", f"delta_{bare}", f"gradient_{bare}", f"{bare}grad"]
    stems += [f"grads_{bare}", f"{bare}_grads", f"nabla_{bare}", f"d{bare.capitalize()}", f"g_{bare}"]
    under = [f"_{stem}" for stem in stems]
    private = [f"_d{bare}", f"d{name}"]
    return [*stems, *under, *private, name]


def find_gradient(name: str, among: Collection[str]) -> str | None:
    """The one of these labels that names the gradient of `name`, in any case of letters."""
    lower: dict[str, str] = {}
    for label in among:
        lower.setdefault(label.lower(), label)
    exact = next((g for g in gradient_names(name) if g in among), None)
    return exact or next((lower[g.lower()] for g in gradient_names(name) if g.lower() in lower), None)


def is_upstream(name: str) -> bool:
    """Whether an argument of this name is a gradient that arrives: dy, dout, dA, grad_output."""
    low = name.lower()
    return low in UPSTREAMS or (
        low.startswith("d") and low not in ("data", "dim", "dims", "depth", "dropout")
    )


def required(function: Callable) -> list[str] | None:
    """The names of the arguments that must be given, without self; None if there is no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [p.name for p in parameters if p.kind in (0, 1) and p.default is inspect.Parameter.empty]


def positional(function: Callable) -> list[str]:
    """The names of all arguments that may be given by position, without self."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (0, 1)]


def returned_names(function: Callable) -> list[str | None]:
    """The names in the last `return` of a function: ["dx", "dW", None] for `return dx, self.dW, f(b)`.

    Empty if its source cannot be read.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return []
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef):
        return []
    inner = {id(n) for f in ast.walk(body) if f is not body and is_scope(f) for n in ast.walk(f)}
    returns = [n for n in ast.walk(body) if isinstance(n, ast.Return) and n.value and id(n) not in inner]
    return _leaves(max(returns, key=lambda n: n.lineno).value) if returns else []


def is_scope(node: ast.AST) -> bool:
    """Whether a `return` below this node belongs to another function."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _leaves(node: Any) -> list[str | None]:
    if isinstance(node, ast.Tuple | ast.List):
        return [leaf for part in node.elts for leaf in _leaves(part)]
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    return [None]
