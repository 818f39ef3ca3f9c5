"""What a diagnosis looks at: the claimed gradient, the true one, and where each part of it comes from.

The true gradient is the sum of what each output contributes: n[i] = sum over o of dy[o] * dy[o]/dx[i]. With
these contributions at hand, it can be tested what is left when some are forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from minicnn.checks.subject import Subject

SECONDS = 2.0  # to spend on the finite differences of one array
MOST = 4_000_000  # numbers of a Jacobian
CLOSE = 1e-5  # of the largest entry: two gradients that differ by less are the same one
STEP = 1e-5


@dataclass(frozen=True)
class Settings:
    """Of what is checked: numbers that may be a factor, and arrays of integers, which may be labels."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    integers: Sequence[np.ndarray] = ()


@dataclass
class Evidence:
    """A wrong gradient and all that is known about it.

    `at` are places in the flat array (all of them if `full`), `true` and `claimed` the gradients there;
    `parts[i, o]` is what output o contributes to entry i. Entries on kinks are not in `at`, but in `kinks`.
    """

    name: str
    subject: Subject
    dy: np.ndarray
    y: np.ndarray
    gradients: Mapping[str, np.ndarray]  # all that were claimed
    at: np.ndarray
    kinks: np.ndarray
    parts: np.ndarray
    settings: Settings
    others: dict[str, Evidence] = field(default_factory=dict)  # of the other arrays, as far as known

    @property
    def array(self) -> np.ndarray:
        """The values at which the gradient is taken."""
        return self.subject.arrays[self.name]

    @property
    def full(self) -> bool:
        """Whether all entries are known."""
        return len(self.at) == self.array.size

    @cached_property
    def true(self) -> np.ndarray:
        """The true gradient at `at`."""
        return self.parts.sum(axis=1)

    @cached_property
    def claimed(self) -> np.ndarray:
        """The claimed gradient at `at`."""
        return self.gradients[self.name].ravel()[self.at]

    @cached_property
    def scale(self) -> float:
        """On which differences are judged: the largest entry of both."""
        return float(max(np.abs(self.true).max(initial=0), np.abs(self.claimed).max(initial=0)))

    @cached_property
    def wrong(self) -> np.ndarray:
        """Which of `at` are wrong."""
        return ~np.isclose(self.claimed, self.true, rtol=1e-6, atol=0.1 * CLOSE * self.scale)

    @cached_property
    def difference(self) -> np.ndarray:
        """What the claimed gradient has too much."""
        return self.claimed - self.true

    @cached_property
    def places(self) -> np.ndarray:
        """The indices [len(at), ndim] of the entries."""
        return np.stack(np.unravel_index(self.at, self.array.shape or (1,)), axis=1)

    def explains(self, guess: np.ndarray) -> bool:
        """Whether a gradient at `at` is the claimed one."""
        return bool(np.allclose(guess, self.claimed, rtol=0, atol=CLOSE * self.scale))

    def in_full(self) -> np.ndarray:
        """The true gradient in its shape. Only if `full`."""
        return self.true[np.argsort(self.at)].reshape(self.array.shape)


def look(
    subject: Subject,
    name: str,
    dy: np.ndarray,
    y: np.ndarray,
    claimed: Mapping[str, np.ndarray],
    settings: Settings,
    seconds: float = SECONDS,
) -> Evidence | None:
    """The evidence about one array; None if nothing could be evaluated. Its values are put back."""
    array = subject.arrays[name]
    began = time.perf_counter()
    subject.evaluate()
    each = 2.5 * (time.perf_counter() - began) + 1e-6
    count = int(min(array.size, max(8, seconds / each), max(1, MOST // max(1, y.size))))
    places = np.arange(array.size)
    if count < array.size:
        rng = np.random.default_rng(0)
        gradient = np.nan_to_num(np.abs(claimed[name]).ravel())
        likely = np.argsort(gradient)[-count // 4 :]
        places = np.unique([*rng.choice(array.size, count - len(likely), replace=False), *likely])
    rows, at, kinks = [], [], []
    for k in places:
        found = _contributions(subject, array, int(k), dy, y)
        if found is None:
            continue
        right, left = found
        gap, size = np.abs(right - left).sum(), np.abs(right).sum() + np.abs(left).sum()
        if gap > 1e-3 * size and gap > 1e-9:
            kinks.append(k)
        else:
            rows.append((right + left) / 2)
            at.append(k)
    if not at:
        return None
    return Evidence(
        name, subject, dy, y, claimed, np.array(at), np.array(kinks, int), np.array(rows), settings
    )


def _contributions(
    subject: Subject, array: np.ndarray, k: int, dy: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """dy * slope of each output, to the right and to the left of entry k; None outside of the domain."""
    index = np.unravel_index(k, array.shape) if array.ndim else ()
    before = array[index].copy()
    step = STEP * max(1.0, abs(float(before)))
    slopes = []
    try:
        for h in step, -step:
            array[index] = before + h
            slopes.append((dy * (subject.evaluate() - y) / (array[index] - before)).ravel())
    except (ValueError, ArithmeticError):
        return None
    finally:
        array[index] = before
    return slopes[0], slopes[1]


def with_values(evidence: Evidence, name: str, values: np.ndarray, at: np.ndarray) -> np.ndarray | None:
    """The true gradient at some places if another array of the subject had other values."""
    subject, other = evidence.subject, evidence.subject.arrays[name]
    before = other.copy()
    other[...] = values
    try:
        y = subject.evaluate()
        found = [_contributions(subject, evidence.array, int(k), evidence.dy, y) for k in at]
    except (ValueError, ArithmeticError):
        return None
    finally:
        other[...] = before
    if any(pair is None for pair in found):
        return None
    return np.array([(right + left).sum() / 2 for right, left in found])  # type: ignore[misc]
