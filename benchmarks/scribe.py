"""Digits as ink: written by a pen along a skeleton, or MNIST's own at a higher resolution.

A skeleton is one or more strokes, each a list of points [x, y] in a box of height 1, y downwards. A hand
bends and slants it, a pen of a certain width presses more or less, and the tip leaves a round mark. A digit
of MNIST is enlarged and smoothed, and its strokes are made wider for a thick pen. Both give a mask
[rows, columns] from 0, paper, to 1, ink, that ends where the ink ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

Stroke = list[tuple[float, float]]

# The first character of a name is the digit. A point that is written twice is a corner.
SKELETONS: dict[str, list[Stroke]] = {
    "0": [[(0.38, 0.0), (0.12, 0.16), (0.02, 0.52), (0.16, 0.92), (0.4, 1.0), (0.62, 0.8), (0.66, 0.4),
           (0.54, 0.08), (0.36, 0.01)]],
    "0 with a loop": [[(0.5, 0.06), (0.26, 0.0), (0.06, 0.25), (0.04, 0.7), (0.26, 1.0), (0.54, 0.84),
                       (0.62, 0.4), (0.5, 0.04), (0.32, 0.12), (0.44, 0.2)]],
    "1": [[(0.2, 0.0), (0.17, 0.5), (0.15, 1.0)]],
    "1 with a flag": [[(0.0, 0.3), (0.16, 0.14), (0.3, 0.0), (0.3, 0.0), (0.29, 0.5), (0.27, 1.0)]],
    "1 with flag and foot": [[(0.02, 0.26), (0.16, 0.12), (0.3, 0.0), (0.3, 0.0), (0.3, 0.5), (0.29, 1.0)],
                             [(0.04, 1.0), (0.3, 0.99), (0.56, 1.0)]],
    "2": [[(0.06, 0.2), (0.24, 0.02), (0.48, 0.04), (0.58, 0.24), (0.44, 0.54), (0.2, 0.8), (0.0, 1.0),
           (0.0, 1.0), (0.3, 0.98), (0.64, 1.0)]],
    "2 with a loop": [[(0.04, 0.2), (0.24, 0.0), (0.52, 0.1), (0.5, 0.4), (0.24, 0.82), (0.06, 0.96),
                       (0.04, 0.8), (0.2, 0.8), (0.4, 0.96), (0.66, 0.94)]],
    "3": [[(0.06, 0.1), (0.3, 0.0), (0.54, 0.12), (0.48, 0.36), (0.22, 0.46), (0.22, 0.46), (0.54, 0.58),
           (0.58, 0.84), (0.32, 1.0), (0.0, 0.9)]],
    "3 with a flat top": [[(0.04, 0.02), (0.3, 0.02), (0.56, 0.0), (0.56, 0.0), (0.24, 0.4), (0.24, 0.4),
                           (0.54, 0.52), (0.56, 0.84), (0.3, 1.0), (0.02, 0.9)]],
    "4": [[(0.2, 0.0), (0.12, 0.3), (0.02, 0.58), (0.02, 0.58), (0.32, 0.56), (0.66, 0.54)],
          [(0.5, 0.18), (0.46, 0.6), (0.44, 1.0)]],
    "4 closed": [[(0.66, 0.66), (0.3, 0.67), (0.0, 0.68), (0.0, 0.68), (0.24, 0.34), (0.5, 0.0), (0.5, 0.0),
                  (0.49, 0.5), (0.48, 1.0)]],
    "5": [[(0.6, 0.0), (0.36, 0.02), (0.12, 0.02), (0.12, 0.02), (0.1, 0.22), (0.08, 0.42), (0.08, 0.42),
           (0.32, 0.36), (0.56, 0.54), (0.54, 0.84), (0.28, 1.0), (0.0, 0.92)]],
    "5 in two strokes": [[(0.12, 0.04), (0.1, 0.24), (0.06, 0.44), (0.06, 0.44), (0.36, 0.4), (0.56, 0.62),
                          (0.46, 0.92), (0.2, 1.0), (0.0, 0.9)], [(0.16, 0.05), (0.4, 0.03), (0.62, 0.0)]],
    "6": [[(0.46, 0.0), (0.2, 0.26), (0.04, 0.6), (0.12, 0.92), (0.34, 1.0), (0.54, 0.82), (0.46, 0.58),
           (0.24, 0.56), (0.07, 0.74)]],
    "6 curled": [[(0.56, 0.1), (0.36, 0.0), (0.1, 0.3), (0.02, 0.7), (0.24, 1.0), (0.52, 0.86), (0.5, 0.6),
                  (0.28, 0.5), (0.06, 0.68)]],
    "7": [[(0.0, 0.03), (0.3, 0.02), (0.6, 0.0), (0.6, 0.0), (0.4, 0.44), (0.24, 1.0)]],
    "7 with a bar": [[(0.0, 0.06), (0.3, 0.04), (0.62, 0.0), (0.62, 0.0), (0.42, 0.44), (0.26, 1.0)],
                     [(0.16, 0.52), (0.38, 0.5), (0.6, 0.47)]],
    "7 with a serif": [[(0.02, 0.18), (0.03, 0.04), (0.03, 0.04), (0.3, 0.04), (0.6, 0.0), (0.6, 0.0),
                        (0.36, 0.48), (0.24, 1.0)], [(0.14, 0.54), (0.34, 0.52), (0.54, 0.49)]],
    "8": [[(0.5, 0.14), (0.3, 0.0), (0.1, 0.14), (0.22, 0.4), (0.46, 0.6), (0.5, 0.86), (0.28, 1.0),
           (0.04, 0.86), (0.14, 0.6), (0.42, 0.36), (0.51, 0.16)]],
    "8 of two rings": [[(0.3, 0.46), (0.1, 0.3), (0.14, 0.06), (0.38, 0.0), (0.52, 0.2), (0.3, 0.46),
                        (0.3, 0.46), (0.04, 0.64), (0.08, 0.94), (0.34, 1.0), (0.56, 0.8), (0.3, 0.46)]],
    "9": [[(0.52, 0.16), (0.3, 0.0), (0.06, 0.18), (0.12, 0.44), (0.36, 0.46), (0.53, 0.18), (0.53, 0.18),
           (0.5, 0.56), (0.42, 1.0)]],
    "9 with a curled tail": [[(0.54, 0.2), (0.32, 0.0), (0.08, 0.16), (0.1, 0.42), (0.34, 0.5), (0.55, 0.22),
                              (0.55, 0.22), (0.56, 0.62), (0.4, 0.96), (0.06, 0.94)]],
}  # fmt: skip


class Digit(NamedTuple):
    """What is to be written: the digit, how it looks, and either a skeleton or an image of MNIST [28, 28]."""

    label: int
    style: str
    image: np.ndarray | None = None


def choose(rng: np.random.Generator, images: np.ndarray, labels: np.ndarray) -> Digit:
    """One of the skeletons, or, two times in five, one of MNIST's images."""
    if rng.random() < 0.4:
        index = int(rng.integers(len(images)))
        return Digit(int(labels[index]), "MNIST's", images[index])
    label = int(rng.integers(10))
    style = str(rng.choice([name for name in SKELETONS if name[0] == str(label)]))
    return Digit(label, style)


def written(digit: Digit, rng: np.random.Generator, height: float, pen: float) -> np.ndarray:
    """The digit in ink: about `height` pixels high, the pen about `pen` of that wide."""
    if digit.image is not None:
        return _enlarged(digit.image, rng, height, pen)
    return _drawn(_by_hand(SKELETONS[digit.style], rng), rng, height, pen)


def curve(points: np.ndarray, steps: int = 60) -> np.ndarray:
    """A curve through all points [n, 2] (Catmull-Rom), `steps` to each piece; double points are corners."""
    ends = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    basis = np.concatenate(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1
    )
    pieces = [basis @ ends[k : k + 4] / 2 for k in range(len(points) - 1)]
    return np.concatenate([*pieces, points[-1:]])


def _by_hand(strokes: list[Stroke], rng: np.random.Generator) -> list[np.ndarray]:
    """The strokes as a hand writes them today: slanted, turned, stretched, each point a little elsewhere."""
    angle, slant = rng.normal(0, 0.06), rng.normal(0.08, 0.12)
    width = np.exp(rng.normal(0.05, 0.15))
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag([width, 1]) @ np.array([[1, 0], [-slant, 1]]) @ matrix
    bent = []
    for stroke in strokes:
        points = np.array(stroke)
        # Double points stay together, so that corners remain corners.
        double = np.r_[False, (np.diff(points, axis=0) == 0).all(axis=1)]
        moved = rng.normal(0, 0.028, points.shape)
        moved[1:][double[1:]] = moved[:-1][double[1:]]
        bent.append(curve((points + moved + rng.normal(0, 0.012, 2)) @ matrix))
    return bent


def _drawn(strokes: list[np.ndarray], rng: np.random.Generator, height: float, pen: float) -> np.ndarray:
    """The mark of a round tip along the strokes; it is pressed more, and less towards the ends."""
    every = np.concatenate(strokes)
    low, span = every.min(axis=0), max(np.ptp(every[:, 1]), 0.6 * np.ptp(every[:, 0]))
    reach = 0.75 * pen * height + 2
    scale = height * (1 - pen) / span
    size = np.ceil(np.ptp(every, axis=0) * scale + 2 * reach).astype(int) + 1
    mask = np.zeros((size[1], size[0]), np.float32)
    for stroke in strokes:
        path = (stroke - low) * scale + reach
        n = len(path)
        waves = np.interp(np.arange(n), np.linspace(0, n, 7), rng.normal(1, 0.12, 7))
        taper = np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) / 25, 0.6, 1)
        for (x, y), radius in zip(path, pen * height / 2 * np.clip(waves, 0.7, 1.3) * taper, strict=True):
            left, top = int(x - radius - 1), int(y - radius - 1)
            right, bottom = int(x + radius + 2), int(y + radius + 2)
            rows, columns = np.ogrid[top : bottom + 1, left : right + 1]
            mark = np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)
            place = mask[top : bottom + 1, left : right + 1]
            np.maximum(place, mark, out=place)
    return cut(mask)


def _enlarged(image: np.ndarray, rng: np.random.Generator, height: float, pen: float) -> np.ndarray:
    """An image of MNIST with smooth edges; its strokes, about 0.15 of its height, as wide as a wider pen."""
    inked = np.pad(cut(image / np.float32(255)), 2)
    scale = height / (max(inked.shape) - 4)
    size = [round(scale * side) for side in inked.shape[::-1]]
    fine = Image.fromarray(np.rint(255 * inked).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    blurred = np.asarray(fine.filter(ImageFilter.GaussianBlur(0.02 * height)), np.float32) / 255
    mask = np.clip((blurred - rng.uniform(0.35, 0.5)) * scale / 2 + 0.5, 0, 1)
    wider = round((pen - 0.15) * height / 2)
    if wider > 0:
        grey = Image.fromarray(np.rint(255 * np.pad(mask, wider + 2)).astype(np.uint8))
        grey = grey.filter(ImageFilter.MaxFilter(2 * wider + 1)).filter(ImageFilter.GaussianBlur(wider / 2))
        mask = np.asarray(grey, np.float32) / 255
    return cut(mask.astype(np.float32))


def cut(mask: np.ndarray) -> np.ndarray:
    """The mask without the empty rows and columns around the ink."""
    rows, columns = np.flatnonzero(mask.max(axis=1) > 0.1), np.flatnonzero(mask.max(axis=0) > 0.1)
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
