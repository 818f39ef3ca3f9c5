"""First values: their distribution, and that a seed decides them."""

import numpy as np
import pytest

from minicnn.engine.initializers import as_generator, constant, he_normal, truncated_normal


def draw(initializer, shape=(200, 1000), seed=0):
    return initializer(np.random.default_rng(seed), shape)


def test_truncated_normal_stays_within_two_standard_deviations():
    largest = np.abs(draw(truncated_normal(0.1))).max()
    assert 0.199 < largest <= 0.2


def test_truncated_normal_has_the_mean_and_deviation_of_its_distribution():
    values = draw(truncated_normal(0.1))
    assert values.std() == pytest.approx(0.08796, rel=0.005)
    assert values.mean() == pytest.approx(0, abs=0.08796 * 4 / np.sqrt(values.size))


def test_truncated_normal_draws_again_instead_of_clipping():
    values = draw(truncated_normal(1.0)).ravel()
    assert len(np.unique(values)) == values.size
    near_the_edge = np.mean(np.abs(values) > 1.9)
    assert near_the_edge == pytest.approx(0.01246, rel=0.1)  # (2 Phi(2) - 2 Phi(1.9)) / 0.9545


def test_he_normal_has_variance_2_over_fan_in():
    assert draw(he_normal, (5, 5, 40, 300)).std() == pytest.approx(np.sqrt(2 / 1000), rel=0.01)
    assert draw(he_normal, (400, 500)).std() == pytest.approx(np.sqrt(2 / 400), rel=0.01)


def test_constant_is_the_same_number_everywhere():
    values = draw(constant(0.1), (3, 4))
    assert values.tolist() == [[0.1] * 4] * 3


@pytest.mark.parametrize("initializer", [truncated_normal(0.1), he_normal])
def test_a_seed_decides_the_values(initializer):
    np.testing.assert_array_equal(draw(initializer), draw(initializer))
    assert not np.array_equal(draw(initializer), draw(initializer, seed=1))


@pytest.mark.parametrize("initializer", [truncated_normal(0.1), he_normal, constant(0.1)])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4, 5)])
def test_values_have_the_shape_asked_for_in_float64(initializer, shape):
    values = draw(initializer, shape)
    assert values.shape == shape
    assert values.dtype == np.float64


def test_a_generator_is_used_as_it_is_and_a_seed_makes_a_new_one():
    rng = np.random.default_rng(7)
    assert as_generator(rng) is rng
    assert as_generator(7).random() == rng.random()
