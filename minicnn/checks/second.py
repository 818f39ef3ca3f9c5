"""Second derivatives: the gradient of a gradient, checked by the same means.

Backward is itself a function, of dy and of what forward was given. Code that differentiates through it, for a
gradient penalty or a Hessian times a vector, has a backward of that backward:

    y, cache = forward(x, ...)
    dx, ... = backward(dy, cache)
    ddy, ddx, ... = double_backward(v, dy, cache)       the gradient of sum(v * dx) with respect to dy, x, ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minicnn.checks.report import GradientReport
from minicnn.checks.trees import leaves, rebuilt


def gradient_of(
    forward: Callable[..., Any], backward: Callable[..., Any], double_backward: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Backward as a forward, dx, cache = gradient(dy, x, ...), and double_backward as its backward."""

    def gradient(dy: Any, *inputs: Any) -> tuple[Any, Any]:
        _, cache = forward(*inputs)
        return backward(dy, cache), (dy, cache)

    def gradient_backward(v: Any, kept: tuple[Any, Any]) -> Any:
        return double_backward(v, *kept)

    first = inspect.Parameter("dy", inspect.Parameter.POSITIONAL_ONLY)
    rest = [
        inspect.Parameter(p.name, inspect.Parameter.POSITIONAL_ONLY)
        for p in inspect.signature(forward).parameters.values()
        if p.name != "dy"
    ]
    gradient.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    gradient.__name__ = f"the gradient of {getattr(forward, '__name__', 'forward')}"
    return gradient, gradient_backward


def random_upstream(y: Any, rng: np.random.Generator) -> Any:
    """Random numbers in the structure of an output, for dy as an input."""
    parts = (rng.standard_normal(np.shape(leaf)) for _, leaf in leaves(y))
    return rebuilt(y, (part if part.ndim else np.float64(part) for part in parts))


def both(first: GradientReport, second: GradientReport) -> GradientReport:
    """One report, in which the arrays of the second begin with "second: "."""
    for array in second.arrays:
        array.name = f"second: {array.name}"
    return replace(
        first,
        arrays=first.arrays + second.arrays,
        notes=list(dict.fromkeys(first.notes + second.notes)),
        changed=list(dict.fromkeys(first.changed + [f"second: {c}" for c in second.changed])),
    )
