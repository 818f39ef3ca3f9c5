"""Mistakes that concern a gradient as a whole: zero, a factor, a sign, another order, another dy."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from minicnn.checks.diagnosis.evidence import Evidence, with_values

ORDERS = 24  # permutations of axes at most
FEW = 10  # entries to try a guess on that is costly


def not_finite(e: Evidence) -> str | None:
    """NaN or infinity."""
    bad = ~np.isfinite(e.gradients[e.name])
    if not bad.any():
        return None
    where = [int(i) for i in np.argwhere(bad)[0]]
    return (
        f"is NaN or infinite at {bad.sum()} of {bad.size} entries, first at {where}: 0/0, log(0) or "
        "an overflow?"
    )


def not_used(e: Evidence) -> str | None:
    """Forward does not depend on the array."""
    if e.parts.any() or not e.claimed.any():
        return None
    return f"is not zero, but the output does not depend on {e.name}: is {e.name} forgotten in forward?"


def zero(e: Evidence) -> str | None:
    """Nothing arrives."""
    if np.any(e.claimed) or not e.wrong.any():
        return None
    return "is zero everywhere, the true one is not: is it computed, stored and passed on?"


def factor(e: Evidence) -> str | None:
    """A number times the true one."""
    norm = float(np.sum(e.true**2))
    if norm == 0:
        return None
    c = float(np.sum(e.claimed * e.true)) / norm
    if c == 0 or not e.wrong.any() or not e.explains(c * e.true):
        return None
    if e.dy.size == 1 and np.isclose(c * float(e.dy.sum()), 1, rtol=1e-5) and not np.isclose(c, 1):
        return "is that for dy = 1: is the upstream gradient forgotten?"
    reason = name_factor(e, c)
    if np.count_nonzero(np.abs(e.true) > 1e-3 * e.scale) < 2 and not reason:  # of one number any is a factor
        return None
    if np.isclose(c, -1, rtol=1e-5):
        return "is minus the true one: a sign?"
    times = f"{c:.6g} times" if abs(c) >= 0.1 or not reason else f"1/{1 / c:.6g} of"
    return f"equals {times} the true one, everywhere{reason}"


def name_factor(e: Evidence, c: float) -> str:
    """Where a factor may come from, as the end of a sentence; "" if nobody knows."""
    sign = ", and a sign" if c < 0 else ""
    c = abs(c)

    def near(value: float) -> bool:
        return bool(value) and bool(np.isclose(c, value, rtol=1e-5))

    if near(1):
        return sign
    for label, n in sizes(e).items():
        if near(n):
            return f": a missing 1/{label}? ({label} = {n}){sign}"
        if near(1 / n):
            return f": divided by {label} without need? ({label} = {n}){sign}"
    for label, number in e.settings.numbers.items():
        if number in (0.0, 1.0):
            continue
        for power, words in (1, f"a factor {label} too much"), (-1, f"a missing factor {label}"):
            if near(abs(number) ** power):
                return f": {words}? ({label} = {number:g}){sign}"
        if near(number**2) or near(number**-2):
            which = (
                "multiplied by, where it must be divided by"
                if near(number**2)
                else "divided by, where it must be multiplied by"
            )
            return f": {which} {label}? ({label} = {number:g}){sign}"
        if near(1 - number) or near(1 / (1 - number)):
            return f": 1 - {label} taken for {label}, or forgotten? ({label} = {number:g}){sign}"
    if near(2):
        return f": a term doubled, or the 2 of a square?{sign}"
    if near(0.5):
        return f": a factor 2 forgotten, as of a square?{sign}"
    return sign


def sizes(e: Evidence) -> dict[str, int]:
    """Sizes by which people divide: of the batch, of the axes, of all of them together."""
    found: dict[str, int] = {}
    shapes = [(name, a.shape) for name, a in e.subject.arrays.items()] + [("the output", e.y.shape)]
    first = next(iter(e.subject.arrays.values())).shape
    if first and first[0] > 1:
        found["N"] = first[0]
    for name, shape in shapes[:1] + shapes[-1:]:
        if len(shape) > 1 and shape[-1] > 1:
            found.setdefault(f"the last axis of {name}", shape[-1])
        if len(shape) == 4:
            for label, n in (
                ("(H W)", shape[1] * shape[2]),
                ("H", shape[1]),
                ("W", shape[2]),
                ("(H W) of channels first", shape[2] * shape[3]),
                ("(N H W)", shape[0] * shape[1] * shape[2]),
            ):
                found.setdefault(label, n)
        size = int(np.prod(shape))
        if size > 1:
            found.setdefault(f"the size of {name}", size)
    return {label: n for label, n in found.items() if n > 1}


def upstream(e: Evidence) -> str | None:
    """The gradient for another dy: 1, or dy twice."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(e.dy.ravel() != 0, e.parts / e.dy.ravel(), 0)
    guesses = {
        "is that for dy = 1: is the upstream gradient forgotten?": np.ones(e.dy.size),
        "has dy squared in it: is the upstream gradient multiplied twice?": e.dy.ravel() ** 2,
        "takes the mean of dy for dy: each output has its own": np.full(e.dy.size, e.dy.mean()),
        "takes |dy| for dy": np.abs(e.dy.ravel()),
    }
    for words, dy in guesses.items():
        if not np.allclose(dy, e.dy.ravel()) and e.explains(slopes @ dy):
            return words
    doubled = e.subject.gradients(2 * e.dy)[e.name].ravel()[e.at]
    if e.explains(doubled) and np.any(e.claimed):
        return "does not depend on dy: is the upstream gradient forgotten?"
    return None


def swapped(e: Evidence) -> str | None:
    """The gradient of another array of the same shape."""
    for name, other in e.others.items():
        if name == e.name or other.array.shape != e.array.shape or not np.array_equal(other.at, e.at):
            continue
        if e.explains(other.true):
            return f"is the true gradient of {name}: two results exchanged?"
    return None


def reordered(e: Evidence) -> str | None:
    """The right numbers in other places: transposed, flipped, reshaped in another order, shifted."""
    if not e.full or e.array.ndim == 0 or e.array.size < 4:
        return None
    n = e.in_full()
    axes = range(e.array.ndim)
    for order in list(permutations(axes))[1:ORDERS]:
        moved = n.transpose(order)
        if _is(e, moved.reshape(n.shape)):
            words = "transposed" if moved.shape == n.shape else "transposed, and reshaped to fit"
            return f"is the true one {words} (axes {list(order)}): a .T too much or too little, or a reshape?"
    if _is(e, n.ravel(order="F").reshape(n.shape)) or _is(e, n.ravel().reshape(n.shape, order="F")):
        return (
            "is the true one reshaped in the other order (columns first): a reshape in place of a transpose?"
        )
    for flipped in [(k,) for k in axes] + [(k, k + 1) for k in list(axes)[:-1]]:
        if _is(e, np.flip(n, flipped)):
            return f"is the true one flipped along axis {' and '.join(map(str, flipped))}"
    for axis in axes:
        for shift in (1, -1, 2, -2):
            if _is_shifted(e, n, axis, shift):
                return (
                    f"is the true one shifted by {shift} along axis {axis}: padding cropped at the wrong end?"
                )
    for a1 in axes:
        for a2 in axes:
            if a1 < a2 and any(
                _is_shifted(e, np.roll(n, s, a1), a2, t, (a1, s)) for s in (1, -1) for t in (1, -1)
            ):
                return f"is the true one shifted along axes {a1} and {a2}: padding cropped at the wrong end?"
    if np.allclose(np.sort(e.claimed), np.sort(e.true), rtol=0, atol=0.1 * CLOSE_ORDER * e.scale) and _varied(
        e
    ):
        return "has the right numbers in other places: a reshape or transpose in the wrong order?"
    return None


CLOSE_ORDER = 1e-5


def _varied(e: Evidence) -> bool:
    return len(np.unique(np.round(e.true / e.scale, 6))) > 3


def _is(e: Evidence, guess: np.ndarray) -> bool:
    return e.explains(guess.ravel()[e.at]) and _varied(e)


def _is_shifted(
    e: Evidence, n: np.ndarray, axis: int, shift: int, also: tuple[int, int] | None = None
) -> bool:
    """Whether the claimed gradient is n moved along an axis, where both are inside."""
    claimed = np.empty(n.shape)
    claimed.flat[e.at] = e.claimed
    if n.shape[axis] <= abs(shift) + 1:
        return False
    inside = [slice(None)] * n.ndim
    inside[axis] = slice(shift, None) if shift > 0 else slice(None, shift)
    if also is not None:
        inside[also[0]] = slice(also[1], None) if also[1] > 0 else slice(None, also[1])
    guess = np.roll(n, shift, axis)[tuple(inside)]
    found = claimed[tuple(inside)]
    return bool(np.allclose(guess, found, rtol=0, atol=1e-5 * e.scale)) and bool(np.any(guess)) and _varied(e)


def other_values(e: Evidence) -> str | None:
    """The gradient that would be true for another order of a weight: transposed, flipped."""
    tried = np.unique(np.linspace(0, len(e.at) - 1, min(FEW, len(e.at))).astype(int))
    for name, w in e.subject.arrays.items():
        if name == e.name or w.ndim < 2 or w.size > 10_000:
            continue
        for words, values in _orders(w):
            guess = with_values(e, name, values, e.at[tried])
            if guess is None or not np.allclose(guess, e.claimed[tried], rtol=0, atol=1e-5 * e.scale):
                continue
            whole = with_values(e, name, values, e.at)
            if whole is not None and e.explains(whole):
                return f"would be true for {name} {words}: is {name} used in the wrong order in backward?"
    return None


def _orders(w: np.ndarray) -> list[tuple[str, np.ndarray]]:
    found = []
    for order in list(permutations(range(w.ndim)))[1:ORDERS]:
        moved = w.transpose(order)
        found.append((f"transposed (axes {list(order)})", moved.reshape(w.shape)))
        back = w.reshape(moved.shape).transpose(np.argsort(order))
        found.append((f"reshaped for transposed (axes {list(order)})", np.ascontiguousarray(back)))
    for axis in range(w.ndim):
        found.append((f"flipped along axis {axis}", np.flip(w, axis)))
    if w.ndim >= 3:
        found += [
            ("flipped along its first two axes", w[::-1, ::-1]),
            ("flipped along its last two", w[..., ::-1, ::-1]),
        ]
    return [(words, values) for words, values in found if not np.array_equal(values, w)]
