"""Which classes are mistaken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minicnn.pictures.style import ERRORS, INK, LINE, PALE, SOFT, colour_map, percent, picture, shortened
from minicnn.storage.files import PathLike

MANY, CROWD = 16, 64  # classes


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, classes: int = 10) -> np.ndarray:
    """Return int64 [classes, classes]: how often true class `row` was predicted as `column`."""
    labels = np.asarray(labels, dtype=np.int64)
    predictions = np.asarray(predictions, dtype=np.int64)
    if labels.ndim != 1:
        raise ValueError(f"labels: expected shape [N], got {list(labels.shape)}")
    if labels.shape != predictions.shape:
        raise ValueError(f"predictions: expected shape {list(labels.shape)}, got {list(predictions.shape)}")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            got = f"{values.min()} to {values.max()}"
            raise ValueError(f"{name}: expected integers from 0 to {classes - 1}, got {got}")
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def draw_confusion(
    labels: np.ndarray,
    predictions: np.ndarray,
    path: PathLike,
    title: str = "",
    classes: Sequence[str] = "0123456789",
) -> None:
    """Draw how often each class was mistaken for another: a row for the true one, a column for the answer.

    Only errors are coloured, so that they stand out beside the thousands of correct answers on the
    grey diagonal. The accuracy for each class is at the end of its row. From `MANY` classes on the cells
    have no numbers, and from `CROWD` on neither names.
    """
    K = len(classes)
    counts = confusion_counts(labels, predictions, K)
    correct, total = int(counts.trace()), int(counts.sum())
    errors = np.ma.array(counts, mask=np.eye(K, dtype=bool))
    most = max(int(errors.max()), 1)
    names = [shortened(name) for name in classes]
    size = 5.8 if K <= MANY else 8.5  # inches
    facts = f"{percent(correct / total)} correct: {correct:,} of {total:,}" if total else "no images"

    with picture(path, title or "Confusion", facts, size, size) as figure:
        axes = figure.subplots()
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_facecolor(PALE)  # the masked diagonal
        axes.pcolormesh(errors, cmap=colour_map(ERRORS), vmin=0, vmax=most, edgecolors=LINE, linewidth=0.5)
        axes.set(xlim=(-0.02, K + 0.02), ylim=(K + 0.02, -0.02), xlabel="predicted", ylabel="true")
        if K > CROWD:
            axes.set(xticks=[], yticks=[])
            return
        letters = 11 if K <= 10 else max(5, 11 - K / 8)
        upright = all(len(name) <= 2 for name in names)
        centres = np.arange(K) + 0.5
        axes.set_xticks(centres, names, fontsize=letters, color=INK, rotation=0 if upright else 90)
        axes.set_yticks(centres, names, fontsize=letters, color=INK)
        for row, column in np.argwhere(counts) if K <= MANY else ():
            count = counts[row, column]
            dark = row != column and count > 0.75 * most
            axes.text(
                column + 0.5, row + 0.5, f"{count:,}", ha="center", va="center", fontsize=min(9.5, 95 / K),
                color="white" if dark else SOFT if row == column else INK,
            )  # fmt: skip
        right = 1.115 * K
        axes.text(right, -0.15, "correct", ha="right", va="bottom", color=SOFT, fontsize=9)
        for index, images in enumerate(counts.sum(axis=1)):
            accuracy = percent(counts[index, index] / images, 1) if images else "n/a"
            axes.text(right, index + 0.5, accuracy, ha="right", va="center", fontsize=min(9.5, letters))
