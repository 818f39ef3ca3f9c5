"""Splitting: which images are held out for validation and for the test, where the data set does not say."""

from __future__ import annotations

import numpy as np

TEST_SHARE = 1 / 7  # as 10,000 of MNIST's 70,000
VALIDATION, VALIDATION_SHARE = 5000, 1 / 12  # MNIST's 5,000 of 60,000


def stratified(labels: np.ndarray, count: int, seed: int, stream: int) -> np.ndarray:
    """Choose `count` of N images at random, from each class the same share: bool [N].

    A class keeps at least one image that is not chosen. The shares are rounded so that the total is `count`
    wherever the classes allow it (largest remainder).
    """
    rng = np.random.default_rng([seed, stream])
    values, counts = np.unique(labels, return_counts=True)
    exact = counts * (count / len(labels))
    chosen = np.minimum(exact.astype(np.int64), counts - 1)
    for index in np.argsort(-(exact - chosen), kind="stable"):
        if chosen.sum() < count and chosen[index] < min(exact[index], counts[index] - 1):
            chosen[index] += 1
    held_out = np.zeros(len(labels), bool)
    for value, number in zip(values, chosen, strict=True):
        held_out[rng.permutation(np.flatnonzero(labels == value))[:number]] = True
    return held_out


def validation_count(images: int) -> int:
    """How many of the training images are held out for validation: 5,000, or a twelfth if they are few."""
    return VALIDATION if images >= 2 * VALIDATION else max(1, int(VALIDATION_SHARE * images + 0.5))


def test_count(images: int) -> int:
    """How many of all images are held out for the test."""
    return max(1, round(TEST_SHARE * images))
