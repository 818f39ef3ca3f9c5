"""A sweep in one picture: how each setting learned, and what each value of each setting has reached."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.pictures.style import (
    NAVY,
    ORANGE,
    PEACH,
    percent,
    picture,
    plural,
    shortened,
    use_log_axis,
    write_note,
)
from minicnn.storage.files import PathLike

MOST_COLUMNS = 4  # of small pictures
MOST = 12  # settings whose curves are drawn: the best
FEW = 4  # measurements: each is drawn as a dot


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
    """Draw the test error of every run over its steps, a small picture for each setting, in the order given.

    Below, for each setting that is varied, the test accuracy of the runs with each of its values: a dot for a
    run, a line for the mean. The error axes are logarithmic, and all the same; errors of 0 lie on their lower
    edge.
    """
    shown = settings[:MOST]
    names = [name for name in settings[0].values if len({str(one.values[name]) for one in settings}) > 1]
    columns = _columns(len(shown), len(names))
    rows, strips = math.ceil(len(shown) / columns), math.ceil(len(names) / columns)
    runs = sum(len(one.runs) for one in settings)
    facts = f"test error of {plural(runs, 'run')} over training steps"
    if len(shown) < len(settings):
        facts += f"; curves of the best {len(shown)} of {len(settings)} settings"
    errors = [1 - run["test_accuracy"] for one in shown for run in one.runs]

    with picture(path, title or "Sweep", facts, max(2.7 * columns, 5.2), 2.4 * (rows + strips)) as figure:
        grid = figure.add_gridspec(rows + strips, columns, wspace=0.32, hspace=0.6)
        for index, one in enumerate(shown):
            axes = figure.add_subplot(grid[divmod(index, columns)])
            _draw_curves(axes, one, _use_error_axis(axes, errors))
        for index, name in enumerate(names):
            axes = figure.add_subplot(grid[divmod(rows * columns + index, columns)])
            _draw_strip(axes, settings, name)


def _columns(curves: int, strips: int) -> int:
    """As many columns as fit, of the numbers that leave the fewest places empty."""
    most = min(MOST_COLUMNS, max(curves, strips))
    return max(range(min(2, most), most + 1), key=lambda columns: (-(-curves % columns), columns))


def _use_error_axis(axes: Any, errors: Sequence[np.ndarray]) -> float:
    """Make y an axis for errors such as these. Returns its lower end."""
    known = np.concatenate([*errors, np.zeros(0)])
    known = known[np.isfinite(known) & (known > 0)]
    if not known.size:
        write_note(axes, "no errors" if any(map(len, errors)) else "no results yet")
        axes.set_yticks([])
        return 0.0
    use_log_axis(axes, known.min(), known.max())
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    return float(axes.get_ylim()[0])


def _draw_curves(axes: Any, one: Curves, lowest: float) -> None:
    for run in one.runs:
        marker = "o" if len(run["step"]) < FEW else None
        error = np.maximum(1 - run["test_accuracy"], lowest)
        axes.plot(run["step"], error, color=NAVY, lw=1, alpha=0.55, marker=marker)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    pieces = [piece.replace(" ", "\N{NO-BREAK SPACE}") for piece in shortened(one.name, 60).split(", ")]
    axes.set_title("\n".join(textwrap.wrap(", ".join(pieces), 30)), fontsize=9)
    if len(one.last):
        axes.annotate(
            f"{percent(float(one.last.mean()))} correct", (1, 1), (0, -3), xycoords="axes fraction",
            textcoords="offset points", ha="right", va="top", fontsize=9, color=ORANGE, weight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip


def _draw_strip(axes: Any, settings: Sequence[Curves], name: str) -> None:
    values = list(dict.fromkeys(one.values[name] for one in settings))
    if all(isinstance(value, (int, float)) for value in values):
        values.sort()
    for x, value in enumerate(values):
        last = np.concatenate([one.last for one in settings if one.values[name] == value])
        beside = 0.18 * np.sin(np.arange(len(last)) * 2.4)  # so that equal runs do not hide each other
        axes.plot(x + beside, last, "o", color=PEACH, ms=4, clip_on=False)
        if len(last):
            axes.plot([x - 0.25, x + 0.25], [last.mean()] * 2, color=ORANGE, lw=2)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_xticks(range(len(values)), [shortened(str(value), 10) for value in values])
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.set_title(f"test accuracy by {name}", fontsize=9)
    if not any(len(one.last) for one in settings):
        write_note(axes, "no results yet")
        axes.set_yticks([])
