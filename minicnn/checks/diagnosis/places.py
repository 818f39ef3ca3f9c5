"""Mistakes at some places only: a border, ties, one input, a mask, what overlaps."""

from __future__ import annotations

import numpy as np

from minicnn.checks.diagnosis.evidence import Evidence

MOST = 0.8  # of the entries: what is wrong at more is not wrong at some places only


def overwritten(e: Evidence) -> str | None:
    """Where several outputs contribute, only one arrives: `=` for `+=`."""
    if e.y.ndim < 2:
        return None
    channel_axes = (e.y.ndim - 1, 1, None) if e.y.ndim > 2 else (1, None)
    for axis in channel_axes:
        parts = e.parts.reshape(len(e.at), *e.y.shape)
        groups = (parts.sum(axis=axis + 1) if axis is not None else parts).reshape(len(e.at), -1)
        several = (np.abs(groups) > 1e-7 * e.scale).sum(axis=1) > 1
        near = np.isclose(groups, e.claimed[:, None], rtol=0, atol=1e-5 * e.scale)
        one = (near & (np.abs(groups) > 1e-4 * e.scale)).any(axis=1) & several
        # What comes last may be a 0, from a window in which this entry is no maximum.
        of_images = e.array.ndim == e.y.ndim == 4 and len(e.array) == len(e.y)
        nothing = (np.abs(e.claimed) < 1e-7 * e.scale) & of_images
        if (one | nothing)[e.wrong].all() and (one & e.wrong).sum() >= max(2, e.wrong.sum() / 3):
            return (
                "holds only one of several contributions (of windows that overlap, an index that comes "
                "again, later steps in time): `=` where `+=` is meant? With an array of indices, np.add.at"
            )
    return None


def left_out(e: Evidence) -> str | None:
    """The contributions of some outputs are left out: of one input of the batch, a row, a column, a "
    "channel."""
    if e.y.ndim == 0:
        return None
    parts = e.parts.reshape(len(e.at), *e.y.shape)
    for axis in range(e.y.ndim):
        count = e.y.shape[axis]
        if count < 2 or count > len(e.at):
            continue
        other = tuple(k + 1 for k in range(e.y.ndim) if k != axis)
        groups = parts.sum(axis=other)
        weight, _, rank, _ = np.linalg.lstsq(groups, e.claimed, rcond=1e-9)
        if rank < count or not e.explains(groups @ weight):
            continue
        if not np.allclose(weight, np.round(weight), atol=1e-3):
            continue
        missing = np.flatnonzero(np.abs(weight) < 1e-3)
        if 0 < len(missing) < count and np.allclose(np.delete(weight, missing), 1, atol=1e-3):
            if len(missing) == count - 1:
                one = int(np.flatnonzero(np.abs(weight) > 0.5)[0])
                return (
                    f"has the contribution of index {one} of axis {axis} of the output alone: "
                    f"`=` where `+=` is meant, or only one input looked at?"
                )
            return f"leaves out index {_some(missing)} of axis {axis} of the output ({count} in all)"
        double = np.flatnonzero(np.abs(weight - 2) < 1e-3)
        if len(double) and np.allclose(np.delete(weight, double), 1, atol=1e-3):
            return f"counts index {_some(double)} of axis {axis} of the output twice"
    return None


def window_share(e: Evidence) -> str | None:
    """Each output counts as often as its window has entries: an average without its division."""
    if e.y.ndim != 4:
        return None
    parts = e.parts.reshape(len(e.at), *e.y.shape)
    for rest in (1, 4), (1, 2):  # channels last, channels first
        groups = parts.sum(axis=rest).reshape(len(e.at), -1)
        if groups.shape[1] > len(e.at):
            continue
        weight, _, rank, _ = np.linalg.lstsq(groups, e.claimed, rcond=1e-9)
        if rank < groups.shape[1] or not e.explains(groups @ weight) or np.ptp(weight) < 1e-3:
            continue
        if np.allclose(weight, np.round(weight), atol=1e-3) and weight.min() > 0.5:
            return (
                f"counts each output as often as its window has entries (1 to {weight.max():.0f}): is "
                f"the division by "
                "their number missing?"
            )
        if np.mean(np.isclose(weight, 1, atol=1e-3)) >= 0.3:
            return "weights the outputs at the border otherwise than forward does: is padding counted or not?"
    return None


def dead_outputs(e: Evidence) -> str | None:
    """The upstream gradient of outputs that are 0 arrives, too: the mask of a ReLU further on is missing."""
    dead = e.y == 0
    if not e.full or not dead.any() or e.y.ndim < 2 or e.array.ndim != 1:
        return None
    total = (e.dy * dead).sum(axis=tuple(range(e.y.ndim - 1)))
    if total.size == e.array.size and e.explains(e.true + total[e.at]) and e.wrong.any():
        return "gets the upstream gradient of outputs that are 0, too: is the mask of a ReLU missing?"
    return None


def mask(e: Evidence) -> str | None:
    """A gradient passes where none should, or none where one should: a mask is missing, or another one."""
    small = 1e-7 * e.scale
    true_zero, claimed_zero = np.abs(e.true) <= small, np.abs(e.claimed) <= small
    leaks, blocked = true_zero & ~claimed_zero, ~true_zero & claimed_zero
    if (e.wrong & ~leaks & ~blocked).any() or not e.wrong.any():
        return None
    x = e.array.ravel()[e.at]
    if leaks.any() and blocked.any():
        if min(leaks.sum(), blocked.sum()) < 2:
            return None
        return (
            "is zero at other places than the true one: another mask in backward than in forward, drawn "
            "anew or of "
            "other values?"
        )
    if leaks.any():
        side = _side(x, leaks, true_zero)
        if not side and (where := describe(e, leaks)):
            return f"passes a gradient where the true one is 0, {where}"
        return (
            f"passes a gradient where the true one is 0{side}: "
            "is the mask of a ReLU, dropout or maximum missing?"
        )
    if np.count_nonzero(~true_zero) == np.count_nonzero(blocked):
        return None
    where = describe(e, blocked)
    return f"is zero where the true one is not, {where}" if where else None


def _side(x: np.ndarray, leaks: np.ndarray, true_zero: np.ndarray) -> str:
    if (x[leaks] < 0).all() and true_zero[x < 0].all():
        return " (below 0)"
    if (x[leaks] == 0).all():
        return " (at 0)"
    return ""


def ties(e: Evidence) -> str | None:
    """Only entries that are equal to others, or at a kink."""
    if e.wrong.any():
        x = e.array.ravel()[e.at]
        values, counts = np.unique(e.array, return_counts=True)
        tied = np.isin(x, values[counts > 1])
        if (
            tied.any()
            and not tied.all()
            and (tied | ~e.wrong).all()
            and not (x[e.wrong] == x[e.wrong][0]).all()
        ):
            return "is wrong only where values are tied: does each of several equal maxima get the gradient?"
        return None
    if len(e.kinks):
        return (
            "is wrong only on kinks or ties, where it must lie between the slopes on either side: a "
            "maximum counted twice?"
        )
    return None


def located(e: Evidence) -> str | None:
    """Wrong at a border, one index, or one entry only."""
    if not e.wrong.any() or e.wrong.all() or e.wrong.mean() > MOST:
        return None
    where = describe(e, e.wrong)
    return f"is wrong only {where}" if where else None


def describe(e: Evidence, chosen: np.ndarray) -> str:
    """Where the chosen entries are, in words; "" if nothing is to be said."""
    if e.array.ndim == 0 or not chosen.any():
        return ""
    places, inside = e.places[chosen], e.places[~chosen]
    shape = e.array.shape
    if len(places) == 1 and len(e.at) > 3:
        return f"at one entry, {[int(i) for i in places[0]]}"
    for axis, length in enumerate(shape):
        found = np.unique(places[:, axis])
        if length > 1 and len(found) == 1 and (len(inside) == 0 or length > 1) and len(e.at) > length:
            last = found[0] == length - 1
            end = " (the last one)" if last else " (the first one)" if found[0] == 0 else ""
            if not (inside[:, axis] == found[0]).any() or len(places) >= 3:
                ending = ": is a remainder left out?" if last and axis == len(shape) - 1 else ""
                return f"at index {found[0]}{end} of axis {axis}{ending}"
    for axes in ((1, 2), (2, 3), (0, 1), (0,), (1,)):
        if max(axes) >= len(shape) or min(shape[k] for k in axes) < 3:
            continue
        for width in (1, 2):
            border = _border(e.places, shape, axes, width)
            if (border | ~chosen).all() and (~border).sum() >= 2 and chosen[border].mean() > 0.2:
                return (
                    f"at the border (axes {', '.join(map(str, axes))}): the padding of a convolution or pool?"
                )
    x = e.array.ravel()[e.at]
    for words, side in ((f"where {e.name} is below 0", x < 0), (f"where {e.name} is above 0", x > 0)):
        if (side == chosen).all():
            return words
    for axis, length in enumerate(shape):
        found = np.unique(places[:, axis])
        others = np.unique(inside[:, axis])
        if length > 2 and len(found) < length and not set(found) & set(others):
            if found[0] > 0 and found[-1] == length - 1 and len(found) == length - found[0]:
                return f"from index {found[0]} of axis {axis} on: is a remainder left out?"
            if found[0] == 0 and found[-1] == len(found) - 1 and len(found) <= length / 2:
                return f"up to index {found[-1]} of axis {axis}"
    return ""


def _border(places: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...], width: int) -> np.ndarray:
    near = [(places[:, k] < width) | (places[:, k] >= shape[k] - width) for k in axes]
    return np.logical_or.reduce(near)


def _some(indices: np.ndarray) -> str:
    words = [str(int(i)) for i in indices[:4]]
    return ", ".join(words) + (", ..." if len(indices) > 4 else "")
