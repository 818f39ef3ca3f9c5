"""Why one digit and not another, on the page `minicnn explore`: the lead, its units, what covers it."""

import numpy as np
import pytest

from minicnn import load_mnist, tutorial_network
from minicnn.data import to_float
from minicnn.explore.maps import compute_maps, unfused
from minicnn.explore.why import FAVOURITES, PAPER, Favourites, occlusion, trace_lead

TEST = load_mnist().test


@pytest.fixture(scope="module")
def network():
    return unfused(tutorial_network(seed=2, ops="reference", init="he"))


@pytest.fixture(scope="module")
def maps(network):
    return compute_maps(network, to_float(TEST.images[:1])[0])


@pytest.mark.parametrize(("a", "b"), [(7, 1), (1, 7), (0, 9), (4, 4)])
def test_the_terms_of_a_lead_add_up_to_it(maps, a, b):
    trace, scores = trace_lead(maps, a, b), maps.outputs[-1].astype(float)
    assert trace.value == scores[a] - scores[b]
    assert trace.by_hand() == pytest.approx(trace.value, abs=1e-5)
    np.testing.assert_array_equal(trace.left.values.ravel(), maps.outputs[-2])


def test_a_lead_is_one_of_digits(maps):
    with pytest.raises(ValueError, match="digit: expected 0 to 9, got 10"):
        trace_lead(maps, 10, 1)


def test_occlusion_is_the_lead_of_covered_images(network):
    x = to_float(TEST.images[:1])[0]
    change = occlusion(network, x, 7, 2)
    assert change.shape == (28, 28)
    whole = network.forward(x[None])[0]
    for row, column in [(0, 0), (10, 14), (27, 27), (5, 20)]:
        covered = x.copy()
        rows, columns = (slice(max(n - PAPER // 2, 0), n + PAPER // 2 + 1) for n in (row, column))
        covered[rows, columns] = 0
        scores = network.forward(covered[None])[0]
        expected = (scores[7] - scores[2]) - (whole[7] - whole[2])
        assert change[row, column] == pytest.approx(expected, abs=1e-5)
    assert change[0, 0] == pytest.approx(0, abs=1e-5)  # blank paper on blank paper
    assert abs(change[10, 14]) > 1e-4


def test_favourites_are_the_images_that_excite_a_unit_most(network):
    images = TEST.images[:250]
    favourites = Favourites(network)
    for _ in favourites.look_at_all(images):
        pass
    hidden = np.concatenate([compute_maps(network, x).outputs[-2][None] for x in to_float(images)])
    best = np.sort(hidden, axis=0)[::-1][:FAVOURITES]
    np.testing.assert_allclose(favourites.values, best.T, atol=1e-4)
    for unit in range(0, 1024, 50):
        np.testing.assert_allclose(hidden[favourites.images[unit], unit], best[:, unit], atol=1e-4)
