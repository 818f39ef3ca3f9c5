"""The pictures: of one run, of several runs together, and of one image on its way through a network.

Plain arrays in, one PNG out; nothing here knows about networks or training. How they look is in
`minicnn.pictures.drawing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minicnn.pictures.drawing import (
    ERRORS,
    HEADING,
    INK,
    LINE,
    LINES,
    MARGIN,
    NAVY,
    ORANGE,
    PALE,
    PEACH,
    SIGNED,
    SOFT,
    TICKS,
    PathLike,
    colour_map,
    draw_tile,
    grid_columns,
    matplotlib_quiet,
    panel,
    plural,
    rectangle,
    save_png,
    sheet,
    use_log_axis,
    write_caption,
    write_note,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("step", "loss", "training_accuracy", "test_accuracy", "seconds")


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
    facts = plural(step[-1], "step") if len(step) else "no measurements yet"
    if np.isfinite(test[-1:]).any():
        facts += f"  ·  test accuracy {percent(test[-1])}"
    if np.isnan(loss).any():
        facts += f"  ·  the loss is no number at step {step[np.isnan(loss)][0]:,}"

    with matplotlib_quiet():
        width, height, top = 4.35, 3.05, HEADING + 0.45
        figure = sheet(11.6, top + height + 0.75, title or "Training", facts)
        left = panel(figure, MARGIN + TICKS, top, width, height)
        right = panel(figure, MARGIN + width + 2 * TICKS + 0.4, top, width, height)
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
            use_log_axis(left, positive.min(), positive.max())
            trend = np.exp(smooth(np.log(loss)))
        else:
            trend = smooth(loss)
            left.set_ylim(0, 1.08 * positive.max() if len(positive) else 1)
            left.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        _noisy_line(left, step, loss, trend, "training batch")
        write_caption(left, "Loss, logarithmic" if logarithmic else "Loss", bool(np.isnan(loss).all()))

        floor = _accuracy_floor(training, test)
        right.set_ylim(floor, 1 + 0.03 * (1 - floor))
        right.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        right.set_yticks(np.linspace(floor, 1, 6))
        _noisy_line(right, step, training, smooth(training), "training batch")
        marker = "o" if len(step) < 20 else None
        right.plot(step, test, color=NAVY, lw=2, marker=marker, ms=4, label="test set")
        write_caption(right, "Accuracy", bool(np.isnan(training).all() and np.isnan(test).all()))
        if len(step) and np.isfinite(test[-1]):
            y = max(test[-1], floor)
            right.plot(step[-1], y, "o", color=NAVY, ms=6, clip_on=False, zorder=3)
            right.annotate(
                percent(test[-1]), (step[-1], y), (10, 0), textcoords="offset points",
                va="center", color=NAVY, fontsize=12, weight="bold", annotation_clip=False,
            )  # fmt: skip
        save_png(figure, path)


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

    with matplotlib_quiet():
        side, top, left = 5.8, HEADING + 0.3, MARGIN + 0.5
        figure = sheet(left + side + 1.1, top + side + 0.8, title or "Confusion", facts)
        axes = panel(figure, left, top, side, side)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_facecolor(PALE)  # the masked diagonal
        colours = colour_map(ERRORS)
        axes.pcolormesh(errors, cmap=colours, vmin=0, vmax=most, edgecolors=LINE, linewidth=0.5)
        axes.set_xlim(-0.02, 10.02)
        axes.set_ylim(10.02, -0.02)
        axes.set_xticks(np.arange(10) + 0.5, list("0123456789"), fontsize=11, color=INK)
        axes.set_yticks(np.arange(10) + 0.5, list("0123456789"), fontsize=11, color=INK)
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
        save_png(figure, path)


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
        kind = f"{plural(len(tiles), 'filter')} of {tiles.shape[1]}x{tiles.shape[2]}"
        if weights.shape[2] > 1:
            kind += f", mean over {weights.shape[2]} channels"
        size, gap, default = 0.7, 0.28, "First-layer filters"
    elif weights.ndim == 2 and weights.size and side * side == weights.shape[0]:
        tiles = weights.T.reshape(-1, side, side)
        kind = f"{plural(len(tiles), 'template')} of {side}x{side}"
        size, gap, default = 1.4, 0.4, "Templates"
    else:
        raise ValueError(f"weights {weights.shape} are neither [kh, kw, C, F] nor [side * side, F]")
    known = np.abs(tiles[np.isfinite(tiles)])
    limit = float(known.max(initial=0.0)) or 1.0
    if known.size < tiles.size:
        kind += f"  ·  {tiles.size - known.size} weights are no numbers"

    with matplotlib_quiet():
        columns = grid_columns(len(tiles))
        rows = math.ceil(len(tiles) / columns)
        grid, height = columns * (size + 0.12) - 0.12, rows * (size + gap)
        width = max(grid + 2 * MARGIN + 0.9, 5.0)
        figure = sheet(width, HEADING + height + 0.3, title or default, kind)
        page = figure.axes[0]
        for index, tile in enumerate(tiles):
            row, column = divmod(index, columns)
            x, y = MARGIN + column * (size + 0.12), HEADING + gap + row * (size + gap)
            image = draw_tile(page, tile, x, y, size, colour_map(SIGNED), -limit, limit)
            page.text(
                x + size / 2, y - 0.05, str(index), ha="center", va="bottom",
                color=INK if weights.ndim == 2 else SOFT,
                fontsize=12 if weights.ndim == 2 else 7.5,
                weight="bold" if weights.ndim == 2 else "normal",
            )  # fmt: skip
        bar = panel(figure, MARGIN + grid + 0.22, HEADING + gap, 0.13, height - gap)
        figure.colorbar(image, cax=bar, ticks=[-limit, 0, limit])
        bar.set_yticklabels([f"{-limit:.2g}", "0", f"+{limit:.2g}"])
        bar.grid(False)
        bar.tick_params(length=0, labelsize=8.5, labelcolor=SOFT)
        figure.axes[-1].spines[:].set_visible(False)
        save_png(figure, path)


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
    facts = f"{plural(len(wrong), 'mistake')} in {plural(len(images), 'image')}"
    if len(chosen) < len(wrong):
        facts = f"the {len(chosen)} most confident of {facts}"

    with matplotlib_quiet():
        size, across, down = 1.4, 1.72, 1.82
        columns = max(5, math.ceil(math.sqrt(len(chosen))))
        rows = max(1, math.ceil(len(chosen) / columns))
        width = columns * across - (across - size) + 2 * MARGIN
        figure = sheet(width, HEADING + rows * down + 0.2, title or "Confident mistakes", facts)
        page = figure.axes[0]
        for position, index in enumerate(chosen):
            row, column = divmod(position, columns)
            x, y = MARGIN + column * across, HEADING + 0.05 + row * down
            draw_tile(page, images[index], x, y, size, "gray_r", 0, 255)
            middle, below = x + size / 2, y + size + 0.07
            said = probabilities[index].argmax()
            sure = percent(float(probabilities[index, said]), 1)
            text = f"true {labels[index]}, said {said} ({sure})"
            page.text(middle, below, text, ha="center", va="top", color=INK, fontsize=8.5)
        if not len(wrong):
            write_note(page, width / 2, HEADING + 0.9, "no mistakes" if len(images) else "no images")
        save_png(figure, path)


def draw_comparison(runs: Mapping[str, Mapping[str, np.ndarray]], path: PathLike, title: str = "") -> None:
    """Draw how several runs learned, by their names: test errors over steps and over time.

    The share of wrong answers is logarithmic: from 2 % to 1 % is as far as from 10 % to 5 %. Runs
    differ in colour, lightness and dashes; below they are listed, the best first, with their last
    test accuracy.
    """
    runs = {
        name: runs[name] for name in sorted(runs, key=lambda name: -np.nan_to_num(_last_accuracy(runs[name])))
    }
    styles = [LINES[index % len(LINES)] for index in range(len(runs))]
    errors = [1 - np.asarray(metrics["test_accuracy"], np.float64) for metrics in runs.values()]
    errors = [np.where(values > 0, values, np.nan) for values in errors]  # NaN where there is no logarithm
    known = np.concatenate([values[np.isfinite(values)] for values in errors])

    with matplotlib_quiet():
        width, height, top = 4.5, 3.2, HEADING + 0.45
        total = top + height + 0.85 + 0.24 * len(runs)
        figure = sheet(11.0, total, title or "Comparison", "share of test images taken for another digit")
        for column, left in (("step", MARGIN + TICKS), ("seconds", MARGIN + width + 2 * TICKS + 0.2)):
            axes = panel(figure, left, top, width, height)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_xlabel("training steps" if column == "step" else "seconds", color=SOFT, fontsize=9)
            if known.size:
                use_log_axis(axes, known.min(), known.max())
                axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            for metrics, values, (colour, dashes) in zip(runs.values(), errors, styles, strict=True):
                marker = "o" if len(values) < 20 else None
                axes.plot(metrics[column], values, color=colour, ls=dashes, lw=1.8, marker=marker, ms=4)
            axes.locator_params(axis="x", nbins=5)
            axes.set_xlim(left=0)
            name = "Errors over steps" if column == "step" else "Errors over time"
            write_caption(axes, name, empty=not known.size, legend=False)

        page = figure.axes[0]
        for index, (name, (colour, dashes)) in enumerate(zip(runs, styles, strict=True)):
            steps, y = runs[name]["step"], top + height + 0.75 + 0.24 * index
            accuracy = percent(_last_accuracy(runs[name]))
            page.plot([MARGIN, MARGIN + 0.45], [y, y], color=colour, ls=dashes, lw=1.8)
            reached = plural(int(steps[-1]), "step") if len(steps) else "no measurements yet"
            for x, text, ink in ((0.6, accuracy, INK), (1.4, reached, SOFT), (2.6, name, INK)):
                shown = text if len(text) <= 90 else f"{text[:44]}…{text[-45:]}"
                page.text(MARGIN + x, y, shown, va="center", color=ink, fontsize=9.5)
        save_png(figure, path)


def draw_seen(
    stages: Sequence[tuple[str, np.ndarray]],
    layers: Sequence[tuple[str, np.ndarray]],
    probabilities: np.ndarray,
    path: PathLike,
    title: str = "",
) -> None:
    """Draw one image on its way: how it was prepared, what each layer made of it, the answer.

    `stages` are images [H, W] from 0 to 1: the first as it was, the others with 1 as ink. `layers`
    are outputs: [H, W, F], a tile for each of F maps, or [F], rows of F squares. All of one layer
    share a scale: from white, 0, to black; with negative numbers from navy over grey, 0, to orange.
    """
    best = int(np.argmax(probabilities))
    facts = f"taken for {best} with probability {percent(float(probabilities[best]), 1)}"
    stage, across, label = 1.75, 10.6 - 2 * MARGIN, 1.3
    grids = [_grid_of(values, across - label) for _, values in layers]

    with matplotlib_quiet():
        height = HEADING + stage + 0.7 + sum(max(grid.height, 0.5) + 0.3 for grid in grids)
        figure = sheet(across + 2 * MARGIN, height, title or "What the network saw", facts)
        page = figure.axes[0]
        for index, (name, image) in enumerate(stages):
            x = MARGIN + index * (stage + 0.2)
            colours = "gray" if index == 0 else "gray_r"
            rows, columns = (size / max(image.shape) * stage for size in image.shape)
            draw_tile(page, image, x, HEADING, columns, colours, 0, 1, height=rows)
            page.text(x, HEADING + stage + 0.1, name, va="top", color=SOFT, fontsize=9)
        x = MARGIN + len(stages) * (stage + 0.2) + 0.1
        _bars(page, probabilities, x, HEADING, MARGIN + across - x, stage)

        y = HEADING + stage + 0.6
        for (name, values), grid in zip(layers, grids, strict=True):
            shape = " x ".join(map(str, values.shape))
            low, high = float(values.min()), float(values.max())
            page.text(MARGIN, y, name, va="top", color=INK, fontsize=10.5, weight="bold")
            for line, text in ((0.2, shape), (0.36, f"{low:.2g} to {high:.2g}")):
                page.text(MARGIN, y + line, text, va="top", color=SOFT, fontsize=8)
            limit = max(abs(low), abs(high)) or 1.0
            signed = low < 0
            colours = colour_map(SIGNED) if signed else "gray_r"
            for index, tile in enumerate(grid.tiles):
                row, column = divmod(index, grid.columns)
                place = MARGIN + label + column * (grid.width + GAP), y + row * (grid.tall + GAP)
                low = -limit if signed else 0
                draw_tile(page, tile, *place, grid.width, colours, low, limit, height=grid.tall)
            y += max(grid.height, 0.5) + 0.3
        save_png(figure, path)


# ------------------------------------------------------------------------------------------ parts


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


def _accuracy_floor(training: np.ndarray, test: np.ndarray) -> float:
    """Return the highest round number below (nearly) all accuracies after the first quarter."""
    late = np.concatenate([values[len(values) // 4 :] for values in (training, test)])
    late = late[np.isfinite(late)]
    lowest = np.percentile(late, 2) if late.size else 0.0
    return next((level for level in (0.98, 0.95, 0.9, 0.8, 0.5) if level < lowest), 0.0)


GAP = 0.05  # between the maps of a layer


class _Grid(NamedTuple):
    """The output of a layer as tiles [T, rows, columns], and how they are laid out, in inches."""

    tiles: np.ndarray
    columns: int
    width: float  # of one tile
    tall: float  # likewise
    height: float  # of all


def _grid_of(values: np.ndarray, across: float) -> _Grid:
    """A tile for every map of [H, W, F]; for [F] one tile with rows of up to 64 squares."""
    if values.ndim == 3:
        tiles = values.transpose(2, 0, 1)
        columns = min(len(tiles), 16 if len(tiles) <= 64 else 32)
        width = min((across + GAP) / columns - GAP, 0.9)
        tall = width * values.shape[0] / values.shape[1]
    else:
        columns, square = min(values.size, 64), 0.3 if values.size <= 16 else 0.09
        rows = -(-values.size // columns)
        flat = np.full(rows * columns, np.nan)
        flat[: values.size] = values.ravel()
        tiles, width, tall, columns = flat.reshape(1, rows, columns), columns * square, rows * square, 1
    return _Grid(tiles, columns, width, tall, -(-len(tiles) // columns) * (tall + GAP) - GAP)


def _bars(
    page: Axes, probabilities: np.ndarray, x: float, y: float, width: float, height: float
) -> None:  # fmt: skip
    """Draw the probability of each class as a bar; the most probable one is dark."""
    step = height / len(probabilities)
    longest = width - 0.85
    for index, probability in enumerate(np.nan_to_num(probabilities)):
        middle, best = y + (index + 0.5) * step, index == int(np.argmax(probabilities))
        page.text(x, middle, str(index), va="center", color=INK, fontsize=9)
        corner = (x + 0.2, middle - 0.36 * step)
        page.add_patch(rectangle(*corner, longest, 0.72 * step, PALE))
        page.add_patch(rectangle(*corner, longest * probability, 0.72 * step, NAVY if best else SOFT))
        share = percent(float(probability), 1)
        page.text(
            x + width, middle, share, va="center", ha="right", color=INK if best else SOFT, fontsize=9
        )  # fmt: skip


def _last_accuracy(metrics: Mapping[str, np.ndarray]) -> float:
    """The last test accuracy of a run; that of one without measurements is no number."""
    return float(metrics["test_accuracy"][-1]) if len(metrics["test_accuracy"]) else float("nan")
