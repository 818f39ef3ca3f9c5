"""What the first layer responds to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.pictures.style import SIGNED, SOFT, colour_map, draw_tiles, picture, plural
from minicnn.storage.files import PathLike


def draw_filters(
    weights: np.ndarray, path: PathLike, title: str = "", shape: tuple[int, int, int] | None = None
) -> None:
    """Draw the weights of the first layer: light orange responds to ink, navy to its absence.

    `weights` is [kh, kw, C, F] of a convolution (one tile per filter, the mean over C channels) or
    [pixels, F] of a dense layer (one template per class) on images of a `shape` (H, W, C); without one, they
    are square and have one channel. All tiles share one scale, centred at zero, so a faint tile is a weak
    filter.
    """
    weights = np.asarray(weights, dtype=np.float64)
    label: dict[str, Any]
    side = math.isqrt(weights.shape[0]) if weights.ndim else 0
    H, W, C = shape or (side, side, 1)
    if weights.ndim == 4 and weights.size:
        tiles = weights.mean(axis=2).transpose(2, 0, 1)  # [F, kh, kw]
        facts = f"{plural(len(tiles), 'filter')} of {tiles.shape[1]}x{tiles.shape[2]}"
        if weights.shape[2] > 1:
            facts += f", mean over {weights.shape[2]} channels"
        default, size, label = "First-layer filters", 0.71, {"size": 7.5, "color": SOFT}
    elif weights.ndim == 2 and weights.size and weights.shape[0] == H * W * C:
        tiles = weights.T.reshape(-1, H, W, C).mean(axis=3)
        facts = f"{plural(len(tiles), 'template')} of {H}x{W}"
        default, size, label = "Templates", 1.4, {"size": 12, "weight": "bold"}
    else:
        raise ValueError(f"weights: expected [kh, kw, C, F] or [side * side, F], got {list(weights.shape)}")
    known = np.abs(tiles[np.isfinite(tiles)])
    limit = float(known.max(initial=0.0)) or 1.0
    if known.size < tiles.size:
        facts += f"  ·  {plural(tiles.size - known.size, 'weight')} NaN or infinite"

    # Full rows where possible, about twice as wide as high.
    fewest = min(math.ceil(math.sqrt(2 * len(tiles))), len(tiles), 16)
    columns = next((n for n in range(fewest, 17) if len(tiles) % n == 0), fewest)
    rows, gap, size = math.ceil(len(tiles) / columns), (0.35, 0.15), max(size, 2.2 / columns)
    width, height = (size * (n * (1 + g) - g) for n, g in zip((columns, rows), gap[::-1], strict=True))
    with picture(path, title or default, facts, width, height) as figure:
        axes = figure.subplots()
        image, corners = draw_tiles(axes, tiles, columns, colour_map(SIGNED), -limit, limit, gap)
        for index, (x, y) in enumerate(corners):
            axes.text(x + 0.5, y - 0.05, str(index), ha="center", va="bottom", **label)
        bar = figure.colorbar(image, cax=axes.inset_axes((1 + 0.22 / width, 0, 0.13 / width, 1)))
        bar.set_ticks([-limit, 0, limit], labels=[f"{-limit:.2g}", "0", f"+{limit:.2g}"])
        bar.outline.set_visible(False)
