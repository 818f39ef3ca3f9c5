"""Flags and feet on MNIST's ones."""

import dataclasses

import numpy as np
import pytest

from minicnn import load_mnist
from minicnn.data.dataset import Split
from minicnn.data.loader import Loader
from minicnn.data.ones import add_flags, flagged
from minicnn.runs.run import build_loader
from minicnn.runs.settings import settings_for


@pytest.fixture(scope="module")
def digits():
    return load_mnist().validation


def upright():
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 13:16] = 255
    return image


def changed(before, after):
    return (before != after).reshape(len(before), -1).any(axis=1)


def test_a_flag_falls_to_the_left_of_the_top():
    rows, columns = np.nonzero(flagged(upright(), 0.5, 0.5, 1, 0, 0) > upright())
    assert columns.max() <= 15  # no further right than the stroke
    assert columns.min() < 10
    assert rows.max() < 14


def test_a_foot_reaches_to_both_sides_of_the_bottom():
    without, with_foot = flagged(upright(), 0.5, 0.5, 1, 0.5, 0.5), flagged(upright(), 0.5, 0.5, 0, 0.5, 0.5)
    rows, columns = np.nonzero(with_foot > without)
    assert rows.min() >= 21
    assert columns.min() < 11
    assert columns.max() > 17


def test_no_ink_is_lost(digits):
    images = digits.images.copy()
    add_flags(images, digits.labels, 1.0, seed=0, step=0)
    assert (images >= digits.images).all()


def test_only_ones_are_changed(digits):
    images = digits.images.copy()
    add_flags(images, digits.labels, 1.0, seed=0, step=0)
    assert set(digits.labels[changed(digits.images, images)]) == {1}


@pytest.mark.parametrize("image", [
    np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8), np.eye(28, dtype=np.uint8) * 255,
], ids=["blank", "full", "slanted"])  # fmt: skip
def test_what_is_no_upright_stroke_is_left_as_it_is(image):
    np.testing.assert_array_equal(flagged(image, 0.5, 0.5, 0, 0.5, 0.5), image)


def test_half_the_share_changes_half_as_many(digits):
    ones = Split(np.repeat(upright()[None], 1000, axis=0), np.ones(1000, np.int64))
    images = ones.images.copy()
    add_flags(images, ones.labels, 0.5, seed=0, step=0)
    assert 440 < changed(ones.images, images).sum() < 560


def test_the_step_and_the_seed_decide_what_is_drawn(digits):
    def drawn(seed, step):
        images = digits.images[:500].copy()
        add_flags(images, digits.labels[:500], 0.5, seed, step)
        return images.tobytes()

    assert drawn(3, 7) == drawn(3, 7)
    assert len({drawn(3, 7), drawn(3, 8), drawn(4, 7)}) == 3


def test_a_loader_draws_flags_and_leaves_the_images_of_the_split(digits):
    before = digits.images.copy()
    x, labels = Loader(digits, 200, 0, flags=1.0)(1)
    plain, _ = Loader(digits, 200, 0)(1)
    assert set(labels[changed(plain, x)]) == {1}
    np.testing.assert_array_equal(digits.images, before)


def test_ones_of_other_data_get_no_flag():
    data = load_mnist()
    letters = dataclasses.replace(data, classes=tuple("ABCDEFGHIJ"))
    settings = settings_for(flags=1.0, batch_size=200)
    plain, _ = build_loader(dataclasses.replace(settings, flags=0.0), data)(1)
    assert (build_loader(settings, data)(1)[0] != plain).any()
    np.testing.assert_array_equal(build_loader(settings, letters)(1)[0], plain)
