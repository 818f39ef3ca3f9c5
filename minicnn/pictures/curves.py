"""How a run learned: loss and accuracy over the steps; and the test errors of several runs together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from minicnn.pictures.style import (
    INK,
    NAVY,
    ORANGE,
    PEACH,
    SOFT,
    percent,
    picture,
    plural,
    use_log_axis,
    write_note,
)
from minicnn.runs.directory import HEADER
from minicnn.storage import limits
from minicnn.storage.files import PathLike, read_regular
from minicnn.storage.names import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = HEADER.split(",")  # step, loss, training_accuracy, test_accuracy, seconds

LINES = (  # of several runs: they differ in lightness and dashes too
    (NAVY, "-"), (ORANGE, "-"), ("#6f9bd1", "-"), (NAVY, "--"), (ORANGE, "--"), ("#6f9bd1", "--"),
    (SOFT, "-"), (NAVY, ":"), (ORANGE, ":"), (SOFT, "--"),
)  # fmt: skip
FEW = 20  # measurements: each is drawn as a dot
GUESSING = math.log(10)  # the loss of a network that gives each of the ten digits the same probability


def read_metrics(path: PathLike) -> dict[str, np.ndarray]:
    """Return the columns of a metrics.csv by name: `step` as int64, the others as float64 [rows].

    Raises ValueError, with one line that names file and line, for anything malformed, OSError for a file
    that cannot be read.
    """
    header, *lines = read_regular(path, limits.METRICS).decode(errors="replace").splitlines() or [""]
    if header != HEADER:
        raise ValueError(f"{path}, line 1: expected the header {HEADER}, got {header[:80]!r}")
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            step, *values = line.split(",")
            row = np.int64(int(step)), *map(float, values)
            if len(row) != len(COLUMNS):
                raise ValueError
            rows.append(row)
        except (ValueError, OverflowError):
            expected = f"{len(COLUMNS)} numbers"
            raise ValueError(f"{path}, line {number}: expected {expected}, got {line[:80]!r}") from None
    columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    types = [np.int64] + [np.float64] * (len(COLUMNS) - 1)
    return {name: np.array(c, dtype=t) for name, c, t in zip(COLUMNS, columns, types, strict=True)}


def smooth(values: np.ndarray) -> np.ndarray:
    """Return a Gaussian moving average over about a tenth of the values; NaN stays NaN."""
    if not len(values):
        return values
    sigma = min(max(len(values) / 30, 0.5), 100.0)
    half = math.ceil(3 * sigma)
    window = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0.0), window)[half : half + len(values)]
    weight = np.convolve(known, window)[half : half + len(values)]
    return np.where(known, total / np.where(known, weight, 1.0), np.nan)


def draw_curves(metrics: Mapping[str, np.ndarray], path: PathLike, title: str = "") -> None:
    """Draw how the run learned: the loss on the left, training and test accuracy on the right.

    The loss is logarithmic if it falls by more than a factor of ten. A batch is a small sample, so what
    is measured on it is faint, with a smoothed line on top. The accuracy axis begins below the last
    three quarters of the run, not at zero; the last test accuracy is written beside it.
    """
    step = np.asarray(metrics["step"])
    loss, training, test = (np.array(metrics[name], np.float64) for name in COLUMNS[1:4])
    facts = plural(step[-1], "step") if len(step) else "no measurements yet"
    if np.isfinite(test[-1:]).any():
        facts += f"  ·  test accuracy {percent(test[-1])}"
    if not np.isfinite(loss).all():
        first = int(np.argmin(np.isfinite(loss)))
        facts += f"  ·  loss is {'NaN' if np.isnan(loss[first]) else 'infinite'} at step {step[first]:,}"
    for values in (loss, training, test):
        values[~np.isfinite(values)] = np.nan

    with picture(path, title or "Training", facts, 10.0, 3.05) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.18})
        for axes in (left, right):
            axes.set_xlim(0, 1.015 * max(step.max(initial=0), 1))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.locator_params(axis="x", nbins=5, integer=True)
            axes.set_xlabel("training steps")

        positive = loss[loss > 0]
        mostly = len(positive) > 0.9 * np.isfinite(loss).sum()  # zeros are below any logarithmic axis
        if mostly and positive.max() > 10 * positive.min():
            loss[~(loss > 0)] = np.nan
            use_log_axis(left, positive.min(), positive.max())
            _plot_batches(left, step, loss, np.exp(smooth(np.log(loss))))
            _write_caption(left, "Loss, logarithmic", loss)
        else:
            highest = [*positive, GUESSING] if len(step) < FEW else positive  # a few dots need a measure
            left.set_ylim(0, 1.08 * max(highest, default=1))
            left.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
            _plot_batches(left, step, loss, smooth(loss))
            _write_caption(left, "Loss", loss)
            if len(step) < FEW and len(positive):
                left.axhline(GUESSING, color=SOFT, lw=1, ls=":")
                left.annotate(
                    "guessing", (1, GUESSING), (0, -4), xycoords=("axes fraction", "data"),
                    textcoords="offset points", ha="right", va="top", color=SOFT, fontsize=9,
                )  # fmt: skip

        floor = _accuracy_floor(training, test)
        right.set_ylim(floor, 1 + 0.03 * (1 - floor))
        right.set_yticks(np.linspace(floor, 1, 6))
        right.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        _plot_batches(right, step, training, smooth(training))
        right.plot(step, test, color=NAVY, lw=2, marker="o" if len(step) < FEW else None, label="test set")
        _write_caption(right, "Accuracy", np.concatenate([training, test]))
        if np.isfinite(test[-1:]).any():
            end = step[-1], max(test[-1], floor)
            right.plot(*end, "o", color=NAVY, ms=6, clip_on=False, zorder=3)
            right.annotate(
                percent(test[-1]), end, (10, 0), textcoords="offset points", va="center", color=NAVY,
                fontsize=12, weight="bold", annotation_clip=False,
            )  # fmt: skip


def _plot_batches(axes: Axes, step: np.ndarray, values: np.ndarray, trend: np.ndarray) -> None:
    """Plot what was measured on batches, faint, and its trend; if it is little, just as it is."""
    if len(step) < FEW:
        axes.plot(step, values, color=ORANGE, lw=1.8, marker="o", label="training batch")
        return
    axes.plot(step, values, color=PEACH, lw=1)
    axes.plot(step, trend, color=ORANGE, lw=2, label="training batch, smoothed")


def _write_caption(axes: Axes, text: str, values: np.ndarray) -> None:
    """Write the title of a panel and its legend above it, where they cannot hide a curve."""
    axes.set_title(text, pad=14)
    if np.isnan(values).all():
        write_note(axes, "nothing to draw")
        return
    axes.legend(loc="lower right", bbox_to_anchor=(1.02, 1.04), ncols=2, handlelength=1.4, columnspacing=1.2)


def _accuracy_floor(training: np.ndarray, test: np.ndarray) -> float:
    """Return the highest round number below (nearly) all accuracies after the first quarter."""
    late = np.concatenate([values[len(values) // 4 :] for values in (training, test)])
    late = late[np.isfinite(late)]
    lowest = np.percentile(late, 2) if late.size else 0.0
    return next((level for level in (0.98, 0.95, 0.9, 0.8, 0.5) if level < lowest), 0.0)


def draw_comparison(runs: Mapping[str, Mapping[str, np.ndarray]], path: PathLike, title: str = "") -> None:
    """Draw how several runs learned, by name: test errors over steps and over time.

    The error axis is logarithmic: from 2 % to 1 % is as far as from 10 % to 5 %. The runs are listed
    below, the best first, with their last test accuracy.
    """
    last = {name: float([np.nan, *metrics["test_accuracy"]][-1]) for name, metrics in runs.items()}
    ranking = sorted(runs, key=lambda name: -np.nan_to_num(last[name]))
    errors = {name: 1 - np.asarray(runs[name]["test_accuracy"], np.float64) for name in ranking}
    known = np.concatenate([values[values > 0] for values in errors.values()])  # neither 0 nor NaN

    facts = "test error: the share of test images that are misclassified"
    with picture(path, title or "Comparison", facts, 9.6, 3.2) as figure:
        panels = figure.subplots(1, 2, gridspec_kw={"wspace": 0.18})
        for axes, column, unit in zip(
            panels, ("step", "seconds"), ("training steps", "seconds"), strict=True
        ):
            if known.size:
                use_log_axis(axes, known.min(), known.max())
                axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            else:
                write_note(axes, "nothing to draw")
            for index, (name, values) in enumerate(errors.items()):
                colour, dashes = LINES[index % len(LINES)]
                marker = "o" if len(values) < FEW else None
                shown = np.where(values > 0, values, np.nan)
                axes.plot(runs[name][column], shown, color=colour, ls=dashes, lw=1.8, marker=marker)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.locator_params(axis="x", nbins=5)
            axes.set_xlim(left=0)
            axes.set_xlabel(unit)
            axes.set_title("Test error over steps" if column == "step" else "Test error over time")

        labels = []
        for name in ranking:
            steps = runs[name]["step"]
            reached = plural(int(steps[-1]), "step") if len(steps) else "no measurements yet"
            shown_name = printable(name)
            short = shown_name if len(shown_name) <= 90 else f"{shown_name[:44]}…{shown_name[-45:]}"
            labels.append(f"{percent(last[name])} after {reached}:  {short}")
        figure.legend(
            panels[0].get_lines(), labels, loc="upper left", bbox_to_anchor=(0, -0.2), handlelength=3,
            labelcolor=INK,
        )  # fmt: skip
