"""What looks wrong in a data set, though it may be right. Nothing is changed unasked: options do that."""

from __future__ import annotations

import numpy as np

from minicnn.data.dataset import Dataset, Split
from minicnn.data.mnist import digit_means

RARE = 0.1  # of the images of the most frequent class
SWAPPED = 0.06  # by how much a correlation rises when images are turned upright
FEWEST = 50  # images in which that can be seen


def look(data: Dataset) -> list[str]:
    """A sentence, with the option that settles it, for each thing that looks wrong."""
    found = []
    one_channel = data.train.images.ndim == 3
    if one_channel and looks_transposed(data.train, "emnist" in data.kind.lower()):
        found.append("the images look like handwriting with rows and columns swapped; --transpose turns them")
    if one_channel and (light := light_borders(data.train)) > 0.5:
        found.append(
            f"{light:.0%} of the images have a light border; if they are dark on light, use --invert"
        )
    counts = np.bincount(data.train.labels, minlength=len(data.classes))
    if counts.min() < RARE * counts.max():
        rarest = data.classes[int(counts.argmin())]
        found.append(f"class {rarest} has {counts.min()} training images, the most frequent {counts.max()}")
    return found


def looks_transposed(split: Split, expected: bool = False) -> bool:
    """Whether images look more like MNIST's digits once their rows and columns are swapped.

    The measure is the largest correlation of an image with the mean images of the ten digits, averaged over
    the images. Swapping raises it by 0.18 for MNIST stored transposed, by 0.13 for scikit-learn's digits and
    by 0.11 for printed letters, and lowers it by as much where they are upright; clothes (Fashion-MNIST)
    change by 0.04. Asked for is `SWAPPED`, or any rise where transposed images are `expected`.
    """
    if len(split) < FEWEST:
        return False
    images = split.images[:: max(1, len(split) // 1000)]
    if light_borders(split) > 0.5:
        images = 255 - images
    H, W = images.shape[1:]
    upright, turned = digit_means((H, W)), digit_means((W, H)).swapaxes(1, 2)
    vectors = _standardized(images)
    found = [float((vectors @ _standardized(means).T).max(axis=1).mean()) for means in (upright, turned)]
    return found[1] - found[0] > (0 if expected else SWAPPED)


def _standardized(images: np.ndarray) -> np.ndarray:
    """Images as vectors of mean 0 and length 1, so that products are correlations: [N, H * W]."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9)


def like_mnist(split: Split) -> bool:
    """Whether images are prepared as MNIST's digits are: their centre of mass in the middle, in a box of 20.

    That is what `minicnn.data.photo.preprocess` makes of a photograph. All images of MNIST are so, none of
    Fashion-MNIST; nine of ten are asked for.
    """
    images = split.images[:: max(1, len(split) // 1000)]
    if images.shape[1:] != (28, 28):
        return False
    mass = images.sum(axis=(1, 2), dtype=np.float64) + 1e-9  # [N]
    middle = np.arange(28) - 13.5
    centred = [np.abs(images.sum(axis=axis) @ middle / mass) < 1.5 for axis in (1, 2)]
    ink = images > 0
    sides = [np.ptp(np.where(ink.any(axis=axis), np.arange(28), 14), axis=1) < 20 for axis in (1, 2)]
    return bool((centred[0] & centred[1] & sides[0] & sides[1]).mean() > 0.9)


def light_borders(split: Split) -> float:
    """The share of the images whose border is, in the median, lighter than half of full ink."""
    images = split.images[:: max(1, len(split) // 1000)]
    border = np.concatenate(
        [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1
    )  # [N, 2 (H + W)]
    return float((np.median(border, axis=1) > 127).mean())
