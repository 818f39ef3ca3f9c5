"""How exactly a function is computed: the noise of L, measured.

Outputs are rounded by half an epsilon at least. A function that subtracts large numbers, or computes in
float32 inside, has lost more, and the size of its output does not tell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Between points, in units of the values. Wide enough for the rounding to change from point to point, narrow
# enough for a smooth function to be a polynomial of low degree. The first that shows noise is taken.
SPACINGS = (1e-7, 1e-9, 1e-11)
POINTS = 9
ORDERS = (4, 5, 6)
ALIKE = 4  # estimates of noise from differences of several orders agree within this factor


def noise_levels(values: np.ndarray) -> np.ndarray:
    """The standard deviation of the noise in values at equally spaced points, estimated in several ways.

    Differences of order k remove polynomials below degree k, and multiply the variance of independent noise
    by (2k)! / (k!)^2. If what is left is noise, all orders give the same deviation.

    Source: J. J. Moré, S. M. Wild: Estimating computational noise, SIAM J. Sci. Comput. 33 (2011).
    """
    levels, factor, differences = [], 1.0, np.asarray(values, np.float64)
    for k in range(1, max(ORDERS) + 1):
        differences = np.diff(differences)
        factor *= (2 * k) * (2 * k - 1) / k**2
        if k in ORDERS:
            levels.append(np.sqrt(np.mean(differences**2) / factor))
    return np.array(levels)


def measured_noise(loss_at: Callable[[float], float], unit: float = 1.0) -> float:
    """The noise of a loss, from a few points on one side of where it is: it may have a kink there.

    `loss_at(t)` is L where every value has been moved at random by about t times its size; `unit` multiplies
    the distances.
    """
    least = np.inf
    for spacing in SPACINGS:
        levels = noise_levels(np.array([loss_at(unit * spacing * k) for k in range(1, POINTS + 1)]))
        if levels.max() <= ALIKE * levels.min():
            return float(np.median(levels))
        least = min(least, float(levels.min()))
    return least
