"""How the pictures look: sheets, panels, tiles, colours, in the style of the house.

All measures are inches, y downwards from the top left corner of the sheet. Navy is the test set,
orange is training and errors; the two differ in lightness too, so a grey print stays readable.
Matplotlib is imported only when something is drawn, without pyplot: no window, no display, no
settings changed behind the caller's back. A picture appears under its name only when it is complete.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]

INK, SOFT, LINE, PALE = "#1b2433", "#667085", "#d9dde3", "#e4e7ec"
NAVY, ORANGE, PEACH = "#12396b", "#e8842c", "#f8d3ae"
ERRORS = ("#ffffff", "#fbdcb8", "#f2a65a", "#d2691e", "#7f3310")  # white to brown: few to many
SIGNED = ("#0a2342", "#2f6196", "#a6abb0", "#f2ae58", "#fff3cf")  # navy < grey 0 < orange, light

LINES = (  # for many runs: told apart by lightness and dashes too
    (NAVY, "-"), (ORANGE, "-"), ("#6f9bd1", "-"), (NAVY, "--"), (ORANGE, "--"), ("#6f9bd1", "--"),
    (SOFT, "-"), (NAVY, ":"), (ORANGE, ":"), (SOFT, "--"),
)  # fmt: skip

DPI = 120
MARGIN = 0.45
HEADING = 1.0  # the height of title and facts
TICKS = 0.5  # the room for numbers left of an axis


@contextmanager
def matplotlib_quiet() -> Iterator[None]:
    """Keep matplotlib from reporting that it cannot write its own cache: no concern of the user."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def sheet(width: float, height: float, title: str, facts: str) -> Figure:
    """Return a white sheet with its heading; its first axes cover it, in inches from the top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    # Whatever the user's settings say: everything here has its place already.
    figure.set_layout_engine("none")
    page = figure.add_axes((0, 0, 1, 1))
    page.set_axis_off()
    page.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    for y, size, weight, colour, text in (
        (0.5, 16.0, "bold", INK, " ".join(title.split())),
        (0.8, 10.5, "normal", SOFT, facts),
    ):
        room = 72 * (width - 2 * MARGIN) / 0.68  # letters times their size: shrink, then cut
        if len(text) > room / 8:
            text = text[: int(room / 8) - 1] + "…"
        size = min(size, room / max(len(text), 1))
        page.text(MARGIN, y, text, color=colour, weight=weight, fontsize=size)
    return figure


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes at that place of the sheet, in the style of the house."""
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))
    axes.set_facecolor("white")
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=PALE, lw=0.8, ls="-")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(length=0, pad=6, labelsize=9, labelcolor=SOFT)
    return axes


def write_caption(axes: Axes, text: str, empty: bool, legend: bool = True) -> None:
    """Write the name of a panel and its legend above it, where they cannot hide a curve."""
    x = -TICKS * DPI / axes.bbox.width  # flush with the numbers at the axis
    axes.set_title(text, loc="left", x=x, color=INK, fontsize=11, weight="bold", pad=14)
    if empty:
        write_note(axes, 0.5, 0.5, "nothing to draw", transform=axes.transAxes)
        return
    if not legend:
        return
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.02, 1.035), ncols=2, frameon=False, fontsize=9,
        labelcolor=SOFT, handlelength=1.4, columnspacing=1.2, borderpad=0,
    )  # fmt: skip


def use_log_axis(axes: Axes, low: float, high: float) -> None:
    """Make y logarithmic, with ticks at 1, 2, 5, 10 (over many decades: 1, 10) in plain numbers."""
    bottom, top = low / 1.3, high * 1.3
    decades = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)))
    stride = len(decades) // 9 + 1
    within = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [digit * 10.0**decade for decade in decades[::stride] for digit in within]
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.set_yticks([tick for tick in ticks if bottom <= tick <= top])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def grid_columns(count: int) -> int:
    """Return the width of a grid about twice as wide as high, in full rows where possible."""
    least = min(math.ceil(math.sqrt(2 * count)), count, 16)
    return next((columns for columns in range(least, 17) if count % columns == 0), least)


def draw_tile(
    page: Axes, image: np.ndarray, x: float, y: float, width: float, cmap: Any, low: float, high: float,
    height: float | None = None,
) -> Any:  # fmt: skip
    """Put a small image on the sheet, with a fine frame; a square unless a height is given."""
    height = width if height is None else height
    drawn = page.imshow(
        image, cmap=cmap, vmin=low, vmax=high, extent=(x, x + width, y + height, y), aspect="auto",
        origin="upper", interpolation="nearest",
    )  # fmt: skip
    corners = ([x, x + width, x + width, x, x], [y, y, y + height, y + height, y])
    page.plot(*corners, color=LINE, lw=0.8, solid_joinstyle="miter")
    return drawn


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> Any:
    """Return a filled rectangle, to be added to axes."""
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=colour, edgecolor="none")


def write_note(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write a word where there is nothing to draw."""
    axes.text(x, y, text, ha="center", va="center", color=SOFT, fontsize=12, **options)


def plural(count: int, noun: str) -> str:
    """Return "1 step" or "1,200 steps"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def colour_map(names: Sequence[str]) -> Any:
    """Return the colour map that runs through these colours."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("minicnn", list(names))


def save_png(figure: Figure, path: PathLike) -> None:
    """Write the PNG beside its final name, then move it there: never half a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # a title is text, whatever $ or the user's settings say
        text.set(usetex=False, parse_math=False, family="DejaVu Sans")
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            FigureCanvasAgg(figure).print_png(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
