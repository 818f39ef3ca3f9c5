"""What is wrong with an argument, in one line: its name, what was expected, what was given."""

from __future__ import annotations

import contextlib
import math
import operator
from typing import Any

import numpy as np

FLOATS: list[np.dtype[Any]] = [np.dtype(np.float32), np.dtype(np.float64)]
BELOW_1 = float(np.nextafter(1, 0))


def integer(name: str, value: Any, at_least: int) -> int:
    """The argument as an int. Raises TypeError for anything else, ValueError if it is too small."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if number < at_least:
        raise ValueError(f"{name}: expected at least {at_least}, got {number}")
    return number


def number(
    name: str,
    value: Any,
    expected: str,
    *,
    above: float = -math.inf,
    low: float = -math.inf,
    high: float = math.inf,
) -> float:
    """The argument if it is finite, greater than `above`, and from `low` to `high`.

    Raises TypeError for what is no number, ValueError, saying what was expected, for another one.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not (is_finite(value) and value > above and low <= value <= high):
        raise ValueError(f"{name}: expected {expected}, got {value}")
    return float(value)


def is_finite(value: float | np.integer | np.floating) -> bool:
    """Whether a number is neither NaN nor infinite, nor an integer that no float can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def floating(dtype: Any) -> np.dtype:
    """float32 or float64. Raises TypeError for another dtype."""
    with contextlib.suppress(TypeError):
        if (found := np.dtype(dtype)) in FLOATS:
            return found
    raise TypeError(f"dtype: expected float32 or float64, got {dtype!r}")


def pair(name: str, value: Any, at_least: int) -> tuple[int, int]:
    """Two integers, or one that stands for both."""
    both = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(both) != 2:
        raise ValueError(f"{name}: expected one integer or two, got {value!r}")
    return integer(name, both[0], at_least), integer(name, both[1], at_least)


def floats(name: str, value: Any) -> np.ndarray:
    """The argument if it is an array of float32 or float64, in this machine's byte order.

    Raises TypeError for anything else.
    """
    if not isinstance(value, np.ndarray) or value.dtype not in FLOATS:
        given = getattr(value, "dtype", type(value).__name__)
        raise TypeError(f"{name}: expected an array of float32 or float64, got {given}")
    return value
