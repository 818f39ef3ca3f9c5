"""The numbers that decide a gradient check, each with its reason."""

import numpy as np

# What is compared. `a` is a gradient that backward claims, `n` the numerical one:
#     error = |a - n| / max(|a|, |n|, floor)
STEP = 1e-5  # of the finite difference; relative, where the value is above 1. See numerical.py
TOLERANCE = 1e-6  # for the error. In float64 a correct gradient has 1e-10 to 1e-7, a bug seldom below 1e-3
FLOOR = 1e-3  # times the array's largest gradient: smaller ones are compared on this scale, as n rounds too
ENOUGH = 0.05  # the share of entries that must have been compared for a verdict

# Who is to blame for an error: backward, or the finite difference? See kinks.py.
HALVINGS = 6  # of the step, 1e-5 to 1.6e-7, before an error is believed; below, rounding takes over
STAYS = 0.03  # an error of backward stays: meanwhile n moves by less than this share of it
ROUNDING = 8 * np.finfo(np.float64).eps  # of each output, relative

# Whether what backward claims on a kink is possible. See kinks.py.
POINTS = 16  # how many points around a kink are looked at
AROUND = 1e-12  # how far they are: thousands of roundings of a value, and nearer than any finite step
SAME = 1e-6  # relative: two claims that differ by less are one, moved a little
BESIDE = 1e-3  # how far away a kink is left behind: a hundred steps
