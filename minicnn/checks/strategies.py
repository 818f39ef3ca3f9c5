"""Arguments of many shapes and values, for Hypothesis: `minicnn.strategies`.

    from hypothesis import given
    from minicnn import gradient_check, strategies

    @given(strategies.arguments("N D", "D M", "M"))
    def test_dense(arguments):
        assert not gradient_check((forward, backward), *arguments).wrong

Letters are sizes, the same wherever they stand: x [N, D], w [D, M], b [M]. What fails is made smaller by
Hypothesis: sizes, then the kind of the values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

try:
    from hypothesis import strategies as st
except ImportError as _error:
    raise ImportError("minicnn.strategies needs Hypothesis: pip install hypothesis") from _error

SIZES = (1, 5)
Rng = np.random.Generator

# From the simplest, which Hypothesis tries last to leave.
VALUES: dict[str, Callable[[Rng, tuple[int, ...]], np.ndarray]] = {
    "plain": lambda rng, shape: rng.standard_normal(shape),
    "tied": lambda rng, shape: np.round(rng.standard_normal(shape)) + 0.0,
    "half zeros": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.5) + 0.0,
    "tiny": lambda rng, shape: 1e-3 * rng.standard_normal(shape),
    "large": lambda rng, shape: 30 * rng.standard_normal(shape),
}


@st.composite
def arguments(
    draw: Callable[..., Any],
    *shapes: Any,
    kinds: Sequence[str] = tuple(VALUES),
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[Any, ...]:
    """A tuple of arrays, float64, of shapes such as "N D" or "N 3": a letter is a size, a number is itself.

    "N < C" is an array of N integers from 0 to C - 1: labels. Anything else, 2 or "same", is passed on.
    `sizes` gives the least and the greatest size of a letter, (1, 5) unless given. `kinds` are the kinds of
    values, names of `VALUES`; all arrays of a tuple are of one kind. Raises ValueError for an unknown kind.
    """
    if unknown := sorted(set(kinds) - set(VALUES)):
        raise ValueError(f"kinds: expected names among {', '.join(VALUES)}, got {', '.join(unknown)}")
    words = [word for shape in shapes if _is_shape(shape) for word in shape.replace("<", " ").split()]
    letters = dict.fromkeys(word for word in words if not word.isdigit())
    size = {letter: draw(st.integers(*(sizes or {}).get(letter, SIZES)), letter) for letter in letters}
    size |= {word: int(word) for word in words if word.isdigit()}
    kind = draw(st.sampled_from(list(kinds)), "values")
    rng = np.random.default_rng(draw(st.integers(0, 2**16), "seed"))

    def argument(shape: Any) -> Any:
        if not _is_shape(shape):
            return shape
        left, less, right = shape.partition("<")
        dimensions = tuple(size[word] for word in left.split())
        if less:
            return rng.integers(0, size[right.strip()], dimensions)
        return VALUES[kind](rng, dimensions)

    return tuple(argument(shape) for shape in shapes)


def _is_shape(given: Any) -> bool:
    pattern = r"\s*(([A-Za-z]|\d+)\s+|<\s*)*([A-Za-z]|\d+)\s*"
    return isinstance(given, str) and re.fullmatch(pattern, given) is not None
