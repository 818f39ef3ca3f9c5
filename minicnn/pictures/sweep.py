"""A sweep in one picture: how each setting learned, and what it reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.pictures.style import NAVY, ORANGE, PEACH, SOFT, percent, picture, shortened, use_log_axis, write_note
from minicnn.storage.files import PathLike

COLUMNS = 4  # of small pictures
MOST = 12  # settings whose curves are drawn: the best


@dataclass(frozen=True)
class Curves:
    """One setting: its name, the values that are varied, and the metrics of its runs, one for each seed."""

    name: str
    values: Mapping[str, Any]
    runs: Sequence[Mapping[str, np.ndarray]]  # columns of metrics.csv, complete runs only

    @property
    def last(self) -> np.ndarray:
        """The last test accuracy of each run."""
        return np.array([run["test_accuracy"][-1] for run in self.runs if len(run["step"])], np.float64)


def draw_sweep(settings: Sequence[Curves], path: PathLike, title: str = "") -> None:
    """Draw the test error of every run over its steps, a small picture for each setting, the best first.

    Below, for each setting that is varied, what runs with each of its values have reached: a dot for a run,
    a line for the mean. All error axes are the same, and logarithmic.
    """
    shown = settings[:MOST]
    names = [name for name in settings[0].values if len({str(one.values[name]) for one in settings}) > 1]
    columns = min(COLUMNS, max(len(shown), len(names)))
    rows, strips = math.ceil(len(shown) / columns), math.ceil(len(names) / columns)
    errors = [1 - run["test_accuracy"] for one in settings for run in one.runs]
    known = np.concatenate([*errors, np.zeros(0)])
    known = known[known > 0]
    runs = sum(len(one.runs) for one in settings)
    facts = f"test error of {runs} runs"
    if len(shown) < len(settings):
        facts += f"; curves of the best {len(shown)} of {len(settings)} settings"

    with picture(path, title or "Sweep", facts, max(2.6 * columns, 5.2), 2.3 * (rows + strips)) as figure:
        grid = figure.add_gridspec(rows + strips, columns, wspace=0.32, hspace=0.62)
        for index in range(len(shown) + len(names)):
            below = index >= len(shown)
            place = index - len(shown) + rows * columns if below else index
            axes = figure.add_subplot(grid[divmod(place, columns)])
            if known.size:
                use_log_axis(axes, known.min(), known.max())
                axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            else:
                write_note(axes, "no results yet")
            if below:
                _draw_strip(axes, settings, names[index - len(shown)])
            else:
                _draw_curves(axes, shown[index])


def _draw_curves(axes: Any, one: Curves) -> None:
    for run in one.runs:
        axes.plot(run["step"], 1 - run["test_accuracy"], color=NAVY, lw=1, alpha=0.55, marker="o" if len(run["step"]) < 3 else None)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title(shortened(one.name, 34), fontsize=9)
    reached = f"{percent(float(one.last.mean()))} correct" if len(one.last) else "no results yet"
    axes.annotate(
        reached, (1, 1), (0, -3), xycoords="axes fraction", textcoords="offset points", ha="right", va="top",
        fontsize=9, color=ORANGE, weight="bold",
    )  # fmt: skip


def _draw_strip(axes: Any, settings: Sequence[Curves], name: str) -> None:
    values = list(dict.fromkeys(one.values[name] for one in settings))
    if all(isinstance(value, (int, float)) for value in values):
        values.sort()
    for x, value in enumerate(values):
        last = np.concatenate([one.last for one in settings if one.values[name] == value])
        errors = np.maximum(1 - last, 1e-6)
        axes.plot(np.full(len(errors), x), errors, "o", color=PEACH, ms=4, clip_on=False)
        if len(errors):
            axes.plot([x - 0.25, x + 0.25], [errors.mean()] * 2, color=ORANGE, lw=2)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_xticks(range(len(values)), [shortened(str(value), 10) for value in values])
    axes.set_title(name, fontsize=9)
    axes.title.set_color(SOFT)
