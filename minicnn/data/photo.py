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
from minicnn.data.ink import ink_of
from minicnn.data.pieces import STRONG, crop
from minicnn.storage.files import PathLike

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, BOX, MIDDLE = 28, 20, 14
FINE = 160  # pixels of the longest side while the stroke width is corrected

# The stroke width in pixels of the box of 20: 98 % of MNIST's digits lie between these two. A width
# outside is corrected to the nearer of two usual ones.
THINNEST, THICKEST = 1.8, 4.4
THIN, THICK = 2.2, 3.6


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
    ink = ink_of(grey)
    if ink is None:
        raise ImageError(f"{name}: the image is blank, or shows nothing but noise")
    digit, image = preprocess_ink(ink)
    return Preprocessed(grey, ink, digit, image)


def preprocess_ink(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last two stages alone, from known ink: [rows, columns], 0 paper to 1 ink -> digit, image.

    What touches the edge may be dropped, as on a photograph. Raises ImageError if there is no ink.
    """
    if not (ink > STRONG).any():
        raise ImageError("ink: the image is blank")
    digit = _correct_stroke_width(crop(ink))
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


# --- digit: the width of its strokes ---


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
