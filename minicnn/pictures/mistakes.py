"""The images on which the network was most certain of a wrong answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minicnn.pictures.style import draw_tiles, percent, picture, plural, shortened, write_note
from minicnn.storage.files import PathLike


def confident_mistakes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of all mistakes, the most confident first (ties: the first image first).

    The confidence is the probability [N, classes] of the predicted class; NaN counts as 0.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = np.nan_to_num(probabilities[wrong].max(axis=1, initial=0.0), nan=0.0)
    return wrong[np.argsort(-confidence, kind="stable")]


def draw_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    path: PathLike,
    count: int = 25,
    title: str = "",
    classes: Sequence[str] | None = None,
) -> None:
    """Draw the images [N, H, W] or [N, H, W, 3] on which the network was most certain of a wrong answer."""
    images, labels, probabilities = np.asarray(images), np.asarray(labels), np.asarray(probabilities)
    for name, values in (("labels", labels), ("probabilities", probabilities)):
        if len(values) != len(images):
            raise ValueError(f"{name}: expected one for each of {len(images)} images, got {len(values)}")
    wrong = confident_mistakes(labels, probabilities)
    chosen = wrong[: max(count, 0)]
    facts = f"{plural(len(wrong), 'mistake')} in {plural(len(images), 'image')}"
    if len(chosen) < len(wrong):
        facts = f"the {len(chosen)} most confident of {facts}"

    columns = max(5, math.ceil(math.sqrt(len(chosen))))
    rows, gap, size = max(1, math.ceil(len(chosen) / columns)), (0.4, 0.2), 1.4
    width, height = (size * (n * (1 + g) - g) for n, g in zip((columns, rows), gap[::-1], strict=True))
    with picture(path, title or "Confident mistakes", facts, width, height) as figure:
        axes = figure.subplots()
        if not len(chosen):
            axes.set_axis_off()
            write_note(axes, "no images" if not len(images) else "no mistakes" if not len(wrong) else "")
            return
        _, corners = draw_tiles(axes, images[chosen], columns, "gray_r", 0, 255, gap)
        for index, (x, y) in zip(chosen, corners, strict=True):
            predicted = probabilities[index].argmax()
            confidence = percent(float(probabilities[index, predicted]), 1)
            true, answer = (
                shortened(classes[k], 9) if classes else str(k) for k in (labels[index], predicted)
            )
            text = f"true {true}, predicted {answer}\n{confidence}"
            axes.text(x + 0.5, y + 1.04, text, ha="center", va="top", fontsize=8.5)
