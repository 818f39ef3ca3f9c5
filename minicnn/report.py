"""The pictures of one training run: curves, confusion, filters, mistakes.

Plain arrays in, one PNG out; nothing here knows about networks or training. Matplotlib is imported
only when a picture is drawn, without pyplot: no window, no display, no settings changed behind the
caller's back. A picture appears under its name only when it is complete.

All measures are inches, y downwards from the top left corner of the sheet. Navy is the test set,
orange is training and errors; the two differ in lightness too, so a grey print stays readable.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]

COLUMNS = ("step", "loss", "training_accuracy", "test_accuracy", "seconds")

INK, SOFT, LINE, PALE = "#1b2433", "#667085", "#d9dde3", "#e4e7ec"
NAVY, ORANGE, PEACH = "#12396b", "#e8842c", "#f8d3ae"
ERRORS = ("#ffffff", "#fbdcb8", "#f2a65a", "#d2691e", "#7f3310")  # white to brown: few to many
SIGNED = ("#0a2342", "#2f6196", "#a6abb0", "#f2ae58", "#fff3cf")  # navy < grey 0 < orange, light

DPI = 120
MARGIN = 0.45
HEADING = 1.0  # the height of title and facts
TICKS = 0.5  # the room for numbers left of an axis


# ---------------------------------------------------------------------------------------- numbers


def read_metrics(path: PathLike) -> dict[str, np.ndarray]:
    """Return the columns of a metrics.csv by name: `step` as int64, the others as float64 [rows].

    Raises ValueError, with one line that names file and line, for anything malformed.
    """
    steps: list[int] = []
    rows: list[list[float]] = []
    with open(path, encoding="utf-8", errors="replace") as file:
        if file.readline().strip() != ",".join(COLUMNS):
            raise ValueError(f"{path}, line 1: expected the header {','.join(COLUMNS)}")
        for number, line in enumerate(file, start=2):
            fields = line.split(",")
            if len(fields) != len(COLUMNS):
                raise ValueError(
                    f"{path}, line {number}: expected {len(COLUMNS)} fields, found {len(fields)}"
                )
            try:
                steps.append(int(np.int64(int(fields[0]))))
                rows.append([float(field) for field in fields[1:]])
            except (ValueError, OverflowError):
                raise ValueError(
                    f"{path}, line {number}: not a row of numbers: {line.strip()[:80]!r}"
                ) from None
    metrics = {"step": np.array(steps, dtype=np.int64)}
    for index, name in enumerate(COLUMNS[1:]):
        metrics[name] = np.array([row[index] for row in rows], dtype=np.float64)
    return metrics


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, classes: int = 10) -> np.ndarray:
    """Return int64 [classes, classes]: how often true class `row` was predicted as `column`."""
    labels = np.asarray(labels, dtype=np.int64)
    predictions = np.asarray(predictions, dtype=np.int64)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} do not match")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"{name} must lie in 0..{classes - 1}")
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def confident_mistakes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of all mistakes, the most confident first (ties: the first image first).

    The confidence is the probability [N, classes] of the class that was said; one that is not a
    number counts as none.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = np.nan_to_num(probabilities[wrong].max(axis=1, initial=0.0), nan=0.0)
    return wrong[np.argsort(-confidence, kind="stable")]


def smooth(values: np.ndarray) -> np.ndarray:
    """Return a Gaussian moving average over about a tenth of the values; NaN stays where it was."""
    sigma = min(max(len(values) / 30, 0.5), 100.0)
    offsets = np.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1)
    window = np.exp(-0.5 * (offsets / sigma) ** 2)
    if not len(values):
        return values
    known = np.isfinite(values)
    half = len(offsets) // 2
    total = np.convolve(np.where(known, values, 0.0), window)[half : half + len(values)]
    weight = np.convolve(known, window)[half : half + len(values)]
    return np.where(known, total / np.where(known, weight, 1.0), np.nan)


def percent(fraction: float, digits: int = 2) -> str:
    """Return "99.21 %"; what is not quite everything never rounds up to 100 %."""
    if not math.isfinite(fraction):
        return "n/a"
    text = f"{100 * fraction:.{digits}f} %"
    if fraction < 1 and text.startswith("100"):
        return f">{100 - 10**-digits:.{digits}f} %"
    return text


# --------------------------------------------------------------------------------------- pictures


def draw_curves(metrics: Mapping[str, np.ndarray], path: PathLike, title: str = "") -> None:
    """Draw how the run learned: the loss at the left, the two accuracies at the right.

    The loss is logarithmic when it falls by more than a factor of ten. A batch is a small sample,
    so what is measured on it is faint, with a smoothed line above. The accuracy axis begins below
    the last three quarters of the run, not at zero; the last test accuracy is written beside it.
    """
    step = np.asarray(metrics["step"])
    loss, training, test = (np.array(metrics[name], np.float64) for name in COLUMNS[1:4])
    for values in (loss, training, test):
        values[~np.isfinite(values)] = np.nan
    facts = _many(step[-1], "step") if len(step) else "no measurements yet"
    if np.isfinite(test[-1:]).any():
        facts += f"  ·  test accuracy {percent(test[-1])}"
    if np.isnan(loss).any():
        facts += f"  ·  the loss is no number at step {step[np.isnan(loss)][0]:,}"

    with _quiet():
        width, height, top = 4.35, 3.05, HEADING + 0.45
        figure = _sheet(11.6, top + height + 0.75, title or "Training", facts)
        left = _panel(figure, MARGIN + TICKS, top, width, height)
        right = _panel(figure, MARGIN + width + 2 * TICKS + 0.4, top, width, height)
        for axes in (left, right):
            axes.set_xlim(0, 1.015 * max(step.max(initial=0), 1))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.locator_params(axis="x", nbins=5, integer=True)
            axes.set_xlabel("training steps", color=SOFT, fontsize=9)

        positive = loss[loss > 0]
        mostly = len(positive) > 0.9 * np.isfinite(loss).sum()  # an exact 0 is below any scale
        logarithmic = mostly and positive.max() > 10 * positive.min()
        if logarithmic:
            loss[~(loss > 0)] = np.nan
            _log_axis(left, positive.min(), positive.max())
            trend = np.exp(smooth(np.log(loss)))
        else:
            trend = smooth(loss)
            left.set_ylim(0, 1.08 * positive.max() if len(positive) else 1)
            left.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        _noisy_line(left, step, loss, trend, "training batch")
        _caption(left, "Loss, logarithmic" if logarithmic else "Loss", np.isnan(loss).all())

        floor = _accuracy_floor(training, test)
        right.set_ylim(floor, 1 + 0.03 * (1 - floor))
        right.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        right.set_yticks(np.linspace(floor, 1, 6))
        _noisy_line(right, step, training, smooth(training), "training batch")
        marker = "o" if len(step) < 20 else None
        right.plot(step, test, color=NAVY, lw=2, marker=marker, ms=4, label="test set")
        _caption(right, "Accuracy", np.isnan(training).all() and np.isnan(test).all())
        if len(step) and np.isfinite(test[-1]):
            y = max(test[-1], floor)
            right.plot(step[-1], y, "o", color=NAVY, ms=6, clip_on=False, zorder=3)
            right.annotate(
                percent(test[-1]), (step[-1], y), (10, 0), textcoords="offset points",
                va="center", color=NAVY, fontsize=12, weight="bold", annotation_clip=False,
            )  # fmt: skip
        _save(figure, path)


def draw_confusion(
    labels: np.ndarray,
    predictions: np.ndarray,
    path: PathLike,
    title: str = "",
) -> None:
    """Draw which digit was taken for which: a row for the true digit, a column for the answer.

    Only errors are coloured, so that they are seen beside the thousands of right answers on the
    grey diagonal. At the end of a row stands how much of that digit was right.
    """
    counts = confusion_counts(labels, predictions)
    right, total = int(counts.trace()), int(counts.sum())
    errors = np.ma.array(counts, mask=np.eye(10, dtype=bool))
    most = max(int(errors.max()), 1)
    facts = f"{percent(right / total)} right: {right:,} of {total:,}" if total else "no images"

    with _quiet():
        side, top, left = 5.8, HEADING + 0.3, MARGIN + 0.5
        figure = _sheet(left + side + 1.1, top + side + 0.8, title or "Confusion", facts)
        axes = _panel(figure, left, top, side, side)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_facecolor(PALE)  # the masked diagonal
        colours = _colours(ERRORS)
        axes.pcolormesh(errors, cmap=colours, vmin=0, vmax=most, edgecolors=LINE, linewidth=0.5)
        axes.set_xlim(-0.02, 10.02)
        axes.set_ylim(10.02, -0.02)
        axes.set_xticks(np.arange(10) + 0.5, range(10), fontsize=11, color=INK)
        axes.set_yticks(np.arange(10) + 0.5, range(10), fontsize=11, color=INK)
        axes.set_xlabel("predicted", color=SOFT, fontsize=10)
        axes.set_ylabel("true", color=SOFT, fontsize=10)
        for row, column in np.argwhere(counts):
            count = counts[row, column]
            dark = row != column and count > 0.75 * most
            axes.text(
                column + 0.5, row + 0.5, f"{count:,}", ha="center", va="center", fontsize=9.5,
                color="white" if dark else SOFT if row == column else INK,
            )  # fmt: skip
        axes.text(11.15, -0.15, "right", ha="right", va="bottom", color=SOFT, fontsize=9)
        for digit, images in enumerate(counts.sum(axis=1)):
            share = percent(counts[digit, digit] / images, 1) if images else "n/a"
            axes.text(11.15, digit + 0.5, share, ha="right", va="center", color=INK, fontsize=9.5)
        _save(figure, path)


def draw_filters(weights: np.ndarray, path: PathLike, title: str = "") -> None:
    """Draw what the first layer looks for: light orange where it wants ink, navy where not.

    `weights` is [kh, kw, C, F] of a convolution (one tile per filter, the mean over C channels) or
    [pixels, F] of a dense layer on square images (one template per class). All tiles share one
    scale, centred at zero, so a faint tile is a weak filter.
    """
    weights = np.asarray(weights, dtype=np.float64)
    side = math.isqrt(weights.shape[0]) if weights.ndim else 0
    if weights.ndim == 4 and weights.size:
        tiles = weights.mean(axis=2).transpose(2, 0, 1)  # [F, kh, kw]
        kind = f"{_many(len(tiles), 'filter')} of {tiles.shape[1]}x{tiles.shape[2]}"
        if weights.shape[2] > 1:
            kind += f", mean over {weights.shape[2]} channels"
        size, gap, default = 0.7, 0.28, "First-layer filters"
    elif weights.ndim == 2 and weights.size and side * side == weights.shape[0]:
        tiles = weights.T.reshape(-1, side, side)
        kind = f"{_many(len(tiles), 'template')} of {side}x{side}"
        size, gap, default = 1.4, 0.4, "Templates"
    else:
        raise ValueError(f"weights {weights.shape} are neither [kh, kw, C, F] nor [side * side, F]")
    known = np.abs(tiles[np.isfinite(tiles)])
    limit = float(known.max(initial=0.0)) or 1.0
    if known.size < tiles.size:
        kind += f"  ·  {tiles.size - known.size} weights are no numbers"

    with _quiet():
        columns = _columns(len(tiles))
        rows = math.ceil(len(tiles) / columns)
        grid, height = columns * (size + 0.12) - 0.12, rows * (size + gap)
        width = max(grid + 2 * MARGIN + 0.9, 5.0)
        figure = _sheet(width, HEADING + height + 0.3, title or default, kind)
        page = figure.axes[0]
        for index, tile in enumerate(tiles):
            row, column = divmod(index, columns)
            x, y = MARGIN + column * (size + 0.12), HEADING + gap + row * (size + gap)
            image = _tile(page, tile, x, y, size, _colours(SIGNED), -limit, limit)
            page.text(
                x + size / 2, y - 0.05, str(index), ha="center", va="bottom",
                color=INK if weights.ndim == 2 else SOFT,
                fontsize=12 if weights.ndim == 2 else 7.5,
                weight="bold" if weights.ndim == 2 else "normal",
            )  # fmt: skip
        bar = _panel(figure, MARGIN + grid + 0.22, HEADING + gap, 0.13, height - gap)
        figure.colorbar(image, cax=bar, ticks=[-limit, 0, limit])
        bar.set_yticklabels([f"{-limit:.2g}", "0", f"+{limit:.2g}"])
        bar.grid(False)
        bar.tick_params(length=0, labelsize=8.5, labelcolor=SOFT)
        figure.axes[-1].spines[:].set_visible(False)
        _save(figure, path)


def draw_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    path: PathLike,
    count: int = 25,
    title: str = "",
) -> None:
    """Draw the images [N, 28, 28] on which the network was most sure of a wrong answer."""
    images, labels = np.asarray(images), np.asarray(labels)
    probabilities = np.asarray(probabilities)
    if not len(images) == len(labels) == len(probabilities):
        sizes = f"{len(images)} images, {len(labels)} labels, {len(probabilities)} answers"
        raise ValueError(f"one label and one answer for each image: {sizes}")
    wrong = confident_mistakes(labels, probabilities)
    chosen = wrong[: max(count, 0)]
    facts = f"{_many(len(wrong), 'mistake')} in {_many(len(images), 'image')}"
    if len(chosen) < len(wrong):
        facts = f"the {len(chosen)} most confident of {facts}"

    with _quiet():
        size, across, down = 1.4, 1.72, 1.82
        columns = max(5, math.ceil(math.sqrt(len(chosen))))
        rows = max(1, math.ceil(len(chosen) / columns))
        width = columns * across - (across - size) + 2 * MARGIN
        figure = _sheet(width, HEADING + rows * down + 0.2, title or "Confident mistakes", facts)
        page = figure.axes[0]
        for position, index in enumerate(chosen):
            row, column = divmod(position, columns)
            x, y = MARGIN + column * across, HEADING + 0.05 + row * down
            _tile(page, images[index], x, y, size, "gray_r", 0, 255)
            middle, below = x + size / 2, y + size + 0.07
            said = probabilities[index].argmax()
            sure = percent(float(probabilities[index, said]), 1)
            text = f"true {labels[index]}, said {said} ({sure})"
            page.text(middle, below, text, ha="center", va="top", color=INK, fontsize=8.5)
        if not len(wrong):
            _say(page, width / 2, HEADING + 0.9, "no mistakes" if len(images) else "no images")
        _save(figure, path)


# ------------------------------------------------------------------------------------------ parts


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep matplotlib from reporting that it cannot write its own cache: no concern of the user."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _sheet(width: float, height: float, title: str, facts: str) -> Figure:
    """Return a white sheet with its heading; its first axes cover it, in inches from the top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
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


def _panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
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


def _caption(axes: Axes, text: str, empty: bool) -> None:
    """Write the name of a panel and its legend above it, where they cannot hide a curve."""
    x = -TICKS * DPI / axes.bbox.width  # flush with the numbers at the axis
    axes.set_title(text, loc="left", x=x, color=INK, fontsize=11, weight="bold", pad=14)
    if empty:
        _say(axes, 0.5, 0.5, "nothing to draw", transform=axes.transAxes)
        return
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.02, 1.035), ncols=2, frameon=False, fontsize=9,
        labelcolor=SOFT, handlelength=1.4, columnspacing=1.2, borderpad=0,
    )  # fmt: skip


def _noisy_line(
    axes: Axes,
    step: np.ndarray,
    values: np.ndarray,
    trend: np.ndarray,
    label: str,
) -> None:
    """Draw what was measured faintly and its trend above; a handful of points just as they are."""
    if len(step) < 20:
        axes.plot(step, values, color=ORANGE, lw=1.8, marker="o", ms=4, label=label)
        return
    axes.plot(step, values, color=PEACH, lw=1)
    axes.plot(step, trend, color=ORANGE, lw=2, label=f"{label}, smoothed")


def _log_axis(axes: Axes, low: float, high: float) -> None:
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


def _accuracy_floor(training: np.ndarray, test: np.ndarray) -> float:
    """Return the highest round number below (nearly) all accuracies after the first quarter."""
    late = np.concatenate([values[len(values) // 4 :] for values in (training, test)])
    late = late[np.isfinite(late)]
    lowest = np.percentile(late, 2) if late.size else 0.0
    return next((level for level in (0.98, 0.95, 0.9, 0.8, 0.5) if level < lowest), 0.0)


def _columns(count: int) -> int:
    """Return the width of a grid about twice as wide as high, in full rows where possible."""
    least = min(math.ceil(math.sqrt(2 * count)), count, 16)
    return next((columns for columns in range(least, 17) if count % columns == 0), least)


def _tile(
    page: Axes, image: np.ndarray, x: float, y: float, size: float, cmap: Any, low: float,
    high: float,
) -> Any:  # fmt: skip
    """Put a small image on the sheet, with a fine frame."""
    drawn = page.imshow(
        image, cmap=cmap, vmin=low, vmax=high, extent=(x, x + size, y + size, y), aspect="auto",
        origin="upper", interpolation="nearest",
    )  # fmt: skip
    corners = ([x, x + size, x + size, x, x], [y, y, y + size, y + size, y])
    page.plot(*corners, color=LINE, lw=0.8, solid_joinstyle="miter")
    return drawn


def _say(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write a word where there is nothing to draw."""
    axes.text(x, y, text, ha="center", va="center", color=SOFT, fontsize=12, **options)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _colours(names: Sequence[str]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("minicnn", list(names))


def _save(figure: Figure, path: PathLike) -> None:
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
