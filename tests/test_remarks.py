"""What looks wrong in a data set is said, with the option that settles it; what is right is not."""

import numpy as np
import pytest

from minicnn import load_mnist
from minicnn.data import Dataset, Split
from minicnn.data.remarks import FEWEST, look, looks_transposed


@pytest.fixture(scope="module")
def digits():
    """The first 1,000 digits of MNIST's training images."""
    train = load_mnist().train
    return Split(train.images[:1000], train.labels[:1000])


def changed(split, transpose=False, invert=False, kind="IDX files"):
    images = split.images.swapaxes(1, 2) if transpose else split.images
    turned = Split(255 - images if invert else images, split.labels)
    return Dataset(turned, turned, turned, kind=kind)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("invert", [False, True])
def test_transposed_and_inverted_digits_are_noticed_and_others_are_not(digits, transpose, invert):
    said = " ".join(look(changed(digits, transpose, invert)))
    assert ("--transpose turns them" in said) == transpose
    assert ("use --invert" in said) == invert


@pytest.mark.parametrize("start", range(0, 1000, 200))
def test_a_few_digits_are_enough(digits, start):
    few = Split(digits.images[start : start + FEWEST], digits.labels[:FEWEST])
    assert not looks_transposed(few)
    assert looks_transposed(changed(few, transpose=True).train)


@pytest.mark.parametrize("shape", [(8, 8), (32, 24)])
def test_digits_of_other_sizes_are_compared_too(digits, shape):
    from minicnn.data.image_file import resized

    images = np.stack([255 * resized(image / 255, shape) for image in digits.images[:200]]).astype(np.uint8)
    split = Split(images, digits.labels[:200])
    assert not looks_transposed(split)
    assert looks_transposed(changed(split, transpose=True).train)


def test_noise_is_no_handwriting(digits):
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28), dtype=np.uint8)
    split = Split(images, np.zeros(500, np.uint8))
    assert not looks_transposed(split)
    assert not looks_transposed(changed(split, transpose=True).train)


def test_emnist_that_was_turned_upright_is_not_remarked_on(digits):
    kind = "IDX files of emnist-letters"
    assert look(changed(digits, kind=kind)) == []
    assert "--transpose" in look(changed(digits, transpose=True, kind=kind))[0]
