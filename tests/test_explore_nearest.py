"""The nearest training digits on the page `minicnn explore`: found as comparing all of them would."""

import numpy as np
import pytest

from minicnn import load_mnist, softmax_regression, tutorial_network
from minicnn.data import to_float
from minicnn.explore.maps import unfused
from minicnn.explore.nearest import CANDIDATES, DIMENSIONS, Features, nearest

IMAGES = load_mnist().train.images[:300]


def at_once(job):
    return job()


@pytest.fixture(scope="module")
def network():
    return tutorial_network(seed=2, init="he")


@pytest.fixture(scope="module")
def features(network):
    features = Features(network, IMAGES)
    seen = [features.seen for _ in features.compute()]
    assert seen == [100, 200, 300]
    return features


@pytest.fixture(scope="module")
def exact(network):
    """What reaches the last layer, for all images."""
    y = to_float(IMAGES)
    for layer in unfused(network).layers[:-1]:
        y = layer.forward(y)
    return y


def test_the_features_are_what_reaches_the_last_layer(features, exact):
    np.testing.assert_allclose(features.of(IMAGES[:7])[0], exact[:7], atol=1e-4)
    assert features.projected.shape == (300, DIMENSIONS)
    assert features.projected.dtype == np.float32


@pytest.mark.parametrize("number", [0, 77, 299])
def test_a_training_image_is_its_own_nearest(features, number):
    found = nearest(features, IMAGES[number], 5, at_once)
    assert found.numbers[0] == number
    assert found.distances[0] == pytest.approx(0, abs=1e-3)
    assert found.distances[1] > 0.1


def test_the_nearest_are_those_of_a_comparison_with_all(features, exact, network):
    predicted = network.predict(IMAGES).argmax(axis=1)
    for number, image in enumerate(load_mnist().test.images[:10]):
        query, _ = features.of(image[None])
        distances = np.sqrt(((exact - query) ** 2).sum(axis=1))
        found = nearest(features, image, 12, at_once)
        np.testing.assert_array_equal(found.numbers, np.argsort(distances, kind="stable")[:12], str(number))
        np.testing.assert_allclose(found.distances, distances[found.numbers], rtol=1e-3)
        np.testing.assert_array_equal(found.predicted, predicted[found.numbers])


def test_projections_keep_distances_roughly(features, exact):
    # Their mean error is about 1 / sqrt(2 * 64) = 9 %.
    a, b = np.arange(0, 150), np.arange(150, 300)
    true = np.linalg.norm(exact[a] - exact[b], axis=1)
    projected = np.linalg.norm(features.projected[a] - features.projected[b], axis=1)
    assert np.abs(projected / true - 1).mean() < 0.15


def test_the_work_comes_in_pieces_of_at_most_100_images(features, monkeypatch):
    sizes, of = [], features.of
    monkeypatch.setattr(features, "of", lambda images: sizes.append(len(images)) or of(images))
    jobs = []
    nearest(features, IMAGES[3], 12, lambda job: jobs.append(job) or job())
    assert len(jobs) == 1 + CANDIDATES // 100
    assert max(sizes) <= 101


def test_a_network_without_hidden_layer_compares_pixels():
    features = Features(softmax_regression(ops="reference"), IMAGES[:50])
    for _ in features.compute():
        pass
    found = nearest(features, IMAGES[9], 3, at_once)
    pixels = to_float(IMAGES[:50]).reshape(50, -1)
    expected = np.argsort(((pixels - pixels[9]) ** 2).sum(axis=1), kind="stable")[:3]
    np.testing.assert_array_equal(found.numbers, expected)
