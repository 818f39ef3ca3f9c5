"""Every layer's backward is the numerical gradient of its forward, at sizes and values that Hypothesis draws.

200 cases a layer, half of them on the kernels; 2,000 with -m long. Values are normal, or whole numbers
full of kinks and ties: then the verdict may be open, but never "WRONG".
"""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import gradient_check
from minicnn.checks.examples import layer_classes

KINDS = layer_classes()
small, size = st.integers(1, 3), st.integers(1, 6)
ARGUMENTS = {  # of constructors; what is not listed keeps its default
    "channels": small,
    "in_channels": small,
    "filters": small,
    "kernel_size": st.tuples(st.integers(1, 4), small),
    "size": small,
    "stride": small,
    "padding": st.sampled_from(["same", "valid"]),
    "in_features": size,
    "out_features": size,
    "keep_prob": st.sampled_from([0.1, 0.5, 0.9, 1.0]),
}
OPS = ["reference", "kernels"]


@st.composite
def cases(draw, name):
    """A layer, a batch, whether its values are whole numbers, and whether to check it in training."""
    kind = KINDS[name]
    knows = inspect.signature(kind).parameters
    drawn = draw(st.fixed_dictionaries({k: v for k, v in ARGUMENTS.items() if k in knows}))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layer = kind(**drawn, **({"rng": rng} if "rng" in knows else {}), ops=draw(st.sampled_from(OPS)))
    for p in layer.parameters:
        p.value = rng.standard_normal(p.value.shape)
    H, W, C = draw(size), draw(size), drawn.get("in_channels", drawn.get("channels")) or draw(small)
    if drawn.get("padding") == "valid":
        kh, kw = drawn.get("kernel_size", (drawn.get("size"),) * 2)
        H, W = max(H, kh), max(W, kw)
    shape = (drawn["in_features"],) if "in_features" in drawn else (H, W, C)
    if name in ("ReLU", "Dropout") and draw(st.booleans()):
        shape = shape[:1]
    whole = draw(st.sampled_from([False, False, True]))
    x = rng.standard_normal((draw(small), *shape))
    return layer, np.round(x) if whole else x, whole, draw(st.booleans())


def check(name, data):
    layer, x, whole, training = data.draw(cases(name))
    report = gradient_check(layer, x, entries=30, directions=1, training=training)
    assert not report.wrong, f"\n{report}"
    if not whole:
        assert all(array.verdict in ("ok", "zero") for array in report.arrays), f"\n{report}"


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=200)
@given(data=st.data())
def test_backward_is_the_numerical_gradient(name, data):
    check(name, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=2000)
@given(data=st.data())
def test_no_false_alarm_in_2000_cases(name, data):
    check(name, data)


@pytest.mark.parametrize("name", KINDS)
def test_every_size_of_every_layer_is_drawn(name):
    needed = {p.name for p in inspect.signature(KINDS[name]).parameters.values() if p.default is p.empty}
    assert needed <= set(ARGUMENTS)
