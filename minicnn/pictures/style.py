"""The common style of the pictures, and the tools with which they are drawn.

Navy is the test set, orange is training and errors; the two differ in lightness too, so that a black and
white print stays readable. Every picture looks the same whatever the user's settings of matplotlib are,
and drawing changes none of them: no pyplot, no window, no display.

The axes of a picture fill its figure. Everything around them, such as labels and the heading, lies outside
the figure, which grows to fit when the picture is saved.
"""

from __future__ import annotations

import io
import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn._version import __version__
from minicnn.storage import limits
from minicnn.storage.files import PathLike, open_regular
from minicnn.storage.names import printable
from minicnn.storage.outputs import write_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, PALE = "#1b2433", "#667085", "#d9dde3", "#e4e7ec"
NAVY, ORANGE, PEACH = "#12396b", "#e8842c", "#f8d3ae"
ERRORS = ("#ffffff", "#fbdcb8", "#f2a65a", "#d2691e", "#7f3310")  # white to brown: few to many
SIGNED = ("#0a2342", "#2f6196", "#a6abb0", "#f2ae58", "#fff3cf")  # navy < grey 0 < orange, light

SOFTWARE = f"minicnn {__version__}"  # in every PNG, so that no other picture is taken for one of ours

STYLE: Any = {
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.edgecolor": LINE,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": PALE,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in (
        ("major.size", 0), ("major.pad", 6), ("labelsize", 9), ("labelcolor", SOFT)
    )},
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": SOFT,
    "legend.borderpad": 0,
    "image.interpolation": "nearest",
    "savefig.dpi": 120,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.4,
}  # fmt: skip


# DejaVu Sans comes with matplotlib; the others have Chinese, Japanese and Korean characters, where installed.
FONTS = (
    "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei",
    "PingFang SC", "Hiragino Sans GB", "Heiti SC", "Arial Unicode MS",
)  # fmt: skip


@contextmanager
def picture(path: PathLike, title: str, facts: str, width: float, height: float) -> Iterator[Figure]:
    """An empty figure, in inches; it gets its heading and is saved as a PNG when it has been drawn."""
    with _quiet(), _one_warning_for_missing_glyphs():
        matplotlib = _import_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        # The backend stays the user's: setting it would import pyplot, and is not undone afterwards.
        defaults = {
            name: value for name, value in matplotlib.rcParamsDefault.items() if "backend" not in name
        }
        with matplotlib.rc_context(defaults | STYLE | {"font.family": _installed_fonts()}):
            figure = Figure(figsize=(width, height))
            FigureCanvasAgg(figure)
            figure.subplots_adjust(left=0, right=1, bottom=0, top=1)
            yield figure
            _write_heading(figure, title, facts, width)
            png = io.BytesIO()
            figure.savefig(png, format="png", metadata={"Software": SOFTWARE})
    write_output(path, png.getbuffer())


def is_ours(path: PathLike) -> bool:
    """Whether the file is a picture that minicnn drew, and may draw again."""
    from PIL import Image

    try:
        with open_regular(path, limits.IMAGE) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pixels, of which none is decoded
            with Image.open(file, formats=["PNG"]) as found:
                return str(found.info.get("Software", "")).startswith("minicnn ")
    except Exception:  # Pillow raises all kinds of exceptions for files that are no PNG, or claim too much
        return False


def _import_matplotlib() -> Any:
    """The package, also where the user's settings of it are broken: no picture here needs them."""
    try:
        import matplotlib
    except (ValueError, OSError):  # from MPLBACKEND or a matplotlibrc, which are read on import
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            del sys.modules[name]  # half imported
        settings = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
        os.environ["MATPLOTLIBRC"] = os.devnull
        try:
            import matplotlib
        finally:
            del os.environ["MATPLOTLIBRC"]
            os.environ.update({name: value for name, value in settings.items() if value is not None})
    return matplotlib


def _installed_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [name for name in FONTS if name in installed]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep matplotlib from reporting that it cannot write its own cache, or read the user's settings."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _one_warning_for_missing_glyphs() -> Iterator[None]:
    """Replace matplotlib's warning for each character that no font has by a single one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = [str(warning.message) for warning in caught if "missing from font" in str(warning.message)]
    for warning in caught:
        if str(warning.message) not in missing:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        characters = "no installed font has all characters of this picture, which are drawn as boxes"
        warnings.warn(f"{characters}; Noto Sans CJK would have most", stacklevel=4)


def _write_heading(figure: Figure, title: str, facts: str, width: float) -> None:
    """Write a bold title, and facts below it, above everything that has been drawn."""
    width = max(width, 5.0)
    top = figure.get_tightbbox(figure.canvas.get_renderer()).y1  # type: ignore[attr-defined]
    lines = ((facts, 10.5, SOFT, "normal"), (printable(" ".join(title.split())), 16.0, INK, "bold"))
    for index, (text, size, colour, weight) in enumerate(lines):
        letters = 100 * width / size  # that fit: a letter is about 0.7 of its height wide
        if len(text) > 1.6 * letters:
            text = text[: int(1.6 * letters) - 1] + "…"
        size *= min(1.0, letters / max(len(text), 1))  # down to 0.6
        y = (top + 0.3 + 0.28 * index) / figure.get_figheight()
        figure.text(0, y, text, color=colour, weight=weight, size=size)


def draw_tiles(
    axes: Axes, tiles: np.ndarray, columns: int, cmap: Any, low: float, high: float,
    gap: tuple[float, float] = (0.06, 0.06),
) -> tuple[Any, np.ndarray]:  # fmt: skip
    """Draw small images [T, h, w] in rows, each with a fine frame.

    `gap` is the space below and to the right of a tile, in parts of its height and width. Returns the
    drawn image, for a colour bar, and the upper left corners of the tiles: x and y [T, 2], in tiles.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    index = np.arange(len(tiles))
    corners = np.stack([index % columns * (1 + gap[1]), index // columns * (1 + gap[0])], axis=1)
    for tile, (x, y) in zip(tiles, corners, strict=True):
        image = axes.imshow(tile, cmap=cmap, vmin=low, vmax=high, extent=(x, x + 1, y + 1, y), aspect="auto")
    frames = [Rectangle((x, y), 1, 1) for x, y in corners]
    axes.add_collection(
        PatchCollection(frames, facecolor="none", edgecolor=LINE, linewidth=0.8, clip_on=False)
    )
    axes.set_xlim(0, columns * (1 + gap[1]) - gap[1])
    axes.set_ylim(math.ceil(len(tiles) / columns) * (1 + gap[0]) - gap[0], 0)
    axes.set_axis_off()
    return image, corners


def use_log_axis(axes: Axes, low: float, high: float) -> None:
    """Make y logarithmic, with ticks at 1, 2, 5, 10 (over many decades: 1, 10) as plain numbers."""
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


def write_note(axes: Axes, text: str) -> None:
    """Write a note where there is nothing to draw."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=SOFT, fontsize=12)


def colour_map(names: Sequence[str]) -> Any:
    """Return the colour map that runs through these colours."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("minicnn", list(names))


def shortened(name: str, most: int = 16) -> str:
    """A name from a file as a label: one line, and not too long."""
    name = printable(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def plural(count: int, noun: str) -> str:
    """Return "1 step" or "1,200 steps"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(fraction: float, digits: int = 2) -> str:
    """Return "99.21 %"; anything short of everything never rounds up to 100 %."""
    if not math.isfinite(fraction):
        return "n/a"
    text = f"{100 * fraction:.{digits}f} %"
    if fraction < 1 and text.startswith("100"):
        return f">{100 - 10**-digits:.{digits}f} %"
    return text
