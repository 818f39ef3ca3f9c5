"""Filters and units switched off, on the page `minicnn explore`."""

import numpy as np
import pytest

from minicnn import load_mnist, tutorial_network
from minicnn.data import to_float
from minicnn.explore.backward import trace_gradient
from minicnn.explore.forward import trace_output
from minicnn.explore.maps import compute_maps, unfused
from minicnn.explore.switches import MOST, parse_switches, switched_off


@pytest.fixture(scope="module")
def network():
    return unfused(tutorial_network(seed=2, ops="reference"))


def digit():
    return to_float(load_mnist().test.images[:1])[0]


def test_what_is_switched_off_answers_0_and_nothing_else_changes(network):
    before = network.values.copy()
    on, off = (
        compute_maps(n, digit()) for n in (network, switched_off(network, (("conv1", 3), ("fc1", 20))))
    )
    maps, others = off.outputs[off.index("conv1")], np.arange(32) != 3
    assert not maps[..., 3].any()
    np.testing.assert_array_equal(maps[..., others], on.outputs[on.index("conv1")][..., others])
    assert off.outputs[off.index("fc1")][20] == 0
    assert on.outputs[on.index("fc1")][20] != 0
    np.testing.assert_array_equal(network.values, before)


def test_the_terms_add_up_with_something_switched_off(network):
    maps = compute_maps(switched_off(network, (("conv1", 3), ("conv2", 5))), digit(), 4, backward=True)
    for place in range(0, 14 * 14 * 64, 997):
        trace = trace_output(maps, "conv2", place)
        assert trace.by_hand() == pytest.approx(trace.value, abs=1e-5)
        assert not trace.left.values[3].any()  # what comes from the filter that is off
    for place in range(0, 14 * 14 * 32, 997):
        trace = trace_gradient(maps, "conv1.pool", place)
        assert not (trace.left.values[5] * trace.right.values[5]).any()


@pytest.mark.parametrize(
    ("text", "switches"),
    [
        ("", ()),
        ("conv1.3", (("conv1", 3),)),
        ("conv1.3,fc1.20", (("conv1", 3), ("fc1", 20))),
        ("a.b.7", (("a.b", 7),)),
    ],
)
def test_switches_are_read(text, switches):
    assert parse_switches(text) == switches


@pytest.mark.parametrize(
    "text", ["conv1", "conv1.", ".3", "conv1.-1", "conv1.x", ",", "conv1.3,", "conv1.\u0663", "a" * 99 + ".1"]
)
def test_what_is_no_switch_is_refused(text):
    with pytest.raises(ValueError, match="off: expected up to 500"):
        parse_switches(text)


def test_too_many_switches_are_refused():
    with pytest.raises(ValueError, match="off: expected up to 500"):
        parse_switches(",".join(["conv1.3"] * (MOST + 1)))


@pytest.mark.parametrize("switch", [("conv9", 0), ("fc2", 3), ("conv1", 32), ("relu", 0)])
def test_what_does_not_exist_cannot_be_switched_off(network, switch):
    with pytest.raises(ValueError, match="off: expected"):
        switched_off(network, (switch,))
