"""What a sweep varies: the options as they are typed, and the runs that result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.runs.settings import settings_for
from minicnn.sweeps.grid import MOST_CELLS, Grid, parse_seeds, parse_values


@given(st.sets(st.integers(0, 300), min_size=1))
def test_seeds_written_as_numbers_and_ranges_are_read_back(seeds):
    ranges, wanted = [], sorted(seeds)
    for seed in wanted:
        if ranges and ranges[-1][1] == seed - 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
    assert parse_seeds(text) == wanted


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "1-", "1,,2", "1.5", "0-99999", "0-9999,10000", "٣"])
def test_what_is_no_list_of_seeds_is_refused(text):
    with pytest.raises(ValueError, match="^seeds: expected"):
        parse_seeds(text)


def test_a_seed_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match="seeds: expected each value once, got 2 twice"):
        parse_seeds("0-3,2")


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("learning_rate", "1e-4, 3e-4", [1e-4, 3e-4]),
        ("steps", "100,200", [100, 200]),
        ("plain", "true,False", [True, False]),
        ("schedule", "constant,cosine", ["constant", "cosine"]),
    ],
)
def test_values_have_the_type_of_their_setting(name, text, values):
    found = parse_values(name, text)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("stepps", "1", "stepps: no such setting; there are steps"),
        ("steps", "1.5", "steps: expected an integer, got '1.5'"),
        ("learning_rate", "1e-4,", "learning_rate: expected a number, got ''"),
        ("plain", "1", "plain: expected true or false, got '1'"),
        ("steps", "1,1", "steps: expected each value once, got 1 twice"),
    ],
)
def test_what_is_no_value_of_the_setting_is_refused(name, text, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        parse_values(name, text)


GRID = Grid({"steps": 7}, {"learning_rate": [1e-4, 3e-4], "recipe": ["tutorial", "fast"], "seed": [4, 5]})


def test_there_is_a_cell_for_each_combination_seed_by_seed():
    assert [cell.values["seed"] for cell in GRID.cells] == [4] * 4 + [5] * 4
    assert len({cell.name for cell in GRID.cells}) == 8
    assert GRID.cells[1].values == {"learning_rate": 1e-4, "recipe": "fast", "seed": 4}


def test_a_cell_has_the_settings_of_its_recipe_with_its_values():
    assert GRID.cells[1].settings == settings_for(recipe="fast", learning_rate=1e-4, seed=4, steps=7)


def test_the_name_of_a_cell_is_a_name_for_a_directory_everywhere():
    assert GRID.cells[0].name == "learning_rate=0.0001,recipe=tutorial,seed=4"
    names = [cell.name for cell in Grid({}, {"data": ["/a/b", "c:\\d*"], "plain": [True]}).cells]
    assert names == ["data=_a_b,plain=true", "data=c__d_,plain=true"]


@pytest.mark.parametrize(
    ("fixed", "varied", "message"),
    [
        ({"x": 1}, {}, "x: no such setting"),
        ({"seed": 1}, {"seed": [1, 2]}, "seed: expected one value or a list of values, got both"),
        ({}, {"seed": []}, f"expected 1 to {MOST_CELLS} runs, got 0"),
        ({}, {"seed": range(101), "steps": range(1, 101)}, f"expected 1 to {MOST_CELLS} runs, got 10100"),
        ({}, {"steps": [1, 1]}, "steps: expected each value once"),
        ({}, {"learning_rate": [1e-3, -1.0]}, "learning_rate: expected a finite number above 0"),
        (
            {"model": "softmax"},
            {"recipe": ["tutorial", "fast"]},
            "recipe: expected tutorial for the softmax model",
        ),
    ],
)
def test_a_grid_with_a_run_that_cannot_be_is_refused(fixed, varied, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Grid(fixed, varied)
