"""Turns a photograph or drawing of one digit into 28 x 28 pixels, preprocessed as MNIST was.

    grey     upright, colours and transparency reduced to lightness, at most 640 pixels a side
    ink      what differs from the paper, which may be lit unevenly; dark on light or light on dark
    digit    the strokes alone: cropped, without specks and objects at the edge, stroke width corrected
    image    longest side 20 pixels, centre of mass in the middle of 28 x 28

MNIST's digits were scaled to a box of 20 x 20 and moved by whole pixels until their centre of mass
lay in the middle (LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document
Recognition, 1998, section III). All of them have a longest side of exactly 20 pixels and a centre of
mass within half a pixel of (14, 14), and a network trained on them expects the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minicnn.data.image_file import ImageError, lightness_of, pixels_of, resized
from minicnn.storage.files import PathLike

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, BOX, MIDDLE = 28, 20, 14
FINE = 160  # pixels of the longest side while the stroke width is corrected

# The stroke width in pixels of the box of 20: 98 % of MNIST's digits lie between these two. A width
# outside is corrected to the nearer of two usual ones.
THINNEST, THICKEST = 1.8, 4.4
THIN, THICK = 2.2, 3.6

SPECK = 5  # cells of the 64 x 64 grid: anything smaller is not a digit if there is something larger

FAINTEST = 8 / 255  # the lowest contrast that counts as ink


@dataclass(frozen=True)
class Preprocessed:
    """The stages of preprocessing, from the photograph to the network's input. All are [rows, columns]."""

    grey: np.ndarray  # float32, 0 black to 1 white
    ink: np.ndarray  # float32, 0 paper to 1 ink
    digit: np.ndarray  # float32, 0 paper to 1 ink: the strokes, cropped
    image: np.ndarray  # uint8 [28, 28], 0 paper to 255 ink (of `as_is`, [H, W] or [H, W, 3]): the input


def preprocess(source: PathLike | Image) -> Preprocessed:
    """Preprocess an image file in a format that cameras and browsers write, or a Pillow image, as MNIST was.

    Raises ImageError if the file cannot be read, the image is too large, or it is blank.
    """
    name, grey = lightness_of(source)
    ink = _ink(grey)
    if ink is None:
        raise ImageError(f"{name}: the image is blank, or shows nothing but noise")
    ink = _without_desk(grey, ink)
    digit, image = preprocess_ink(ink)
    return Preprocessed(grey, ink, digit, image)


def preprocess_ink(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last two stages alone, from known ink: [rows, columns], 0 paper to 1 ink -> digit, image.

    What touches the edge may be dropped, as on a photograph. Raises ImageError if there is no ink.
    """
    if not (ink > 0.5).any():
        raise ImageError("ink: the image is blank")
    digit = _correct_stroke_width(_crop(ink))
    return digit, _like_mnist(digit)


def as_is(source: PathLike | Image, shape: tuple[int, int, int] = (SIDE, SIDE, 1)) -> Preprocessed:
    """Only scale an image, light on dark or in colour, to H x W; all stages show the same.

    For networks trained on something other than digits. Raises ImageError like `preprocess`.
    """
    H, W, C = shape
    if C == 3:
        pixels = pixels_of(source)
        channels = [resized(pixels[..., c].astype(np.float32) / 255, (H, W)) for c in range(C)]
        image = np.rint(255 * np.stack(channels, axis=2)).astype(np.uint8)
        grey = pixels.mean(axis=2, dtype=np.float32) / 255
        return Preprocessed(grey, grey, grey, image)
    _, grey = lightness_of(source)
    image = np.rint(255 * resized(grey, (H, W))).astype(np.uint8)
    return Preprocessed(grey, grey, grey, image)


# --- ink: everything that is not paper ---


def _ink(grey: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray | None:
    """The amount of ink in each pixel, 0 to 1; None if there is no ink. `ignored` pixels count as paper."""
    difference, noise = _without_paper(grey)
    if ignored is not None:
        difference = np.where(ignored, 0, difference)
    # Ink differs most from the paper. Cubes give a few large differences more weight than many small ones.
    if (difference**3).sum() < 0:
        difference = -difference
    least = max(4 * noise, FAINTEST)
    some = difference[difference > least]
    if some.size == 0:
        return None
    full = float(np.median(some[some >= _otsu(some)]))  # the difference at full ink
    low = max(least, 0.2 * full)  # below: paper, shadow, noise
    return np.clip((difference - low) / (full - low), 0, 1).astype(np.float32)


def _without_paper(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """The difference of each pixel from the paper behind it, and the noise of the paper.

    The lightness of the paper is modelled as a quadratic surface, fitted to the pixels close to it: first
    only along the edges, where there is rarely ink, then everywhere.
    """
    H, W = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, H), np.linspace(-1, 1, W), indexing="ij")
    surface = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    every = max(1, max(H, W) // 160)  # a sample is enough
    terms, values = surface[::every, ::every].reshape(-1, 6), grey[::every, ::every].ravel()
    edge = (np.maximum(abs(terms[:, 1]), abs(terms[:, 2])) > 0.8).ravel()

    weights = np.zeros(6)
    weights[0] = np.median(values[edge])
    noise = 1.0
    for among in (edge, edge, edge, edge, np.ones_like(edge), np.ones_like(edge)):
        rest = values - terms @ weights
        if among is edge:
            noise = 1.48 * float(np.median(abs(rest[edge]))) + 1 / 255
        near = among & (abs(rest) < 3 * noise)
        weights = np.linalg.lstsq(terms[near], values[near], rcond=None)[0]
    return grey - surface @ weights, noise


def _without_desk(grey: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """The ink without the surroundings of the paper, which would hide a faint pencil.

    Either the paper lies in the middle of the image and was itself mistaken for ink, or something else
    is visible along an edge.
    """
    pieces, masses, cell = _pieces(ink)
    places = [np.argwhere(pieces == piece) for piece in range(1, len(masses))]
    spans = [np.ptp(place, axis=0) + 1 for place in places]
    largest = int(np.argmax([len(place) for place in places]))
    if len(places[largest]) > 0.75 * np.prod(spans[largest]) > 0.15 * pieces.size:
        (top, left), (bottom, right) = places[largest].min(axis=0), places[largest].max(axis=0) + 1
        border = 1 + spans[largest] // 16
        rows = slice(cell * (top + border[0]), cell * (bottom - border[0]))
        columns = slice(cell * (left + border[1]), cell * (right - border[1]))
        page = _ink(grey[rows, columns])
        if page is not None and page.mean() < 0.3:
            return page

    rim = _rim(pieces)
    along = np.bincount(rim, minlength=len(masses)) > 0.2 * len(rim)
    along[0] = False
    inside = np.setdiff1d(np.arange(1, len(masses)), rim)
    if not along.any() or all(spans[piece - 1].max() < SPECK for piece in inside):
        return ink
    ignored = np.kron(_grown(along[pieces]), np.ones((cell, cell), bool))[: ink.shape[0], : ink.shape[1]]
    rest = _ink(grey, ignored)
    return ink if rest is None else rest


def _otsu(values: np.ndarray) -> float:
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


# --- digit: the strokes alone ---


def _crop(ink: np.ndarray) -> np.ndarray:
    """The bounding box of the strokes, with everything else removed."""
    H, W = ink.shape
    pieces, masses, cell = _pieces(ink)
    # What touches the edge is a shadow or a neighbouring object, unless there is little else.
    inside = masses.copy()
    inside[_rim(pieces)] = 0
    if inside.max() > 0.1 * masses.max():
        masses = inside
    kept = np.isin(pieces, np.flatnonzero(masses > 0.1 * masses.max()))  # the rest are specks
    strokes = ink * np.kron(_grown(kept), np.ones((cell, cell)))[:H, :W]

    rows = np.flatnonzero((strokes > 0.25).any(axis=1))
    columns = np.flatnonzero((strokes > 0.25).any(axis=0))
    return strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def _pieces(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The connected components of the ink on a grid of at most 64 x 64 cells, which bridges small gaps.

    Returns the number of the component in each cell, from 1 (0 is paper), the ink of each component by
    its number, and the side of a cell in pixels.
    """
    H, W = ink.shape
    cell = -(-max(H, W) // 64)
    padded = np.pad(ink, ((0, -H % cell), (0, -W % cell)))
    grid = padded.reshape(padded.shape[0] // cell, cell, -1, cell)
    inked = grid.max(axis=(1, 3)) > 0.5
    pieces = np.zeros(inked.shape, np.int64)
    piece = 0
    for start in zip(*np.nonzero(inked), strict=True):
        if pieces[start]:
            continue
        piece += 1
        pieces[start] = piece
        waiting = [start]
        while waiting:
            i, j = waiting.pop()
            around = slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2)
            for di, dj in np.argwhere(inked[around] & (pieces[around] == 0)):
                neighbour = around[0].start + di, around[1].start + dj
                pieces[neighbour] = piece
                waiting.append(neighbour)
    masses = np.bincount(pieces.ravel(), grid.sum(axis=(1, 3)).ravel(), minlength=piece + 1)
    masses[0] = 0
    return pieces, masses, cell


def _rim(pieces: np.ndarray) -> np.ndarray:
    """The component numbers in the cells along the edges."""
    return np.concatenate([pieces[0], pieces[-1], pieces[1:-1, 0], pieces[1:-1, -1]])


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask, grown by one cell: soft edges extend beyond the borders of cells."""
    padded = np.pad(mask, 1)
    H, W = mask.shape
    return np.any([padded[i : i + H, j : j + W] for i in range(3) for j in range(3)], axis=0)


def _correct_stroke_width(digit: np.ndarray) -> np.ndarray:
    """The digit with strokes as wide as MNIST's, if they are much thinner or thicker."""
    H, W = digit.shape
    scale = FINE / max(H, W)
    fine = resized(digit, (max(1, round(scale * H)), max(1, round(scale * W))))
    fine = fine / fine.max()
    width = _stroke_width(fine)
    if THINNEST <= width * BOX / FINE <= THICKEST:
        return digit
    wanted = THIN if width * BOX / FINE < THINNEST else THICK
    # Dilation by a radius r makes both the strokes and the box wider by 2 r:
    # (width + 2 r) / (FINE + 2 r) = wanted / BOX. A negative r means erosion.
    radius = (wanted * FINE - BOX * width) / (2 * (BOX - wanted))
    if radius > 0:
        corrected = _dilated(np.pad(fine, int(radius) + 1), radius)
    else:
        corrected = 1 - _dilated(1 - np.pad(fine, 1), -radius)
    if corrected.max() < 0.5:  # erosion would leave nothing
        return digit
    rows, columns = (np.flatnonzero(corrected.max(axis=axis) > 0.25) for axis in (1, 0))
    return corrected[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _stroke_width(digit: np.ndarray) -> float:
    """The mean stroke width in pixels: twice the area divided by the length of the edges."""
    padded = np.pad(digit, 2)
    dy, dx = np.gradient(padded)
    return 2 * float(padded.sum()) / float(np.hypot(dx, dy).sum())


def _dilated(values: np.ndarray, radius: float) -> np.ndarray:
    """Each pixel becomes the maximum within the radius; there is only paper beyond the borders."""
    reach = int(radius)
    H, W = values.shape
    padded = np.pad(values, reach)
    result = values.copy()
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            if i * i + j * j <= radius * radius:
                window = padded[reach + i : reach + i + H, reach + j : reach + j + W]
                np.maximum(result, window, out=result)
    return result


# --- image: like MNIST's ---


def _like_mnist(digit: np.ndarray) -> np.ndarray:
    """Longest side 20, centre of mass in the middle of 28 x 28, full ink 255."""
    H, W = digit.shape
    scale = BOX / max(H, W)
    small = resized(digit, (max(1, round(scale * H)), max(1, round(scale * W))))
    small = small / small.max()
    image = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (_place(small.sum(axis=axis)) for axis in (1, 0))
    image[top : top + small.shape[0], left : left + small.shape[1]] = np.rint(255 * small)
    return image


def _place(profile: np.ndarray) -> int:
    """The first row (or column) of the ink that puts its centre of mass in the middle."""
    centre = float(profile @ np.arange(len(profile))) / float(profile.sum())
    return min(max(round(MIDDLE - centre), 0), SIDE - len(profile))
