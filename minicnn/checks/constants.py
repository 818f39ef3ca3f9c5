"""The numbers that decide a gradient check, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What is compared. `a` is a gradient that backward claims, `n` the numerical one:
#     error = |a - n| / max(|a|, |n|, floor)


@dataclass(frozen=True)
class Precision:
    """What a check can see in a dtype.

    With noise `eps |L|` in L, central differences of step h err by about `eps |L| / h` (rounding) plus
    `h^2 |L'''| / 6` (curvature). For numbers around 1 the sum is least, eps^(2/3), at h = eps^(1/3): 4e-11 at
    6e-6 in float64, 2e-5 at 5e-3 in float32. The tolerance leaves room for larger numbers and, in float32,
    for the rounding of backward itself: a sum of K terms is uncertain by eps sqrt(K) of their size, 1e-5 for
    K = 10,000, so entries are compared on the scale `floor` times the array's largest gradient at least.
    """

    dtype: type
    step: float  # of the finite difference; relative, where the value is above 1
    tolerance: (
        float  # for the error. In float64 a correct gradient has 1e-10 to 1e-7, a bug seldom below 1e-3
    )
    floor: float
    epsilon: float

    @staticmethod
    def of(dtype: object) -> Precision:
        """That of float64 or float32. Raises ValueError for another dtype."""
        for precision in FLOAT64, FLOAT32:
            if np.dtype(dtype) == precision.dtype:  # type: ignore[call-overload]
                return precision
        raise ValueError(f"dtype: expected float64 or float32, got {dtype}")


FLOAT64 = Precision(np.float64, 1e-5, 1e-6, 1e-3, float(np.finfo(np.float64).eps))
FLOAT32 = Precision(np.float32, 1e-2, 1e-3, 3e-2, float(np.finfo(np.float32).eps))

# How many numbers are looked at. See comparison.py.
EVERY = 2000  # entries of all arrays together: up to here each is compared
SAMPLED = 6  # entries of each array of a larger subject, besides random directions
ENOUGH = 0.05  # the share of entries that must have been compared for a verdict
TIES = 3  # random directions along which equal entries move together
FEW_TIES = 0.95  # the share of distinct entries of a large array from which ties are left out

# Who is to blame for an error: backward, or the finite difference? See slopes.py.
ROUNDING = 8  # standard deviations of the noise; and outputs are rounded by half an epsilon at least
SEEN = 3  # times the tolerance: what rounding may hide of a gradient that counts as compared
HALVINGS = 6  # of the step, 1e-5 to 1.6e-7; then it falls by 8 each time
DEEPEST = 30  # steps at most
STAYS = 0.03  # an error of backward stays: meanwhile n moves by less than this share of it

MOVED = 100  # roundings: how far values are moved at least to measure noise. See noise.py

AGREE = 0.01  # a complex step is believed where a difference that can see this share of it agrees

# Whether what backward claims on a kink is possible. See kinks.py.
POINTS = 16  # how many points around a kink are looked at
AROUND = 1e-13  # how far they are, in units of the values: hundreds of roundings, and nearer than any step
SAME = 1e-6  # relative: two claims that differ by less are one, moved a little
BESIDE = 1e-3  # how far away a kink is left behind: a hundred steps
BESIDES = 2  # at how many points there a claim is compared before it is called wrong
