"""Digits on paper, boards, forms and screens, as cameras and scanners see them, from a seed.

Each function of `KINDS` makes one image, and the mask of its digit alone, as if it were cut out.

    page      [rows, columns, 3], 0 black to 1 white: paper, print and ink
    light     what falls on it: uneven, a shadow, a lamp that is reflected
    camera    perspective, blur, noise, JPEG
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter
from scribe import Digit, choose, curve, written


class Sample(NamedTuple):
    """One image, what it shows, and the ink of the digit alone [rows, columns], 0 to 1."""

    kind: str
    digit: Digit
    image: Image.Image
    mask: np.ndarray


Made = tuple[Image.Image, np.ndarray]
Kind = Callable[[Digit, np.random.Generator], Made]
KINDS: dict[str, Kind] = {}

BLUE, BLACK, RED, GREY = (0.13, 0.19, 0.48), (0.1, 0.1, 0.12), (0.68, 0.14, 0.13), (0.42, 0.42, 0.44)


def samples(seed: int, each: int, images: np.ndarray, labels: np.ndarray) -> Iterator[Sample]:
    """`each` images of every kind. Some show MNIST's own, of `images` [N, 28, 28] with `labels`."""
    for number, (name, kind) in enumerate(KINDS.items()):
        for index in range(each):
            rng = np.random.default_rng([seed, number, index])
            digit = choose(rng, images, labels)
            yield Sample(name, digit, *kind(digit, rng))


def kind(name: str) -> Callable[[Kind], Kind]:
    """Add a function to `KINDS` under a name."""

    def add(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return add


# --- pages ---


def paper(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A sheet, white or yellowish, with a little grain."""
    grain = rng.normal(0, 0.008, (rows, columns, 1))
    return np.clip(rng.uniform(0.85, 0.97) * np.array([1, 0.99, rng.uniform(0.92, 1)]) + grain, 0, 1)


def placed(page: np.ndarray, mask: np.ndarray, top: float, left: float) -> np.ndarray:
    """The mask at its place on the page; what does not fit is cut off."""
    top, left = round(top), round(left)
    whole = np.zeros(page.shape[:2], np.float32)
    room = whole[max(top, 0) : top + mask.shape[0], max(left, 0) : left + mask.shape[1]]
    room[...] = mask[max(-top, 0) :, max(-left, 0) :][: room.shape[0], : room.shape[1]]
    return whole


def write(
    page: np.ndarray, mask: np.ndarray, top: float, left: float, colour: tuple[float, ...], ink: float = 1.0
) -> None:
    """Put a mask on the page, which is changed, in a colour; `ink` is how well it covers."""
    page += ink * placed(page, mask, top, left)[..., None] * (np.array(colour) - page)


def pencil(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask with the grain of the paper in it."""
    return mask * np.clip(rng.normal(0.8, 0.25, mask.shape), 0.2, 1).astype(np.float32)


def in_the_middle(
    digit: Digit, rng: np.random.Generator, page: np.ndarray, height: tuple[float, float],
    pen: tuple[float, float], colour: tuple[float, ...], ink: float = 1.0,
    how: Callable[[np.ndarray, np.random.Generator], np.ndarray] = lambda mask, rng: mask,
) -> np.ndarray:  # fmt: skip
    """Write the digit on the page, `height` of it high; at random somewhere near the middle."""
    H, W = page.shape[:2]
    mask = written(digit, rng, rng.uniform(*height) * min(H, W), rng.uniform(*pen))
    top = (H - mask.shape[0]) / 2 + rng.uniform(-0.1, 0.1) * (H - mask.shape[0])
    left = (W - mask.shape[1]) / 2 + rng.uniform(-0.1, 0.1) * (W - mask.shape[1])
    write(page, how(mask, rng), top, left, colour, ink)
    return placed(page, mask, top, left)


def rule(page: np.ndarray, axis: int, at: float, width: int, colour: tuple[float, ...]) -> None:
    """A printed line across the whole page: along rows (axis 0) or columns."""
    first = round(at)
    band = page[first : first + width] if axis == 0 else page[:, first : first + width]
    band[...] = colour


def stroke(page: np.ndarray, points: np.ndarray, pen: float, colour: tuple[float, ...]) -> None:
    """A line by hand along points [n, 2] of x and y, in pixels."""
    rows, columns = np.mgrid[: page.shape[0], : page.shape[1]]
    nearest = np.full(page.shape[:2], np.inf)
    for x, y in curve(points, 60):
        np.minimum(nearest, np.hypot(rows - y, columns - x), out=nearest)
    write(page, np.clip(pen / 2 + 1 - nearest, 0, 1), 0, 0, colour)


# --- light and camera ---


def waves(rng: np.random.Generator, rows: int, columns: int, grid: int = 3) -> np.ndarray:
    """A smooth field of numbers with mean 0 and deviation about 1, [rows, columns, 1]."""
    few = Image.fromarray(rng.normal(0, 1, (grid, grid)).astype(np.float32))
    return np.asarray(few.resize((columns, rows), Image.Resampling.BICUBIC))[..., None]


def lit(page: np.ndarray, rng: np.random.Generator, strength: float = 0.12) -> np.ndarray:
    """The page under a lamp at some side."""
    y, x = np.mgrid[-1 : 1 : page.shape[0] * 1j, -1 : 1 : page.shape[1] * 1j]
    slope = rng.normal(0, strength, 2)
    light = 1 - strength + slope[0] * x + slope[1] * y
    return page * np.clip(light, 0.25, 1.1)[..., None] * (1 + 0.02 * waves(rng, *page.shape[:2]))


def tilted(page: np.ndarray, rng: np.random.Generator, strength: float, around: float) -> np.ndarray:
    """The page from an angle, on a table of lightness `around`."""
    H, W = page.shape[:2]
    corners = np.array([[0, 0], [W, 0], [W, H], [0, H]], float)
    seen = corners + rng.uniform(0, strength, (4, 2)) * (W, H) * np.where(corners > 0, -1, 1)
    rows = []
    for (x, y), (u, v) in zip(seen, corners, strict=True):  # the plane that takes each corner back
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    plane = np.linalg.solve(np.array(rows), corners.ravel())
    table = tuple(int(255 * around * part) for part in (1, 0.85, 0.7))
    moved = picture(page).transform(
        (W, H), Image.Transform.PERSPECTIVE, list(plane), Image.Resampling.BICUBIC, fillcolor=table
    )
    return np.asarray(moved, np.float64) / 255


def photographed(
    page: np.ndarray, rng: np.random.Generator, blur: float = 1.0, noise: float = 0.015, quality: int = 80
) -> Image.Image:
    """What a camera makes of it, as JPEG."""
    soft = np.asarray(picture(page).filter(ImageFilter.GaussianBlur(blur)), np.float64) / 255
    noisy = soft + rng.normal(0, noise, page.shape) * rng.uniform(0.5, 1, 3)
    file = io.BytesIO()
    picture(noisy).save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def picture(page: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * np.clip(page, 0, 1)).astype(np.uint8))


def pen_of(rng: np.random.Generator) -> tuple[float, ...]:
    colour: tuple[float, ...] = (BLUE, BLACK, RED, BLUE)[rng.integers(4)]
    return colour


# --- the kinds: photographs ---


@kind("photograph, pen on paper")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 480, 400)
    mask = in_the_middle(digit, rng, page, (0.3, 0.7), (0.04, 0.1), pen_of(rng))
    return photographed(lit(page, rng), rng, rng.uniform(0.5, 1.5)), mask


@kind("photograph, low light")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 400, 400)
    mask = in_the_middle(digit, rng, page, (0.4, 0.7), (0.05, 0.1), pen_of(rng))
    dark = lit(page, rng, 0.2) * rng.uniform(0.15, 0.35)
    return photographed(dark, rng, 1.5, rng.uniform(0.015, 0.03), 70), mask


@kind("photograph, shadow of a hand")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 400, 440)
    mask = in_the_middle(digit, rng, page, (0.35, 0.65), (0.05, 0.1), pen_of(rng))
    y, x = np.mgrid[-1:1:400j, -1:1:440j]
    angle = rng.uniform(0, 2 * np.pi)
    edge = np.cos(angle) * x + np.sin(angle) * y - rng.uniform(-0.2, 0.6) + 0.1 * waves(rng, 400, 440)[..., 0]
    shadow = 1 - rng.uniform(0.2, 0.4) / (1 + np.exp(-edge / rng.uniform(0.04, 0.15)))
    return photographed(lit(page, rng) * shadow[..., None], rng), mask


@kind("photograph, from an angle, on a table")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 440, 440)
    mask = in_the_middle(digit, rng, page, (0.3, 0.5), (0.05, 0.1), pen_of(rng))
    seen = tilted(page, rng, 0.22, rng.uniform(0.15, 0.5))
    return photographed(lit(seen, rng), rng), mask


@kind("photograph, blurred, small JPEG")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 160, 160)
    mask = in_the_middle(digit, rng, page, (0.4, 0.7), (0.06, 0.12), pen_of(rng))
    return photographed(lit(page, rng), rng, rng.uniform(1.5, 3), 0.01, int(rng.integers(15, 40))), mask


@kind("squared paper")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page, step = paper(rng, 420, 420), rng.uniform(35, 60)
    colour = (0.62, 0.7, 0.84) if rng.random() < 0.6 else (0.75, 0.72, 0.75)
    for axis in (0, 1):
        for at in np.arange(rng.uniform(0, step), 415, step):
            rule(page, axis, at, int(rng.integers(2, 4)), colour)
    mask = in_the_middle(digit, rng, page, (0.35, 0.7), (0.05, 0.1), pen_of(rng))
    return photographed(lit(page, rng), rng), mask


@kind("lined paper")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page, step = paper(rng, 420, 420), rng.uniform(60, 130)
    for at in np.arange(rng.uniform(0, step), 415, step):
        rule(page, 0, at, int(rng.integers(2, 4)), (0.58, 0.68, 0.85))
    mask = in_the_middle(digit, rng, page, (0.3, 0.65), (0.05, 0.1), pen_of(rng))
    return photographed(tilted(lit(page, rng), rng, 0.04, 0.8), rng), mask


@kind("thick felt pen")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 300, 300)
    mask = in_the_middle(digit, rng, page, (0.6, 0.85), (0.16, 0.26), pen_of(rng), 0.95)
    return photographed(lit(page, rng), rng), mask


@kind("whiteboard with glare")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = np.full((440, 440, 3), rng.uniform(0.62, 0.75))
    mask = in_the_middle(digit, rng, page, (0.35, 0.65), (0.06, 0.12), pen_of(rng), rng.uniform(0.8, 0.95))
    page = lit(page, rng, 0.15)
    y, x = np.mgrid[-1:1:440j, -1:1:440j]
    a, b = rng.uniform(-0.9, 0.9, 2)
    spot = np.exp(-(((x - a) / rng.uniform(0.15, 0.35)) ** 2) - ((y - b) / rng.uniform(0.15, 0.5)) ** 2)
    return photographed(page + rng.uniform(0.25, 0.6) * spot[..., None], rng), mask


@kind("chalk on a blackboard")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = np.array([0.13, 0.22, 0.18]) + 0.02 * waves(rng, 400, 400, 7) + rng.normal(0, 0.015, (400, 400, 1))
    mask = in_the_middle(digit, rng, page, (0.4, 0.7), (0.07, 0.13), (0.92, 0.92, 0.88), 0.9, pencil)
    return photographed(lit(page, rng), rng), mask


# --- scans, screens and data sets ---


@kind("faint pencil, scanned")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 500, 500)
    mask = in_the_middle(digit, rng, page, (0.3, 0.6), (0.03, 0.07), GREY, rng.uniform(0.12, 0.35), pencil)
    return picture(page), mask


@kind("drawn with a mouse")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    light = rng.random() < 0.4
    page = np.full((280, 280, 3), 0.0 if light else 1.0)
    colour = (1.0, 1.0, 1.0) if light else (0.0, 0.0, 0.0)
    mask = in_the_middle(digit, rng, page, (0.5, 0.9), (0.05, 0.16), colour)
    return picture(page), mask


@kind("28 x 28, dark on light")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = np.ones((280, 280, 3))
    mask = in_the_middle(digit, rng, page, (0.55, 0.8), (0.07, 0.16), (0.0, 0.0, 0.0))
    return picture(page).convert("L").resize((28, 28), Image.Resampling.BOX), mask


@kind("28 x 28, faint grey strokes")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = np.ones((280, 280, 3))
    pressed = lambda mask, rng: mask * np.clip(0.65 + 0.3 * waves(rng, *mask.shape)[..., 0], 0.2, 1)  # noqa: E731
    mask = in_the_middle(
        digit, rng, page, (0.55, 0.8), (0.03, 0.07), (0.0, 0.0, 0.0), rng.uniform(0.5, 1), pressed
    )
    return picture(page).convert("L").resize((28, 28), Image.Resampling.BOX), mask


# --- what is around a digit ---


@kind("form cell, whole border")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    H, W = rng.integers(70, 130, 2)
    page = paper(rng, H, W)
    mask = in_the_middle(digit, rng, page, (0.5, 0.75), (0.06, 0.12), pen_of(rng))
    colour, width = (
        ((0.1, 0.1, 0.1), (0.4, 0.4, 0.4), (0.3, 0.35, 0.6))[rng.integers(3)],
        int(rng.integers(1, 5)),
    )
    inset = int(rng.integers(0, 6))
    edge = np.zeros((H, W), bool)
    edge[inset : H - inset, inset : W - inset] = True
    edge[inset + width : H - inset - width, inset + width : W - inset - width] = False
    page[edge] = colour
    return photographed(page, rng, 0.7, 0.01, 85), mask


@kind("form cell, rest of a border")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    H, W = rng.integers(60, 120, 2)
    page = paper(rng, H, W)
    mask = in_the_middle(digit, rng, page, (0.6, 0.85), (0.06, 0.12), pen_of(rng))
    grey = float(rng.choice([0.1, 0.4]))
    for side in rng.permutation(4)[: rng.integers(1, 4)]:
        width = int(rng.integers(1, 6))
        rule(page, side % 2, 0 if side < 2 else (H, W)[side % 2] - width, width, (grey, grey, grey))
    seen = tilted(page, rng, 0.02, grey) if rng.random() < 0.5 else page
    return photographed(seen, rng, 0.7, 0.01, 85), mask


@kind("circle around it")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 320, 320)
    mask = in_the_middle(digit, rng, page, (0.3, 0.45), (0.07, 0.12), colour := pen_of(rng))
    t = np.linspace(0, 2 * np.pi + rng.uniform(-0.1, 0.3), 12)
    radius = rng.uniform(0.36, 0.42) * 320 * (1 + 0.03 * rng.normal(size=12))
    points = 160 + np.stack([radius * np.cos(t), radius * np.sin(t)], 1)
    stroke(page, points, rng.uniform(6, 12), colour)
    return photographed(lit(page, rng), rng), mask


@kind("frame by hand around it")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 320, 320)
    mask = in_the_middle(digit, rng, page, (0.35, 0.55), (0.07, 0.12), colour := pen_of(rng))
    near, far = rng.uniform(20, 45), rng.uniform(275, 300)
    corners = np.array([[near, near], [far, near], [far, far], [near, far]]) + rng.normal(0, 6, (4, 2))
    for k in range(4):
        ends = corners[[k, (k + 1) % 4]]
        points = np.stack([ends[0], ends.mean(axis=0) + rng.normal(0, 2, 2), ends[1]])
        stroke(page, points, rng.uniform(4, 9), colour)
    return photographed(lit(page, rng), rng), mask


@kind("underlined")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 360, 320)
    mask = in_the_middle(digit, rng, page, (0.35, 0.55), (0.07, 0.12), colour := pen_of(rng))
    inked = np.argwhere(mask > 0.3)
    bottom, middle = inked[:, 0].max() + rng.uniform(14, 40), inked[:, 1].mean()
    for k in range(rng.integers(1, 3)):
        x = middle + rng.uniform(0.5, 1.0) * 120 * np.array([-1, 0, 1])
        y = bottom + 16 * k + rng.normal(0, 3, 3)
        stroke(page, np.stack([x, y], 1), rng.uniform(6, 10), colour)
    return photographed(lit(page, rng), rng), mask


def _cropped(page: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Made:
    inked = np.argwhere(mask > 0.3)
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0) + 1
    within = slice(top, bottom), slice(left, right)
    return picture(page[within]), mask[within]


@kind("photograph, cropped to the ink")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = paper(rng, 400, 400)
    mask = in_the_middle(digit, rng, page, (0.2, 0.6), (0.06, 0.16), pen_of(rng))
    seen = np.asarray(photographed(lit(page, rng), rng), np.float64) / 255
    return _cropped(seen, mask, rng)


@kind("drawing, cropped to the ink")
def _(digit: Digit, rng: np.random.Generator) -> Made:
    page = np.ones((300, 300, 3))
    mask = in_the_middle(digit, rng, page, (0.2, 0.8), (0.06, 0.16), (0.0, 0.0, 0.0))
    return _cropped(page, mask, rng)
