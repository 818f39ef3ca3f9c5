"""One image on its way through a network: preprocessing, the output of each layer, the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minicnn.pictures.style import (
    INK,
    NAVY,
    PALE,
    SIGNED,
    SOFT,
    colour_map,
    draw_tiles,
    percent,
    picture,
    shortened,
)
from minicnn.storage.files import PathLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, STAGE, GAP = 9.7, 1.75, 0.45  # inches: of the picture, of a stage, between rows
LARGEST = 0.9  # inches: the width of a map
BARS = 12  # classes whose probabilities are drawn


def draw_seen(
    stages: Sequence[tuple[str, np.ndarray]],
    layers: Sequence[tuple[str, np.ndarray]],
    probabilities: np.ndarray,
    path: PathLike,
    title: str = "",
    classes: Sequence[str] | None = None,
) -> None:
    """Draw how an image was preprocessed, the output of each layer, and the predicted probabilities.

    `stages` are images [H, W] from 0 to 1: the original, then others in which 1 is ink. `layers` are
    outputs: [H, W, F], drawn as F maps, or [F], drawn as rows of F squares. Each layer has its own scale:
    from white, 0, to black; with negative values from navy over grey, 0, to orange.
    """
    best = int(np.argmax(probabilities))
    names = [shortened(name, 9) for name in classes or map(str, range(len(probabilities)))]
    facts = f"predicted: {names[best]}, with probability {percent(float(probabilities[best]), 1)}"
    tiles = [_as_tiles(values) for _, values in layers]
    heights = [STAGE, *(height for *_, height in tiles)]

    total = sum(heights) + GAP * len(layers)
    with picture(path, title or "What the network saw", facts, WIDTH, total) as figure:
        # The space between rows is given as a fraction of their mean height.
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=GAP / np.mean(heights))
        ratios = [1.0] * len(stages) + [max(5.4 - len(stages), 1.0)]
        top = grid[0].subgridspec(1, len(ratios), width_ratios=ratios, wspace=0.18)
        for index, (name, image) in enumerate(stages):
            axes = figure.add_subplot(top[index], anchor="NW")
            axes.imshow(image, cmap="gray" if index == 0 else "gray_r", vmin=0, vmax=1)
            axes.spines[:].set_visible(True)
            axes.set(xticks=[], yticks=[])
            axes.set_title(name, color=SOFT, fontsize=9, weight="normal")
        _draw_bars(figure.add_subplot(top[-1]), probabilities, best, names)

        rows = enumerate(zip(layers, tiles, strict=True), start=1)
        for row, ((name, values), (images, columns, across, _)) in rows:
            axes = figure.add_subplot(grid[row])
            low, high = float(values.min()), float(values.max())
            limit = max(abs(low), abs(high)) or 1.0
            colours, bottom = (colour_map(SIGNED), -limit) if low < 0 else ("gray_r", 0.0)
            draw_tiles(axes, images, columns, colours, bottom, limit)
            axes.set_xlim(0, across)
            axes.set_title(name)
            text = f"{' x '.join(map(str, values.shape))}, {low:.2g} to {high:.2g}"
            axes.set_title(text, loc="right", color=SOFT, fontsize=9, weight="normal")


def _as_tiles(values: np.ndarray) -> tuple[np.ndarray, int, float, float]:
    """The output of a layer as images [T, h, w], and how to lay them out.

    A tile for every map of [H, W, F]; for [F] a single tile with rows of squares. Returns also how many
    tiles are in a row, how many would fill the width of the picture, and the height of all rows, in inches.
    """
    if values.ndim == 3:
        tiles = values.transpose(2, 0, 1)
        columns = min(len(tiles), 16 if len(tiles) <= 64 else 32)
        across = max(1.06 * columns - 0.06, WIDTH / LARGEST)
        rows = 1.06 * math.ceil(len(tiles) / columns) - 0.06
        return tiles, columns, across, rows * WIDTH / across * values.shape[0] / values.shape[1]
    most = 32 if values.size <= 32 else 128  # squares in a row
    width = min(values.size, most)
    squares = np.full(math.ceil(values.size / width) * width, np.nan)
    squares[: values.size] = values.ravel()
    tile = squares.reshape(1, -1, width)
    return tile, 1, most / width, tile.shape[1] * WIDTH / most


def _draw_bars(axes: Axes, probabilities: np.ndarray, best: int, names: list[str]) -> None:
    """Draw the probability of each class as a bar; that of the prediction is dark.

    Of more classes than there is room for, the most probable ones, in falling order.
    """
    classes = np.arange(len(probabilities))
    if len(classes) > BARS:
        classes = np.argsort(-probabilities, kind="stable")[:BARS]
    rows = np.arange(len(classes))
    axes.barh(rows, 1, height=0.72, color=PALE)
    colours = [NAVY if index == best else SOFT for index in classes]
    axes.barh(rows, np.nan_to_num(probabilities[classes]), height=0.72, color=colours)
    for row, index in enumerate(classes):
        colour, text = INK if index == best else SOFT, percent(float(probabilities[index]), 1)
        axes.text(1, row, text, transform=axes.get_yaxis_transform(), ha="right", va="center", color=colour,
                  fontsize=9)  # fmt: skip
    axes.set(xlim=(0, 1.4), ylim=(len(classes) - 0.5, -0.5), xticks=[])
    axes.set_yticks(rows, [names[int(index)] for index in classes])
    axes.grid(False)
    axes.spines[:].set_visible(False)
