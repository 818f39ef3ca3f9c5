"""A derivative without a difference: the complex step, for gradients that rounding hides from differences.

    f(x + i h v)  =  f(x) + i h f'(x) v + O(h^2)          h = 1e-20

The imaginary part divided by h is the slope along v, to the last digits: nothing is subtracted. It needs code
that computes with complex numbers as with real ones. `abs`, a comparison or a fixed dtype break it, so it is
believed only where it agrees with a finite difference along a direction that differences do see.

Source: W. Squire, G. Trapp: Using complex variables to estimate derivatives of real functions, SIAM Review 40
(1998).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

STEP = 1e-20
Forward = Callable[[str, np.ndarray], np.ndarray]  # the output with i * h * v added to an array


def complex_slope(evaluate: Forward, name: str, v: np.ndarray, dy: np.ndarray, y: np.ndarray) -> float | None:
    """The slope of sum(dy * output) along v in the array of that name; None if the code does not allow it.

    `y` is the output, which the real part must be.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")  # such as: the imaginary part is discarded
            moved = evaluate(name, 1j * STEP * v)
    except Exception:
        return None
    if not np.iscomplexobj(moved) or moved.shape != y.shape:
        return None
    if not np.allclose(moved.real, y, rtol=1e-9, atol=1e-9 * float(np.max(np.abs(y), initial=0))):
        return None
    slope = float(np.sum(dy * moved.imag)) / STEP
    return slope if np.isfinite(slope) else None
