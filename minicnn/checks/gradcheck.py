"""Is this backward the derivative of this forward? Finite differences tell.

    report = minicnn.gradient_check(layer, x)
    print(report)
    report.assert_ok()

With L = sum(dy * y) for a random dy, backward(dy) claims to be dL/dx. For entries of x, and likewise of
each parameter, the claim is compared with the numerical gradient (numerical.py):

    a = what backward returns      n = (L(x + h) - L(x - h)) / 2h      error = |a - n| / max(|a|, |n|, floor)

What it takes to trust the answer:

- float64. In float32 rounding alone causes errors of 1e-2, as large as those of many bugs. Code that knows
  nothing else is checked with a larger step and tolerance: see `Precision` in constants.py.
- A random dy. With dy = 1 every softmax has gradient 0, and transposed weights can look correct.
- The same random numbers and the same state at each forward, or L is another function each time.
- Kinks and ties, where there is no derivative, and errors of n itself: see slopes.py. Entries on kinks,
  and those where it remains open who is wrong, are counted and not compared. If too few are left, the verdict
  is UNDECIDED.

Source: Goodfellow, Bengio, Courville: Deep Learning (2016), section 11.5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minicnn.checks.comparison import Comparison
from minicnn.checks.constants import EVERY, SAMPLED, Precision
from minicnn.checks.conventions import recognised
from minicnn.checks.diagnosis import diagnose, settings_of
from minicnn.checks.report import GradientReport
from minicnn.checks.second import both, gradient_of, random_upstream
from minicnn.checks.subject import Subject
from minicnn.checks.trees import leaves


def gradient_check(
    subject: Any,
    x: Any,
    *more: Any,
    parameters: Mapping[str, str] | None = None,
    constants: Collection[str] = (),
    training: bool = True,
    dy: Any = None,
    entries: int | None = None,
    directions: int = 3,
    step: float | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    dtype: type = np.float64,
) -> GradientReport:
    """Compare what backward returns with the numerical gradient of forward, at x, in float64.

    subject is one of

    - a layer or a `Sequential` of this package. A float64 copy is checked: the original may be float32,
      and nothing of it changes;
    - any object with `y = forward(x)` or `forward(x, training)`, and `dx = backward(dy)`. Its
      parameters are taken from its `parameters`, a list or a method that returns one, each with `.value`
      and `.grad`; or from the attributes that the argument `parameters` names, value to gradient:
      `parameters={"W": "dW", "b": "db"}`. They are varied in place and put back. If none are found, the
      verdict is UNDECIDED, because they may have been forgotten; `parameters={}` states that there are none;
    - a pair of functions, `y, cache = forward(x, ...)` and `dx, ... = backward(dy, cache)`;
    - three functions, these and `ddy, ddx, ... = double_backward(v, dy, cache)`, the gradient of
      sum(v * dx). Both are checked, the first and the second derivatives: see second.py;
    - code of another convention: functions that return (loss, gradients), objects that keep `params` and
      `grads` or `W` and `dW`, PyTorch, JAX, ... (see conventions/). What was guessed stands in the report's
      lines "read as: ...".

    x and `more` are the inputs of forward. Arrays of floats, also in lists, tuples and dictionaries, are
    differentiated, but for those whose names are in `constants`; the rest, such as labels or a stride, is
    passed on. An output may be a tuple or dictionary of arrays, and dy then is, too. Every forward starts
    from the same random numbers and the same running statistics. `dy` is random unless given. What calls
    change that is not theirs (dy, inputs, parameters) is put back and named in the verdict.

    If all arrays together have no more than 2,000 entries, each entry is compared. Of larger subjects, random
    `directions` of each array are, which depend on all entries, and 6 entries; what is wrong along a
    direction is searched for by halving. `entries` sets how many entries of each array are compared.

    `dtype=np.float32` checks code that computes in float32. `step` and `tolerance` belong to the dtype unless
    given.

    Returns a `GradientReport`: `print` it, or call its `assert_ok()`. Raises TypeError if forward does
    not compute in that dtype, ValueError if it is not a finite function (the same input must give the
    same output, and backward the same gradients) or if gradients are missing or of another shape.
    """
    if isinstance(subject, tuple) and len(subject) == 3:
        options: dict[str, Any] = {
            "constants": constants,
            "entries": entries,
            "directions": directions,
            "step": step,
            "tolerance": tolerance,
            "seed": seed,
            "dtype": dtype,
        }
        first = gradient_check(subject[:2], x, *more, dy=dy, **options)
        upstream = random_upstream(subject[0](x, *more)[0], np.random.default_rng(seed + 1))
        return both(first, gradient_check(gradient_of(*subject), upstream, x, *more, **options))
    precision = Precision.of(dtype)
    precision = replace(
        precision,
        step=precision.step if step is None else step,
        tolerance=precision.tolerance if tolerance is None else tolerance,
    )
    checked = recognised(subject, (x, *more), constants, training, parameters, precision.dtype)
    if not checked.arrays:
        raise TypeError("gradient_check: expected at least one array of floats, got none")
    rng = np.random.default_rng(seed)
    try:
        y = checked.evaluate()
        if dy is None:  # of either sign, none near zero: an output with dy = 0 would not be looked at
            dy = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
            if y.ndim == 0 and not isinstance(subject, tuple):
                dy = np.ones(())  # a loss object has no upstream gradient
        elif isinstance(dy, tuple | list | dict):
            dy = np.concatenate([np.ravel(leaf) for _, leaf in leaves(dy) if leaf is not None])
        dy = np.array(np.broadcast_to(dy, y.shape), np.float64)
        comparison = Comparison(checked, dy, precision, seed)
        _expect_a_function(checked, comparison)
        size = sum(array.size for array in checked.arrays.values())
        if entries is None:
            entries = size if size <= EVERY else SAMPLED
        reports = [comparison.check_array(name, entries, directions, rng) for name in checked.arrays]
        _expect_a_function(checked, comparison)
        diagnose(checked, dy, reports, settings_of(subject, (x, *more)))
    finally:
        checked.finish()
    return GradientReport(checked.name, reports, checked.notes, checked.unchecked, list(checked.changed))


def _expect_a_function(subject: Subject, first: Comparison) -> None:
    """Raise ValueError unless forward and backward give the same results again."""
    if not np.array_equal(subject.evaluate(), first.y):
        raise ValueError(
            "forward: expected the same output for the same input, got another; keep random numbers in "
            "a numpy Generator that the layer owns (and, in a Layer, lists in its state), and let "
            "nothing else change the output"
        )
    again = subject.gradients(first.dy)
    for name, gradient in first.claimed.items():
        if not np.array_equal(again[name], gradient, equal_nan=True):
            raise ValueError(
                f"backward: expected the same gradient of {name} for the same input, got another; a gradient "
                "that is added to must be cleared before each backward"
            )
