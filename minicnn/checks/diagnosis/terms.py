"""Mistakes in terms: one missing or doubled, a sum over other axes, a factor of each channel."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from minicnn.checks.diagnosis.evidence import Evidence


def wrong_axis(e: Evidence) -> str | None:
    """A sum of dy (or of dy * y) over other axes than those of the true gradient."""
    dy = e.dy
    if not e.full or dy.ndim < 2 or e.array.size >= dy.size:
        return None
    n = e.in_full().ravel()
    axes = _subsets(dy.ndim)
    right = next(
        (s for s in axes if dy.sum(axis=s).size == n.size and _same(e, dy.sum(axis=s).ravel(), n)), None
    )
    if right is None:
        return None
    for s in axes:
        total = dy.sum(axis=s).ravel()
        for found, how in (total, "sum"), (total / max(1, dy.size // max(1, total.size)), "mean"):
            fits = found.size == n.size and e.explains(found[e.at])
            cut = found.size > n.size and e.explains(found[: n.size][e.at])
            if s != right and (fits or cut):
                return f"is the {how} over the axes {_list(s)} of dy; it must be over {_list(right)}"
    if e.explains(np.full(len(e.at), dy.sum())):
        return f"is the sum of all of dy; it must be over the axes {_list(right)} only"
    return None


def known_term(e: Evidence) -> str | None:
    """The difference is a multiple of something known: the array itself, its signs, dy, the output."""
    d = e.difference
    a = e.array
    candidates: dict[str, np.ndarray] = {
        f"{e.name} itself: a regularization in one of loss and gradient only, or twice?": a,
        f"the signs of {e.name}: an L1 regularization that is in one of loss and gradient only?": np.sign(a),
        "1: a constant added": np.ones(a.shape),
    }
    if e.dy.shape == a.shape:
        candidates |= {
            "dy: a term missing, or there twice?": e.dy,
            "dy times the output: a term missing, or there twice?": e.dy * e.y,
            f"dy times {e.name}: a term missing, or there twice?": e.dy * a,
            "dy times the square of the output: a term missing, or there twice?": e.dy * e.y**2,
            "the output: a term missing, or there twice?": e.y,
        }
    for name, other in e.subject.arrays.items():
        if name != e.name and other.shape == a.shape:
            candidates[f"{name}: a term missing, or there twice?"] = other
    for words, term in candidates.items():
        t = term.ravel()[e.at]
        if np.count_nonzero(t) < 3 or np.sum(t**2) == 0:
            continue
        c = float(np.sum(d * t) / np.sum(t**2))
        if c and np.allclose(c * t, d, rtol=0, atol=_close(e)):
            return f"differs from the true one by {c:.5g} times {words}"
    return None


def at_labels(e: Evidence) -> str | None:
    """Wrong at the entries of the labels only, or everywhere else."""
    for labels in e.settings.integers:
        if e.array.ndim != 2 or labels.shape != e.array.shape[:1] or labels.min() < 0:
            continue
        if labels.max() >= e.array.shape[1]:
            continue
        of_label = e.places[:, 1] == labels[e.places[:, 0]]
        if e.wrong[of_label].all() and not e.wrong[~of_label].any():
            d = e.difference[of_label]
            by = f", by {d[0]:.5g} each" if np.ptp(d) < 1e-5 * e.scale else ""
            return (
                f"is wrong only at the entries of the labels{by}: the 1 to subtract there, its sign or its "
                "scale?"
            )
        if e.wrong[~of_label].all() and not e.wrong[of_label].any():
            return "is right only at the entries of the labels: do the other classes get their share?"
    return None


def group_term(e: Evidence) -> str | None:
    """The difference is constant along some axes, or linear in x or y there: a mean or a sum is missing."""
    if not e.full or e.array.ndim < 1 or e.array.size < 6:
        return None
    d = np.empty(e.array.shape)
    d.flat[e.at] = e.difference
    y = e.y if e.y.shape == e.array.shape else None
    for s in reversed(_subsets(e.array.ndim)):  # over as many axes as possible
        size = int(np.prod([e.array.shape[k] for k in s]))
        if size < 3:
            continue
        if _in_span(e, d, s, [np.ones_like(d)]):
            return (
                f"differs from the true one by the same number along the axes {_list(s)}: a term with a "
                f"mean or sum "
                "over them is missing or doubled?"
            )
        if size >= 5 and d.size > 5 and _in_span(e, d, s, [np.ones_like(d), e.array]):
            return (
                f"differs from the true one by a linear function of {e.name} along the axes {_list(s)}: "
                f"mean and "
                "variance over them depend on it, and a term of theirs is missing or doubled"
            )
        if y is not None and size >= 4 and _in_span(e, d, s, [y]):
            return (
                f"differs from the true one by a multiple of the output along the axes {_list(s)}: is "
                f"the sum over "
                "them forgotten, as in softmax, whose outputs depend on all inputs?"
            )
    return None


def _in_span(e: Evidence, d: np.ndarray, axes: tuple[int, ...], basis: list[np.ndarray]) -> bool:
    """Whether d is a combination of the basis in each group of entries that differ along `axes` only."""
    groups = [_by_group(a, axes) for a in (d, *basis)]
    if len(groups[0]) == d.size:
        return False
    for k in range(len(groups[0])):
        b = np.stack([g[k] for g in groups[1:]], axis=1)
        fit, *_ = np.linalg.lstsq(b, groups[0][k], rcond=None)
        if not np.allclose(b @ fit, groups[0][k], rtol=0, atol=_close(e)):
            return False
    return True


def _by_group(a: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    rest = [k for k in range(a.ndim) if k not in axes]
    return a.transpose(*rest, *axes).reshape(int(np.prod([a.shape[k] for k in rest])), -1)


def of_each(e: Evidence) -> str | None:
    """A factor that depends on one axis only, or on the value, or on the output at the same place."""
    known = np.abs(e.true) > 1e-3 * e.scale
    if known.sum() < 4 or not np.allclose(e.claimed[~known], e.true[~known], rtol=0, atol=0.01 * e.scale):
        return None
    ratio = e.claimed[known] / e.true[known]
    x = e.array.ravel()[e.at][known]
    values = {f"{e.name}": x}
    if e.y.shape == e.array.shape:
        y = e.y.ravel()[e.at][known]
        values |= {"y": y, "(1 - y)": 1 - y, "y (1 - y)": y * (1 - y), "(1 - y^2)": 1 - y**2, "y^2": y**2}
    for label, v in values.items():
        for power, words in (1, f"has a factor {label} too much"), (-1, f"lacks a factor {label}"):
            with np.errstate(divide="ignore", invalid="ignore"):
                r = ratio / v**power
            if np.isfinite(r).all() and np.ptp(r) < 1e-4 * np.abs(r).max() and np.ptp(v) > 1e-3:
                return f"{words} (y is the output): a derivative taken at the wrong place, or half forgotten?"
    places = e.places[known]
    for axis in range(e.array.ndim):
        index = places[:, axis]
        steady = [np.ptp(ratio[index == k]) < 1e-4 * np.abs(ratio).max() for k in np.unique(index)]
        if all(steady) and len(steady) > 1 and len(ratio) >= 2 * len(steady):
            per = {int(k): float(ratio[index == k][0]) for k in np.unique(index)}
            for name, other in e.subject.arrays.items():
                if other.ndim == 1 and other.size == e.array.shape[axis] and name != e.name:
                    for power, words in (
                        (1, f"has a factor {name} too much"),
                        (-1, f"lacks the factor {name}"),
                    ):
                        if all(np.isclose(r, other[k] ** power, rtol=1e-4) for k, r in per.items()):
                            return words
            if sum(abs(r - 1) > 1e-5 for r in per.values()) > 1:
                return f"is the true one times a factor that depends on axis {axis} only"
    return None


def _subsets(ndim: int) -> list[tuple[int, ...]]:
    return [s for k in range(1, ndim + 1) for s in combinations(range(ndim), k)]


def _same(e: Evidence, a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=0, atol=_close(e)))


def _close(e: Evidence) -> float:
    return 1e-5 * float(np.abs(e.difference).max())


def _list(axes: tuple[int, ...]) -> str:
    return ", ".join(map(str, axes))
