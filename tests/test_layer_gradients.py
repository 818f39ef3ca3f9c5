"""Every layer's backward is the numerical gradient of its forward, at sizes and values that Hypothesis draws.

200 cases a layer, half of them on the kernels; 2,000 with -m long. Values are normal, or whole numbers
full of kinks and ties: then the verdict may be open, but never "WRONG".
"""

import numpy as np
import pytest
from contract import enrol
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, MaxPool2D, ReLU, gradient_check
from minicnn.engine import layers

small, size = st.integers(1, 3), st.integers(1, 6)
window = {"stride": small, "padding": st.sampled_from(["same", "valid"])}
conv = {"in_channels": small, "filters": small, "kernel_size": st.tuples(st.integers(1, 4), small)} | window
SETTINGS = {
    Conv2D: conv,
    ConvReLUPool: conv,
    Dense: {"in_features": size, "out_features": size},
    Dropout: {"keep_prob": st.sampled_from([0.1, 0.5, 0.9, 1.0])},
    Flatten: {},
    MaxPool2D: {"size": small} | window,
    ReLU: {},
}


@st.composite
def cases(draw, kind):
    """A layer, a batch, and whether its values are whole numbers."""
    drawn = draw(st.fixed_dictionaries(SETTINGS[kind]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    options = {"rng": rng} if "kernel_size" in drawn or kind in (Dense, Dropout) else {}
    layer = kind(**drawn, **options, ops=draw(st.sampled_from(["reference", "kernels"])))
    H, W, C = draw(size), draw(size), drawn.get("in_channels", draw(small))
    if drawn.get("padding") == "valid":
        kh, kw = drawn.get("kernel_size", (drawn.get("size"),) * 2)
        H, W = max(H, kh), max(W, kw)
    shape = (drawn["in_features"],) if kind is Dense else (H, W, C)
    if kind in (ReLU, Dropout) and draw(st.booleans()):
        shape = shape[:1]
    whole = draw(st.sampled_from([False, False, True]))
    x = rng.standard_normal((draw(small), *shape))
    return layer, np.round(x) if whole else x, whole


def check(kind, data):
    layer, x, whole = data.draw(cases(kind))
    report = gradient_check(layer, x, entries=30, directions=1)
    assert not report.wrong, f"\n{report}"
    if not whole:
        assert all(array.verdict in ("ok", "zero") for array in report.arrays), f"\n{report}"


@pytest.mark.parametrize("kind", SETTINGS)
@settings(max_examples=200)
@given(data=st.data())
def test_backward_is_the_numerical_gradient(kind, data):
    check(kind, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SETTINGS)
@settings(max_examples=2000)
@given(data=st.data())
def test_no_false_alarm_in_2000_cases(kind, data):
    check(kind, data)


def test_every_exported_layer_is_tested_here():
    assert set(SETTINGS) == set(enrol(layers).values())
