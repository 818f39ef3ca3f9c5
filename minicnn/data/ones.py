"""Ones as many people write them: with a flag at the top, often with a foot.

MNIST's ones are mostly bare strokes, so a network that learned from them reads a flag as the bar of a 7.
Here some of them get a flag, and half of these a foot, drawn as wide as their own stroke.
"""

from __future__ import annotations

import math

import numpy as np

STREAM = 2  # third number of the seed: keeps these draws independent of those of batches and distortions
FLAG = 0.2, 0.5  # its length, as a fraction of the height of the one
ANGLE = math.radians(30), math.radians(55)  # between flag and stroke
STEEPEST = math.radians(65)  # of the flag, from upright: beyond it lies the bar of a 7
FOOT = 0.15, 0.35  # how far it reaches to either side, as a fraction of the height
INK = 128  # the least grey that belongs to the stroke
LOWEST, WIDEST = 12, 5.0  # pixels: what is lower, or wider, is no plain stroke
SLANT = math.radians(20)  # what leans more, to either side, is left as it is


def add_flags(
    images: np.ndarray, labels: np.ndarray, share: float, seed: int, step: int, rows: slice = slice(None)
) -> None:
    """Draw a flag on about `share` of the ones among uint8 images [N, H, W], in place.

    What is drawn depends on the labels of the batch, the seed and the step alone; `rows` says which images
    of it these are.
    """
    rng = np.random.default_rng([seed, step, STREAM])
    first, last, _ = rows.indices(len(labels))
    for index in np.flatnonzero((labels == 1) & (rng.random(len(labels)) < share)):
        numbers = rng.random(5)
        if first <= index < last:
            images[index - first] = flagged(images[index - first], *numbers)


def flagged(
    image: np.ndarray, length: float, angle: float, foot: float, left: float, right: float
) -> np.ndarray:
    """A one, uint8 [H, W], with a flag, and with a foot if `foot` is below one half.

    The numbers from 0 to 1 choose the length of the flag, its angle, and how far the foot reaches.
    """
    stroke = image >= INK
    rows = np.flatnonzero(stroke.any(axis=1))
    if len(rows) < LOWEST:
        return image
    width = float(np.median(stroke[rows].sum(axis=1)))
    if width > WIDEST:
        return image
    top, bottom = _middle(stroke, rows[0]), _middle(stroke, rows[-1])
    axis = bottom - top
    height, lean = math.hypot(*axis), math.atan2(-axis[1], axis[0])
    if abs(lean) > SLANT:
        return image
    from_upright = min(lean + between(ANGLE, angle), STEEPEST)
    reach = between(FLAG, length) * height
    tip = top + reach * np.array([math.cos(from_upright), -math.sin(from_upright)])
    y = np.maximum(image, _segment(image.shape, top, tip, width))
    if foot < 0.5:
        left_end = bottom - height * np.array([0, between(FOOT, left)])
        right_end = bottom + height * np.array([0, between(FOOT, right)])
        y = np.maximum(y, _segment(image.shape, left_end, right_end, width))
    return y


def between(limits: tuple[float, float], part: float) -> float:
    """The number that lies `part` of the way from one limit to the other."""
    return limits[0] + part * (limits[1] - limits[0])


def _middle(stroke: np.ndarray, row: int) -> np.ndarray:
    return np.array([row, np.flatnonzero(stroke[row]).mean()])


def _segment(shape: tuple[int, ...], start: np.ndarray, end: np.ndarray, width: float) -> np.ndarray:
    """A line with round ends: uint8 [H, W], points as (row, column)."""
    rows, columns = np.arange(shape[0])[:, None] - start[0], np.arange(shape[1]) - start[1]
    along = end - start
    t = np.clip((rows * along[0] + columns * along[1]) / max(float(along @ along), 1e-9), 0, 1)
    distances = np.hypot(rows - t * along[0], columns - t * along[1])
    return (255 * np.clip((width + 1) / 2 - distances, 0, 1)).astype(np.uint8)
