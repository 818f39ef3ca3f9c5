"""The lines along which a gradient is compared: single entries, and directions that change many at once.

A direction sees all entries of an array in one number. Some see what no single entry can: where two numbers
are tied, a maximum has a kink in each of them, and none along a direction that moves both. A backward that
counts both of them is found there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from minicnn.checks.constants import EVERY, FEW_TIES, TIES
from minicnn.checks.kinks import Claims, Surroundings
from minicnn.checks.slopes import Move


@dataclass(frozen=True)
class Entry:
    """One entry of an array."""

    where: tuple[int, ...]

    def of(self, gradient: np.ndarray) -> float:
        """The slope of L along this line if `gradient` is the gradient."""
        return float(gradient[self.where])

    def bounds(self, claims: Claims) -> tuple[float, float, bool]:
        """Between which slopes `of` is for these claims, and whether it takes more than two values."""
        return self.of(claims.least), self.of(claims.greatest), bool(claims.several[self.where])

    def range_around(self, around: Surroundings, name: str) -> tuple[float, float]:
        """Between which slopes backward's claims around the point are."""
        return self.bounds(around.claims(name))[:2]

    def mover(self, array: np.ndarray) -> Move:
        """A function that moves the array along this line, from where it is now."""
        before = array[self.where]
        value = float(before)

        def move(t: float) -> float:
            array[self.where] = before if t == 0 else value + t
            return float(array[self.where]) - value  # value + t is rounded

        return move

    def moving(self, array: np.ndarray, gradient: np.ndarray) -> float:
        """By how much the rounding of moved values can move L."""
        return 0.0  # `mover` measures it

    def vector(self, array: np.ndarray) -> np.ndarray:
        """The direction as an array."""
        v = np.zeros(array.shape)
        v[self.where] = 1
        return v

    def size(self, array: np.ndarray) -> float:
        """The size of the values that are moved, at least 1."""
        return max(1.0, abs(float(array[self.where])))


@dataclass(frozen=True)
class Direction:
    """A direction v of length 1 that changes many entries of an array."""

    where: str
    v: np.ndarray

    @staticmethod
    def of_length_1(where: str, v: np.ndarray) -> Direction:
        """The direction of v."""
        return Direction(where, v / np.linalg.norm(v))

    def of(self, gradient: np.ndarray) -> float:
        return float(np.vdot(gradient, self.v))

    def bounds(self, claims: Claims) -> tuple[float, float, bool]:
        ends = claims.least * self.v, claims.greatest * self.v
        kinks = np.count_nonzero(claims.least != claims.greatest)
        several = bool(kinks > 1 or claims.several.any())
        return float(np.sum(np.minimum(*ends))), float(np.sum(np.maximum(*ends))), several

    def range_around(self, around: Surroundings, name: str) -> tuple[float, float]:
        return around.range_along(name, self)

    def mover(self, array: np.ndarray) -> Move:
        before = array.copy()

        def move(t: float) -> float:
            if t == 0:
                array[...] = before
            else:
                np.multiply(self.v, t, out=array, casting="same_kind")
                np.add(array, before, out=array)
            return t

        return move

    def moving(self, array: np.ndarray, gradient: np.ndarray) -> float:
        eps = float(np.finfo(array.dtype).eps)
        return eps * float(np.linalg.norm((array * gradient).ravel()))

    def vector(self, array: np.ndarray) -> np.ndarray:
        return self.v

    def size(self, array: np.ndarray) -> float:
        return max(1.0, float(np.linalg.norm(array)) / np.sqrt(array.size))


def random_directions(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> Iterator[Direction]:
    """Directions that depend on all entries."""
    for k in range(count):
        yield Direction.of_length_1(f"direction {k}", rng.standard_normal(shape))


def even_directions(array: np.ndarray, rng: np.random.Generator) -> Iterator[Direction]:
    """Directions along which ties remain ties: all entries alike; or equal ones alike, zeros not at all.

    A maximum of equal numbers, a median, a sorting or a ReLU at 0 is smooth along them.
    """
    if array.size < 2:
        return
    yield Direction.of_length_1("all alike", np.ones(array.shape))
    some = array.ravel()[:: max(1, array.size // EVERY)]
    enough = 1.0 if some.size == array.size else FEW_TIES
    if np.count_nonzero(np.unique(some)) >= enough * some.size:
        return
    distinct, which = np.unique(array, return_inverse=True)
    values = int(np.count_nonzero(distinct))
    if len(distinct) == 1:
        return  # it was all alike
    for k in range(min(TIES, values)):
        v = rng.standard_normal(len(distinct)) * (distinct != 0)
        yield Direction.of_length_1(f"equal alike {k}", v[which].reshape(array.shape))


def sample(gradient: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """`count` places in the flat array, by turns anywhere and where the gradient is not claimed to be 0."""
    size, nonzero = gradient.size, np.flatnonzero(gradient)
    drawn = [
        rng.choice(size, min(count, size), replace=False).tolist(),
        rng.choice(nonzero, min(count, nonzero.size), replace=False).tolist(),
    ]
    turns = (k for pair in zip_longest(*drawn) for k in pair if k is not None)
    return list(dict.fromkeys(turns))[:count]
