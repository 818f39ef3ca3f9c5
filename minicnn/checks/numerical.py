"""A gradient from values of the function alone: the page to read first.

Move one entry of x a little up and a little down, see how much f changes, divide. No calculus goes in, so
whatever calculus comes out of a `backward` can be compared with it. Two evaluations for each entry make it
far too slow to train with.

`gradient_check` does the same, and what it adds is said in gradcheck.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient of f at x by central differences; the shape of x.

        df/dx[i]  =  (f(x + h e_i) - f(x - h e_i)) / 2h  +  O(h^2)          h = step, e_i a unit vector

    f is a function of one array that returns one number. x, float64, is changed in place while f is
    evaluated, and every entry is put back, even if f raises. In float64, for numbers around 1, h = 1e-5
    balances the two errors: curvature contributes about h^2 = 1e-10, rounding about 1e-16 / h = 1e-11.

    Raises TypeError unless x is a float64 array and f returns a number, ValueError unless step > 0.
    Source: Goodfellow, Bengio, Courville: Deep Learning (2016), section 11.5.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        raise TypeError(f"x: expected a float64 array, got {getattr(x, 'dtype', type(x).__name__)}")
    if not step > 0:
        raise ValueError(f"step: expected a number above 0, got {step}")

    def f_with(index: tuple[int, ...], value: float) -> float:
        before, x[index] = x[index], value
        try:
            y = f(x)
        finally:
            x[index] = before
        if np.ndim(y) != 0:
            raise TypeError(f"f: expected one number, got an array of shape {list(np.shape(y))}")
        return float(y)

    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        value = float(x[index])
        gradient[index] = (f_with(index, value + step) - f_with(index, value - step)) / (2 * step)
    return gradient
