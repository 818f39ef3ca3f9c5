"""How much ink is in each pixel of a photograph: what differs from the paper, which may be lit unevenly.

The paper is a quadratic surface, fitted to the pixels close to it. Glare is brighter than that surface, and
is taken off first. Around the paper there may be a table, and along the edges something else.
"""

from __future__ import annotations

import numpy as np

from minicnn.data.image_file import resized
from minicnn.data.pieces import CELLS, SPECK, Pieces, find_pieces, grown, on_grid

GLARE = 4  # cells: half the width of a stroke that glare may cross
SHEET = 0.15  # of the image: the smallest sheet on a table
SOLID = 0.7  # of a sheet: what is not written on
STRAIGHT = 0.9  # of a sheet and the quadrilateral of its corners: what they have in common
FAINTEST = 8 / 255  # the lowest contrast that counts as ink
UNSURE = 0.1  # of the contrast: with more noise, what was found is hardly paper
NO_PAPER = 0.25  # the contrast from which an image may be ink up to its edges
CLEAR = 0.8  # of two levels of grey: the share of the variance that lies between them
NOISY = 0.8  # of two levels of grey: as many borders as in noise are 1


def ink_of(grey: np.ndarray) -> np.ndarray | None:
    """The amount of ink in each pixel of lightness [rows, columns], 0 to 1; None if there is none."""
    ink = _differing(grey)
    if ink is None:
        return _two_levels(grey)
    return _without_desk(grey, ink)


def _differing(grey: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray | None:
    """The ink that differs from a paper; None if there is none. `ignored` pixels are no part of the paper."""
    difference, noise = _without_paper(grey, ignored)
    if noise > UNSURE * np.ptp(grey) and (ink := _two_levels(grey)) is not None:
        return ink
    if ignored is not None:
        difference = np.where(ignored, 0, difference)
    # Ink differs most from the paper, and has edges; light and shadow have none. Cubes give a few large
    # differences more weight than many small ones.
    edges = np.hypot(*np.gradient(difference)) if min(difference.shape) > 1 else 1.0
    if (difference**3 * edges**2).sum() < 0:
        difference = -difference
    difference = difference + np.maximum(_glare(difference) - 4 * noise, 0)
    least = max(4 * noise, FAINTEST)
    some = difference[difference > least]
    if some.size == 0:
        return None
    full = float(np.median(some[some >= otsu(some)]))  # the difference at full ink
    low = max(least, 0.2 * full)  # below: paper, shadow, noise
    if max(grey.shape) <= CELLS:  # strokes may be thinner than a pixel, and so as faint as they are thin
        low = max(least, 0.1 * full)
        full = np.clip(_largest(difference), 0.35 * full, full)
    return np.clip((difference - low) / (full - low), 0, 1).astype(np.float32)


def _without_paper(grey: np.ndarray, ignored: np.ndarray | None) -> tuple[np.ndarray, float]:
    """The difference of each pixel from the paper behind it, and the noise of the paper.

    The paper is sought along the edges, where there is rarely ink; if it is not found there, everywhere.
    """
    H, W = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, H), np.linspace(-1, 1, W), indexing="ij")
    surface = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    every = max(1, max(H, W) // 160)  # a sample is enough
    terms, values = surface[::every, ::every].reshape(-1, 6), grey[::every, ::every].ravel()
    edge = (np.maximum(abs(terms[:, 1]), abs(terms[:, 2])) > 0.8).ravel()
    if ignored is not None:
        there = ~ignored[::every, ::every].ravel()
        terms, values, edge = terms[there], values[there], edge[there]
    everywhere = np.ones_like(edge)
    if edge.sum() < 0.1 * edge.size:
        edge = everywhere
    weights, noise = _paper(terms, values, edge)
    if noise > UNSURE * np.ptp(values):
        weights, noise = min(
            ((weights, noise), _paper(terms, values, everywhere)), key=lambda found: found[1]
        )
    return grey - surface @ weights, noise


def _paper(terms: np.ndarray, values: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, float]:
    """The weights of the terms [n, 6] for a surface close to most values [n], and the noise around it.

    It is fitted to values close to it, to begin with only to the `first`, bool [n].
    """
    weights = np.zeros(6)
    weights[0] = np.median(values[first])
    noise = 1.0
    for among in (first, first, first, first, np.ones_like(first), np.ones_like(first)):
        rest = values - terms @ weights
        if among is first:
            noise = 1.48 * float(np.median(abs(rest[first]))) + 1 / 255
        near = among & (abs(rest) < 3 * noise)
        weights = np.linalg.lstsq(terms[near], values[near], rcond=None)[0]
    return weights, min(noise, 1.48 * float(np.median(abs(values - terms @ weights))) + 1 / 255)


def _glare(difference: np.ndarray) -> np.ndarray:
    """How far the paper lies on the other side than ink, as where a lamp is reflected: from 0, smooth.

    The differences are of ink, that is, positive; strokes across the glare are bridged.
    """
    cells, cell = on_grid(-difference, np.mean)
    beyond = np.maximum(-_largest(-_largest(cells)), 0)
    H, W = difference.shape
    return resized(beyond, (cell * beyond.shape[0], cell * beyond.shape[1]))[:H, :W]


def _largest(cells: np.ndarray) -> np.ndarray:
    """The largest of the values in the cells around each."""
    for axis in (0, 1):
        padded = np.pad(cells, [(GLARE, GLARE) if axis == k else (0, 0) for k in (0, 1)], "edge")
        cells = np.lib.stride_tricks.sliding_window_view(padded, 2 * GLARE + 1, axis).max(axis=-1)
    return cells


def _without_desk(grey: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """The ink without the surroundings of the paper, which would hide a faint pencil.

    Either the paper lies in the middle of the image and was itself mistaken for ink, or something else
    is visible along an edge.
    """
    pieces = find_pieces(ink)
    around = _around_page(pieces)
    if around is not None:
        page = _differing(grey, pieces.on_pixels(around, (grey.shape[0], grey.shape[1])))
        if page is not None and page.mean() < 0.3:
            return page

    rim = pieces.on_rim()
    along = np.bincount(rim, minlength=len(pieces.masses)) > 0.2 * len(rim)
    along[0] = False
    inside = np.setdiff1d(np.arange(1, len(pieces.masses)), rim)
    if not along.any() or all(pieces.span(piece).max() < SPECK for piece in inside):
        return ink
    rest = _differing(grey, pieces.mask(along, ink.shape))
    return ink if rest is None else rest


def _around_page(pieces: Pieces) -> np.ndarray | None:
    """The cells around a sheet of paper that was mistaken for the ink; None if there is no sheet.

    A sheet is the largest piece, without what is written on it, and fills the quadrilateral of its corners.
    """
    page = pieces.numbers == np.bincount(pieces.numbers[pieces.numbers > 0]).argmax()
    outside = _reached(~page)
    if page.mean() < SHEET or page.sum() < SOLID * (~outside).sum():
        return None
    places = np.argwhere(page)
    corners = [places[np.argmax(places @ towards)] for towards in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
    rows, columns = np.indices(page.shape)
    inside = np.ones(page.shape, bool)
    for (i, j), (k, m) in zip(corners, corners[1:] + corners[:1], strict=True):  # on the right of each side
        inside &= (columns - j) * (k - i) <= (rows - i) * (m - j)
    common = (inside & ~outside).sum() / (inside | ~outside).sum()
    return grown(grown(outside)) if common > STRAIGHT else None


def _reached(free: np.ndarray) -> np.ndarray:
    """The free cells that are reached from the edges through free cells, up, down, left and right."""
    reached = np.pad(np.zeros(free.shape, bool), 1, constant_values=True)
    free = np.pad(free, 1, constant_values=True)
    while True:
        wider = reached.copy()
        wider[1:] |= reached[:-1]
        wider[:-1] |= reached[1:]
        wider[:, 1:] |= reached[:, :-1]
        wider[:, :-1] |= reached[:, 1:]
        wider &= free
        if (wider == reached).all():
            return reached[1:-1, 1:-1]
        reached = wider


def _two_levels(grey: np.ndarray) -> np.ndarray | None:
    """The ink of an image without a margin of paper: the rarer of two levels of grey.

    Where they are about as frequent, the corners are paper if all of them are alike.

    None if they are less than `NO_PAPER` apart, or not clearly two, or spread as in noise.
    """
    threshold = otsu(grey)
    light = grey >= threshold
    share = float(light.mean())
    if not 0 < share < 1:
        return None
    high, low = float(grey[light].mean()), float(grey[~light].mean())
    between = share * (1 - share) * (high - low) ** 2
    if high - low < NO_PAPER or between < CLEAR * float(grey.var()):
        return None
    changes = [np.mean(np.diff(light, axis=axis)) for axis in (0, 1) if light.shape[axis] > 1]
    if np.mean(changes) > NOISY * 2 * share * (1 - share):
        return None
    part = np.clip((grey - low) / (high - low), 0, 1)
    corners = light[[0, 0, -1, -1], [0, -1, 0, -1]]
    even = abs(share - 0.5) < 0.1 and corners.any() == corners.all()
    on_light = corners.all() if even else share > 0.5
    return (1 - part if on_light else part).astype(np.float32)


def otsu(values: np.ndarray) -> float:
    """The threshold that minimises the variance within the two classes that it separates.

    Source: Otsu: A Threshold Selection Method from Gray-Level Histograms (1979).
    """
    if np.ptp(values) < 1e-3:
        return float(values.min())
    counts, edges = np.histogram(values, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    # Edges are rounded: without the limit, none of almost equal values might reach the threshold.
    return min(float(edges[1 + np.nanargmax(between[:-1])]), float(values.max()))
