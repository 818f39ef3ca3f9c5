"""Test images in the order in which one wants to look at them."""

from __future__ import annotations

import numpy as np

from minicnn.explore.maps import Array


def mistakes_first(labels: Array, probabilities: Array) -> Array:
    """The numbers of all images [N]: the most confident mistakes first, then the rest in their order.

    labels [N], probabilities [N, classes].
    """
    numbers, correct = np.arange(len(labels)), probabilities.argmax(axis=1) == labels
    confidence = probabilities.max(axis=1)
    return np.lexsort((np.where(correct, numbers, 0), np.where(correct, 0, -confidence), correct))
