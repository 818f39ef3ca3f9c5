"""The page `minicnn explore` shows how numbers are made: the terms it shows are the engine's, and add up."""

import inspect

import numpy as np
import pytest

from minicnn import load_mnist, tutorial_network
from minicnn.data import to_float
from minicnn.engine import reference
from minicnn.engine.layers import AveragePool2D, Conv2D, Dense, Flatten, MaxPool2D, ReLU
from minicnn.engine.network import Sequential
from minicnn.explore import source
from minicnn.explore.backward import trace_gradient, trace_parameter
from minicnn.explore.forward import trace_output
from minicnn.explore.maps import compute_maps, unfused
from minicnn.explore.nudge import in_double, nudge
from minicnn.explore.trace import OUTSIDE

NUMBERS = 100  # of each layer
LABEL = 4  # not what the image shows, so that no gradient is tiny
STAGES = ["conv1", "conv1.relu", "conv1.pool", "conv2", "conv2.relu", "conv2.pool", "fc1", "relu", "fc2"]
PARAMETERS = [f"{layer}.{name}" for layer in ("conv1", "conv2", "fc1", "fc2") for name in ("weight", "bias")]


def digit():
    return to_float(load_mnist().test.images[:1])[0]


@pytest.fixture(scope="module", params=["reference", "kernels"])
def maps(request):
    network = unfused(tutorial_network(seed=1, ops=request.param))
    return compute_maps(network, digit(), LABEL, backward=True)


@pytest.fixture(scope="module")
def small():
    """Windows of other sizes, strides and paddings, in float64; pools that overlap."""
    rng = np.random.default_rng(5)
    layers = [
        Conv2D(1, 3, (3, 5), stride=2, padding="same", name="a", rng=rng, dtype=np.float64, ops="reference"),
        MaxPool2D(3, 2, "same", name="b", ops="reference"),
        Conv2D(3, 4, 2, stride=1, padding="valid", name="c", rng=rng, dtype=np.float64, ops="reference"),
        ReLU(name="d", ops="reference"),
        MaxPool2D(2, 1, "valid", name="e", ops="reference"),
        Flatten(ops="reference"),
        Dense(4 * 5 * 5, 10, name="f", rng=rng, dtype=np.float64, ops="reference"),
    ]
    network = Sequential(layers, (28, 28, 1))
    x = rng.random((28, 28, 1))
    return compute_maps(unfused(network), x, LABEL, backward=True)


def some_places(size):
    return np.random.default_rng(7).choice(size, min(NUMBERS, size), replace=False).tolist()


def every_factor_is_where_it_is_said_to_be(maps, trace):
    parameters = {p.name: p.value for stage in maps.stages if stage.layer for p in stage.layer.parameters}
    for factor in (trace.left, trace.right):
        if factor is None or not factor.name:
            continue
        if factor.what == "parameter":
            there = parameters[factor.name]
        elif factor.name == "softmax":
            there = maps.probabilities
        else:
            there = (maps.outputs if factor.what == "value" else maps.gradients)[maps.index(factor.name)]
        inside = factor.places != OUTSIDE
        np.testing.assert_array_equal(factor.values[inside], there.ravel()[factor.places[inside]])
        assert not np.any(
            np.nan_to_num(factor.values[~inside], neginf=0)
        )  # padding: 0, minus infinity in a pool


def adds_up(trace, rounding=2e-6):
    """The sum by hand is the engine's value, up to what rounding does to terms of this size."""
    left = np.where(np.isfinite(trace.left.values), trace.left.values, 0).astype(float)
    terms = left * (1 if trace.right is None else trace.right.values.astype(float))
    size = np.abs(terms).sum() + abs(trace.constant) + abs(trace.value)
    return abs(trace.by_hand() - trace.value) <= rounding * size


def assert_all_right(maps, traces, rounding=2e-6):
    for trace in traces:
        every_factor_is_where_it_is_said_to_be(maps, trace)
        assert adds_up(trace, rounding), trace


@pytest.mark.parametrize("name", STAGES)
def test_the_terms_of_an_output_add_up_to_it(maps, name):
    output = maps.outputs[maps.index(name)]
    traces = [trace_output(maps, name, place) for place in some_places(output.size)]
    assert [t.value for t in traces] == [float(output.ravel()[p]) for p in some_places(output.size)]
    assert_all_right(maps, traces)


@pytest.mark.parametrize("name", ["image", *STAGES])
def test_the_terms_of_a_gradient_add_up_to_it(maps, name):
    gradient = maps.gradients[maps.index(name)]
    traces = [trace_gradient(maps, name, place) for place in some_places(gradient.size)]
    assert [t.value for t in traces] == [float(gradient.ravel()[p]) for p in some_places(gradient.size)]
    assert any(t.value != 0 for t in traces)
    assert_all_right(maps, traces)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_terms_of_a_parameters_gradient_add_up_to_it(maps, name):
    size = next(p.value.size for s in maps.stages if s.layer for p in s.layer.parameters if p.name == name)
    traces = [trace_parameter(maps, name, place) for place in some_places(size)]
    assert any(t.value != 0 for t in traces)
    assert_all_right(maps, traces)


def test_softmax_and_the_loss_are_what_their_terms_make(maps):
    traces = [trace_output(maps, "softmax", k) for k in range(10)]
    assert_all_right(maps, [*traces, trace_output(maps, "loss", 0)])
    assert traces[LABEL].by_hand() == pytest.approx(np.exp(-maps.loss), rel=1e-5)


def test_a_term_that_is_wrong_does_not_add_up(maps):
    trace = trace_output(maps, "conv2", some_places(14 * 14 * 64)[0])
    trace.right.values[np.unravel_index(np.abs(trace.left.values).argmax(), trace.left.values.shape)] += 0.1
    assert not adds_up(trace)


def test_the_number_of_terms_is_what_the_layer_has(maps):
    inside = 14 * 7 + 7  # row 7, column 7: far from the border
    assert trace_output(maps, "conv1", inside * 32).left.values.shape == (1, 5, 5)
    assert trace_output(maps, "conv2", inside * 64).left.values.shape == (32, 5, 5)
    assert trace_output(maps, "conv2.pool", 0).left.values.shape == (1, 2, 2)
    assert trace_output(maps, "fc1", 0).left.values.shape == (64, 7, 7)
    assert trace_output(maps, "fc2", 0).left.values.shape == (1, 1, 1024)
    assert trace_gradient(maps, "conv1.pool", inside * 32).left.values.shape == (64, 5, 5)
    assert trace_gradient(maps, "conv2.pool", 0).left.values.shape == (1, 1, 1024)
    assert trace_gradient(maps, "relu", 0).left.values.shape == (1, 1, 10)
    assert trace_parameter(maps, "conv1.weight", 0).left.values.shape == (1, 28, 28)


@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "f"])
def test_other_windows_strides_and_paddings_add_up(small, name):
    size = small.outputs[small.index(name)].size
    assert_all_right(small, [trace_output(small, name, place) for place in range(size)], 1e-14)
    assert_all_right(small, [trace_gradient(small, name, place) for place in range(size)], 1e-14)


@pytest.mark.parametrize("name", ["a.weight", "a.bias", "c.weight", "c.bias", "f.weight", "f.bias"])
def test_parameters_of_other_windows_add_up(small, name):
    size = next(p.value.size for s in small.stages if s.layer for p in s.layer.parameters if p.name == name)
    assert_all_right(small, [trace_parameter(small, name, place) for place in range(size)], 1e-14)


def test_ties_in_a_pool_are_counted_and_the_first_wins():
    maps = compute_maps(unfused(tutorial_network(ops="reference")), np.zeros((28, 28, 1), np.float32), LABEL)
    trace = trace_output(maps, "conv1.pool", (5 * 14 + 5) * 32)  # far from the border all four are equal
    assert trace.facts == {"winner": 0, "ties": 4}


def test_a_fused_network_gives_the_same_answer_as_the_page_shows():
    network = tutorial_network(seed=3, ops="reference")
    maps = compute_maps(unfused(network), digit())
    np.testing.assert_allclose(maps.probabilities, network.predict(digit()[None])[0], atol=1e-6)


def test_without_a_label_the_loss_is_that_of_the_answer():
    maps = compute_maps(unfused(tutorial_network(ops="reference")), digit())
    assert maps.label == maps.probabilities.argmax()
    assert maps.loss == pytest.approx(-np.log(maps.probabilities.max()), rel=1e-5)


def test_a_network_that_cannot_be_shown_is_refused_in_one_line():
    dense = Dense(14 * 14, 10, ops="reference")
    with pytest.raises(ValueError, match=r"pool: AveragePool2D cannot be explored$"):
        unfused(Sequential([AveragePool2D(), Flatten(), dense], (28, 28, 1)))
    with pytest.raises(ValueError, match=r"expected a network from \[28, 28, 1\] to \[10\]"):
        unfused(Sequential([Flatten(), Dense(4, 10)], (2, 2, 1)))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda maps: trace_output(maps, "conv9", 0), "stage: expected one of image"),
        (lambda maps: trace_output(maps, "conv1", 25088), "place: expected 0 to 25087 in conv1"),
        (lambda maps: trace_output(maps, "image", 0), "the image is where the terms end"),
        (lambda maps: trace_output(maps, "softmax", 10), "place: expected 0 to 9"),
        (lambda maps: trace_gradient(maps, "conv1", -1), "place: expected 0 to 25087"),
        (lambda maps: trace_parameter(maps, "conv1.wait", 0), "parameter: expected one of this network"),
        (lambda maps: trace_parameter(maps, "conv1.bias", 32), "place: expected 0 to 31 in conv1.bias"),
    ],
)
def test_a_number_that_does_not_exist_is_refused(maps, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(maps)


def test_gradients_that_were_not_computed_are_refused():
    maps = compute_maps(unfused(tutorial_network(ops="reference")), digit())
    with pytest.raises(ValueError, match="backward=True"):
        trace_gradient(maps, "conv1", 0)


# --- nudge ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twin():
    return in_double(unfused(tutorial_network(seed=1, ops="reference")))


@pytest.mark.parametrize("name", ["conv1.pool", "conv2.relu", "fc1", "fc2"])
def test_nudging_a_number_finds_its_gradient(maps, twin, name):
    gradients = maps.gradients[maps.index(name)].ravel()
    places = np.argsort(-np.abs(gradients))[:5].tolist()
    nudged = (nudge(twin, digit(), LABEL, "value", name, place, 1e-5) for place in places)
    smooth = [(n.gradient, gradients[p]) for n, p in zip(nudged, places, strict=True) if n.kinks == 0]
    assert smooth  # blank paper makes ties, and a tie is a kink
    for found, gradient in smooth:
        assert found == pytest.approx(float(gradient), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", PARAMETERS)
def test_nudging_a_parameter_finds_its_gradient_and_leaves_it_as_it_was(maps, twin, name):
    before = twin.values.copy()
    size = next(p.value.size for p in twin.parameters() if p.name == name)
    found = [(trace_parameter(maps, name, place).value, place) for place in some_places(size)]
    gradient, place = max(found, key=lambda pair: abs(pair[0]))
    nudged = nudge(twin, digit(), LABEL, "parameter", name, place, 1e-6)
    assert nudged.gradient == pytest.approx(gradient, rel=1e-3, abs=1e-6)
    np.testing.assert_array_equal(twin.values, before)


def test_with_a_bias_of_0_blank_paper_lies_on_a_kink_and_a_nudge_says_so():
    network = unfused(tutorial_network(ops="reference", init="he"))
    assert nudge(in_double(network), digit(), LABEL, "parameter", "conv1.bias", 0, 1e-6).kinks > 100


def test_a_nudge_across_a_kink_says_so(twin):
    nudged = nudge(twin, digit(), LABEL, "value", "conv1", (14 * 28 + 14) * 32, 1.0)
    assert nudged.kinks > 0


@pytest.mark.parametrize("h", [0.0, -1e-3, 2.0, float("nan"), float("inf")])
def test_a_nudge_that_is_no_small_number_is_refused(twin, h):
    with pytest.raises(ValueError, match="h: expected 1e-06 to 1"):
        nudge(twin, digit(), LABEL, "value", "conv1", 0, h)


# --- the lines of code ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", source.LINES)
def test_the_lines_that_are_marked_exist_exactly_once(code):
    _, starts = source.LINES[code]
    found = source.source_of(code)
    marked = [text.strip() for _, text, computes in found.lines if computes]
    assert len(marked) == len(starts)
    assert all(text.startswith(start) for text, start in zip(marked, starts, strict=True))


@pytest.mark.parametrize("code", source.LINES)
def test_the_lines_are_those_of_the_file(code):
    lines = inspect.getsource(reference).split("\n")
    found = source.source_of(code)
    assert [text for _, text, _ in found.lines] == [lines[number - 1] for number, _, _ in found.lines]
    assert '"""' not in "".join(text for _, text, _ in found.lines)


def test_every_trace_names_lines_of_the_reference(maps):
    traces = [trace_output(maps, name, 0) for name in [*STAGES, "softmax", "loss"]]
    traces += [trace_gradient(maps, name, 0) for name in ["image", *STAGES]]
    traces += [trace_parameter(maps, name, 0) for name in PARAMETERS]
    assert {trace.code for trace in traces} == set(source.LINES)
