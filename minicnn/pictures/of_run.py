"""The pictures that lie in the directory of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minicnn.pictures.confusion import draw_confusion
from minicnn.pictures.curves import draw_curves, read_metrics
from minicnn.pictures.filters import draw_filters
from minicnn.pictures.mistakes import draw_mistakes
from minicnn.storage.outputs import METRICS, PICTURES

if TYPE_CHECKING:
    from minicnn.runs.run import Run


def draw_run(run: Run, probabilities: np.ndarray) -> None:
    """Draw all pictures of a run into its directory; `probabilities` [N, K] are those of the test images.

    Raises OSError or ValueError if one of them cannot be drawn.
    """
    directory, data = run.directory, run.data
    curves, confusion, filters, mistakes = (directory / name for name in PICTURES)
    draw_curves(read_metrics(directory / METRICS), curves)
    images, labels = data.test.images, data.test.labels
    draw_confusion(labels, probabilities.argmax(axis=1), confusion, classes=data.classes)
    draw_filters(run.network.parameters()[0].value, filters, shape=data.shape)
    draw_mistakes(images, labels, probabilities, mistakes, classes=data.classes)
