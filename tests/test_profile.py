"""The profile counts calls, time, arithmetic and bytes, and is not there unless it was asked for."""

import numpy as np
import pytest
from runs import new_process

from minicnn.engine import profile, reference
from minicnn.engine.ops import find_ops


@pytest.fixture(autouse=True)
def _empty():
    profile.reset()
    yield
    profile.reset()


def profiled(user):
    profile.enable()
    try:
        return find_ops("reference", user=user)
    finally:
        profile.enable(False)


def line(layer, name):
    return profile._lines[layer, name]


def test_every_call_is_recorded_under_its_layer():
    ops = profiled("fc1")
    x, w, b = np.ones((5, 7)), np.ones((7, 3)), np.ones(3)
    for _ in range(3):  # the first call stands apart
        y, cache = ops.dense_forward(x, w, b)
    np.testing.assert_array_equal(y, reference.dense_forward(x, w, b)[0])
    got = line("fc1", "dense_forward")
    assert (got.calls, got.flop) == (2, 2 * 2 * 5 * 7 * 3)
    assert got.nbytes == 2 * 8 * (5 * 7 + 7 * 3 + 3 + 5 * 3)  # each array once, though the cache has it again
    assert got.seconds > 0
    for _ in range(2):
        ops.dense_backward(y, cache, input_gradient=False)
    assert line("fc1", "dense_backward").flop == 2 * 5 * 7 * 3


@pytest.mark.parametrize(
    ("name", "flop"), [("conv2d", 2 * 2 * 6 * 6 * 27 * 4), ("conv_relu_pool", 2 * 2 * 6 * 6 * 27 * 4)]
)
def test_a_convolution_counts_every_product_of_its_definition(name, flop):
    ops = profiled("conv")
    arguments = np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 4)), np.ones(4), 1, "valid"
    for _ in range(2):
        y, cache = getattr(ops, f"{name}_forward")(*arguments)
        getattr(ops, f"{name}_backward")(np.ones_like(y), cache)
    assert line("conv", f"{name}_forward").flop == flop
    assert line("conv", f"{name}_backward").flop == 2 * flop


def test_the_table_has_a_line_for_each_operation():
    profiled("relu1").relu_forward(np.ones((2, 3)))
    head, row = profile.table().splitlines()
    assert head.startswith("layer  operation")
    assert row.split()[:2] == ["relu1", "relu_forward"]
    assert row.split()[3] == "0"  # calls after the first


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("0", False), ("", False)])
def test_the_environment_decides_and_the_table_is_printed_in_the_end(value, wanted):
    code = (
        "import numpy as np\nfrom minicnn.engine import ops, profile\nprint(profile.wanted())\n"
        "ops.find_ops('reference', user='relu1').relu_forward(np.ones((2, 3)))"
    )
    done = new_process(code, MINICNN_PROFILE=value)
    assert done.stdout.strip() == str(wanted)
    assert ("relu_forward" in done.stderr) == wanted
