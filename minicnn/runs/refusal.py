"""When a network should say that it is not sure: a rule calibrated on the validation images of its run.

    score        the distance of an image's features from the nearest mean of a class: what is foreign is far
    threshold    the score that one validation image in a hundred exceeds
    temperature  what the logits are divided by, so that probabilities are as often right as they say
    least        the probability of the answer that one validation image in a hundred misses: what lies
                 between two classes is near to both

The features are the inputs of the last layer, scaled to length 1. The distance is Mahalanobis's, with one
covariance for all classes, shrunk towards a multiple of the identity. Source: Lee, Lee, Lee, Shin: A Simple
Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks (2018). Means and
covariance come from half of the validation images, all else from the rest: of the images
that a covariance was made from, the distances are too small.

The rule lies beside the checkpoint of a run, in `refusal.safetensors`, and belongs to its weights.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicnn.data.dataset import Split
from minicnn.engine import reference
from minicnn.engine.network import Sequential
from minicnn.runs.directory import writing
from minicnn.runs.features import features_of
from minicnn.storage.checksummed import read_checksummed, write_checksummed
from minicnn.storage.files import PathLike
from minicnn.storage.outputs import REFUSAL

FORMAT = "minicnn refusal 1"
FEWEST = 400  # validation images, below which nothing is calibrated
KEPT = 0.99  # of the validation images, by each of the two conditions
SHRINK = 0.05  # of the covariance: the part that is the mean variance, alike in all directions
MOST = 2048  # features: of more, the covariance would be too large
MEMORY = 1 << 26  # bytes of the arrays of a rule, at most


class Refusal(NamedTuple):
    """The rule of one network. Features have D numbers, there are K classes."""

    means: np.ndarray  # float32 [K, D], whitened
    whitening: np.ndarray  # float32 [D, D]: features times it have the covariance 1
    threshold: float
    temperature: float
    least: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """How far images with features [N, D] are from all classes: [N], squared distances."""
        white = _unit(features) @ self.whitening
        squares = np.einsum("nd,nd->n", white, white)[:, None] + (self.means**2).sum(axis=1)
        return (squares - 2 * white @ self.means.T).min(axis=1)

    def unsure(self, features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Whether each image is far from all classes, or its best of `probabilities` [N, K] low: bool [N]."""
        return (self.scores(features) > self.threshold) | (probabilities.max(axis=1) < self.least)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities [N, K]."""
        return reference.softmax(logits.astype(np.float64) / self.temperature)


def calibrate(network: Sequential, validation: Split) -> Refusal | None:
    """The rule for a network; None if there are too few images, none of some class, or too many features."""
    classes = network.shapes[-1][0]
    many = len(network.shapes) < 3 or int(np.prod(network.shapes[-2])) > MOST
    if (
        many
        or len(validation) < FEWEST
        or len(np.unique(validation.labels[_halves(len(validation))[0]])) < classes
    ):
        return None
    features, logits = features_of(network, validation.images)
    if not (np.isfinite(features).all() and np.isfinite(logits).all()):
        return None
    return _calibrated(features, logits, validation.labels.astype(np.int64))


def _calibrated(features: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Refusal | None:
    half, other = _halves(len(labels))
    means, whitening = _fitted(_unit(features[half]), labels[half], logits.shape[1])
    if whitening is None:
        return None
    rule = Refusal(means @ whitening, whitening, 0.0, _temperature(logits[other], labels[other]), 0.0)
    threshold = float(np.quantile(rule.scores(features[other]), KEPT))
    highest = rule.probabilities(logits[other]).max(axis=1)
    return rule._replace(threshold=threshold, least=float(np.quantile(highest, 1 - KEPT)))


def _fitted(some: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The mean of each class [K, D], and the whitening [D, D]; None if all features are those of the means.

    `some` [N, D] is overwritten: this is where most memory is needed.
    """
    means = np.stack([some[labels == k].mean(axis=0) for k in range(classes)])
    some -= means[labels]
    D = some.shape[1]
    covariance = some.T @ some / len(some)
    level = float(np.trace(covariance)) / D
    if not level > 0:
        return means, None
    covariance = (1 - SHRINK) * covariance + SHRINK * level * np.eye(D, dtype=np.float32)
    return means, np.linalg.inv(np.linalg.cholesky(covariance.astype(np.float64))).T.astype(np.float32)


def _halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of so many images, by their numbers; always the same, and in no order."""
    order = np.random.default_rng(0).permutation(count)
    return order[::2], order[1::2]


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least negative log likelihood of the labels, from 0.05 to 20.

    Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks (2017).
    """
    exact = logits.astype(np.float64)
    low, high = np.log(0.05), np.log(20)
    for _ in range(4):  # convex in 1 / T: finer and finer grids around the best
        grid = np.linspace(low, high, 15)
        losses = [reference.softmax_cross_entropy_forward(exact / np.exp(t), labels)[0] for t in grid]
        best = int(np.argmin(losses))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 14)]
    return float(np.exp((low + high) / 2))


# --- the file ---


def write_rule(directory: PathLike, network: Sequential, validation: Split) -> None:
    """Calibrate the rule for the network of a run, and save it in its directory, if there is one.

    Raises RunError if it cannot be written.
    """
    if (rule := calibrate(network, validation)) is not None:
        with writing(directory):
            save(directory, rule, network)


def save(directory: PathLike, rule: Refusal, network: Sequential) -> None:
    """Write the rule of a run's network beside its checkpoint. Raises OSError."""
    numbers = np.array([rule.threshold, rule.temperature, rule.least])
    arrays = {"means": rule.means, "whitening": rule.whitening, "numbers": numbers}
    texts = {"format": FORMAT, "weights": _digest(network)}
    write_checksummed(Path(directory) / REFUSAL, arrays, texts)


def read(directory: PathLike, network: Sequential) -> Refusal | None:
    """The rule of a run's network; None if there is none, or one of other weights.

    Raises ValueError, naming the file, if it cannot be used.
    """
    path = Path(directory) / REFUSAL
    if not os.path.lexists(path):
        return None
    try:
        arrays, texts = read_checksummed(path, MEMORY)
        if texts.get("format") != FORMAT:
            raise ValueError(f"expected {FORMAT!r}")
        if texts.get("weights") != _digest(network):
            return None
        K, D = network.shapes[-1][0], int(np.prod(network.shapes[-2]))
        for name, shape in {"means": (K, D), "whitening": (D, D), "numbers": (3,)}.items():
            array = arrays.get(name, np.zeros(0))
            if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"{name}: expected finite numbers {list(shape)}")
        rule = Refusal(arrays["means"], arrays["whitening"], *arrays["numbers"].tolist())
        if rule.temperature <= 0:
            raise ValueError(f"temperature: expected a number above 0, got {rule.temperature}")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}; --always answers without it") from None
    return rule


def _digest(network: Sequential) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(network.arrays().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
