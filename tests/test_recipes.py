"""The recipes: values that read like a table."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.runs.settings import settings_for
from minicnn.tutorial import RECIPES, Recipe, tutorial_network

every_recipe = pytest.mark.parametrize("name", RECIPES)
schedules = pytest.mark.parametrize("schedule", ["linear", "cosine"])


def recipe(schedule="constant", steps=100, **how):
    return Recipe(steps, 50, 0.5, 1.0, schedule=schedule, **how)


def rates(**how):
    made = recipe(**how)
    return np.array([made.learning_rate_at(step) for step in range(1, made.steps + 1)])


@every_recipe
def test_a_recipe_is_a_run_s_settings(name):
    assert dataclasses.asdict(settings_for(recipe=name)).items() >= dataclasses.asdict(RECIPES[name]).items()


@every_recipe
def test_a_setting_that_is_given_replaces_the_recipes(name):
    changed = settings_for(recipe=name, learning_rate=0.125, keep_prob=0.875)
    assert (changed.learning_rate, changed.keep_prob) == (0.125, 0.875)
    assert changed == dataclasses.replace(settings_for(recipe=name), learning_rate=0.125, keep_prob=0.875)


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPES["fast"].steps = 1


def test_the_tutorial_is_the_tutorial():
    tutorial = RECIPES["tutorial"]
    assert tutorial == Recipe(steps=10_000, batch_size=50, learning_rate=1e-4, keep_prob=0.5)
    assert {tutorial.learning_rate_at(step) for step in (1, 2, 5000, 10_000, 20_000)} == {1e-4}


@given(
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    steps=st.integers(1, 300),
    warmup=st.floats(0, 1, exclude_max=True),
    min_lr_ratio=st.floats(0, 1, exclude_max=True),
)
def test_a_learning_rate_rises_then_falls_and_never_reaches_0(schedule, steps, warmup, min_lr_ratio):
    found = rates(schedule=schedule, steps=steps, warmup=warmup, min_lr_ratio=min_lr_ratio)
    assert (found > 0).all()
    assert (found <= 0.5 * (1 + 1e-9)).all()
    top = found.argmax()
    assert (np.diff(found[: top + 1]) >= 0).all()
    assert (np.diff(found[top:]) <= 1e-12).all()


def test_the_warmup_is_a_line():
    np.testing.assert_allclose(rates(warmup=0.1)[:12], 0.5 * np.minimum(np.arange(1, 13) / 10, 1))


@schedules
def test_a_schedule_passes_its_middle_at_half_the_rate_and_ends_near_0(schedule):
    found = rates(schedule=schedule, steps=1001)
    assert found[0] == 0.5
    assert found[501] == pytest.approx(0.25, abs=0.001)
    assert found[-1] < 0.001


@schedules
def test_a_schedule_with_a_min_lr_ratio_ends_near_it(schedule):
    found = rates(schedule=schedule, steps=1001, min_lr_ratio=0.2)
    assert found[0] == pytest.approx(0.5)
    assert found[501] == pytest.approx(0.3, abs=0.001)
    assert found[-1] == pytest.approx(0.1, abs=0.001)


def test_he_weights_keep_the_scale_and_have_no_bias():
    network = tutorial_network(0, init="he", ops="reference")
    for p in network.parameters():
        if p.name.endswith("bias"):
            assert not p.value.any()
        else:
            fan_in = np.prod(p.value.shape[:-1])
            assert p.value.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.1)


def test_an_unknown_initialization_is_refused():
    with pytest.raises(ValueError, match="init: expected one of tutorial, he, got 'zero'"):
        tutorial_network(0, init="zero", ops="reference")
