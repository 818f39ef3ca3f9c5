"""Which digits are mistaken for which."""

from __future__ import annotations

import numpy as np

from minicnn.pictures.style import ERRORS, INK, LINE, PALE, SOFT, colour_map, percent, picture
from minicnn.storage.files import PathLike


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


def draw_confusion(labels: np.ndarray, predictions: np.ndarray, path: PathLike, title: str = "") -> None:
    """Draw how often each digit was mistaken for another: a row for the true digit, a column for the answer.

    Only errors are coloured, so that they stand out beside the thousands of correct answers on the
    grey diagonal. The accuracy for each digit is at the end of its row.
    """
    counts = confusion_counts(labels, predictions)
    correct, total = int(counts.trace()), int(counts.sum())
    errors = np.ma.array(counts, mask=np.eye(10, dtype=bool))
    most = max(int(errors.max()), 1)
    facts = f"{percent(correct / total)} correct: {correct:,} of {total:,}" if total else "no images"

    with picture(path, title or "Confusion", facts, 5.8, 5.8) as figure:
        axes = figure.subplots()
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_facecolor(PALE)  # the masked diagonal
        axes.pcolormesh(errors, cmap=colour_map(ERRORS), vmin=0, vmax=most, edgecolors=LINE, linewidth=0.5)
        axes.set(xlim=(-0.02, 10.02), ylim=(10.02, -0.02), xlabel="predicted", ylabel="true")
        axes.set_xticks(np.arange(10) + 0.5, list("0123456789"), fontsize=11, color=INK)
        axes.set_yticks(np.arange(10) + 0.5, list("0123456789"), fontsize=11, color=INK)
        for row, column in np.argwhere(counts):
            count = counts[row, column]
            dark = row != column and count > 0.75 * most
            axes.text(
                column + 0.5, row + 0.5, f"{count:,}", ha="center", va="center", fontsize=9.5,
                color="white" if dark else SOFT if row == column else INK,
            )  # fmt: skip
        axes.text(11.15, -0.15, "correct", ha="right", va="bottom", color=SOFT, fontsize=9)
        for digit, images in enumerate(counts.sum(axis=1)):
            accuracy = percent(counts[digit, digit] / images, 1) if images else "n/a"
            axes.text(11.15, digit + 0.5, accuracy, ha="right", va="center", fontsize=9.5)
