"""The fourth link: the fused block is convolution, ReLU and max-pool in a row.

The numbers are small integers and fractions, whose products and sums are exact in any order. So ties
stay ties, and the two sides are equal to the last bit. With 5x5 filters and many channels the block
multiplies less and rounds; there the weights are large, so that only equal patches have equal sums.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import Conv2D, ConvReLUPool, MaxPool2D, ReLU

seeds = st.integers(0, 2**32 - 1)
KINDS = ["any", "ties", "blank", "flat", "negative"]


def images(rng, kind, shape):
    if kind == "ties":
        return rng.integers(0, 2, shape).astype(float)
    values = rng.integers(-32, 33, shape) / 16
    if kind == "blank":  # some images wholly, others in part
        values *= rng.random((shape[0], 1, 1, 1)) < 0.7
        values[:, shape[1] // 2 :] = 0
    if kind == "flat":  # equal patches that are not zero, under others
        values[:, shape[1] // 3 :] = 1.5
    return values


@st.composite
def cases(draw, kind):
    """A block, the row of three layers with the same parameters, and a batch."""
    N, C, F, H, W = (draw(st.integers(1, most)) for most in (7, 4, 35, 11, 11))
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride, padding = draw(st.integers(1, 3)), draw(st.sampled_from(["same", "valid"]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    ops = draw(st.sampled_from(["kernels", "reference"]))
    return make_case(draw(seeds), kind, (N, H, W, C), F, kernel, stride, padding, dtype, ops, largest=3)


@st.composite
def cases_with_fewer_multiplications(draw, kind):
    N, F, H, W = (draw(st.integers(1, most)) for most in (3, 35, 11, 11))
    C, padding = draw(st.integers(16, 20)), draw(st.sampled_from(["same", "valid"]))
    shape, dtype = (N, H, W, C), np.float64
    return make_case(draw(seeds), kind, shape, F, (5, 5), 1, padding, dtype, "kernels", largest=2**20)


def make_case(seed, kind, shape, F, kernel, stride, padding, dtype, ops, largest):
    N, H, W, C = shape
    if padding == "valid":
        H, W = max(H, kernel[0]), max(W, kernel[1])
    rng = np.random.default_rng(seed)
    settings = {"kernel_size": kernel, "stride": stride, "padding": padding, "dtype": dtype}
    block = ConvReLUPool(C, F, **settings, ops=ops)
    row = [Conv2D(C, F, **settings, ops="reference"), ReLU(ops="reference"), MaxPool2D(ops="reference")]
    weight = rng.integers(-largest, largest + 1, block.weight.value.shape)
    bias = rng.integers(-1, 2, F) / 4 - (1000 * largest if kind == "negative" else 0)
    for layer in block, row[0]:
        layer.weight.value[...], layer.bias.value[...] = weight, bias
    return block, row, images(rng, kind, (N, H, W, C)).astype(dtype)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_block_equals_its_three_layers(kind, data):
    compare(kind, *data.draw(cases(kind)))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_with_fewer_multiplications_the_block_equals_its_three_layers_but_for_rounding(kind, data):
    compare(kind, *data.draw(cases_with_fewer_multiplications(kind)), rounding=1e-12)


def compare(kind, block, row, x, rounding=0.0):
    y = x
    for layer in row:
        y = layer.forward(y, training=True)
    equal(block.forward(x, training=True), y, rounding)

    dy = np.random.default_rng(1).integers(-16, 17, y.shape).astype(x.dtype) / 8
    dx = dy
    for layer in reversed(row):
        dx = layer.backward(dx)
    equal(block.backward(dy), dx, rounding)
    for ours, theirs in zip(block.parameters, row[0].parameters, strict=True):
        equal(ours.grad, theirs.grad, rounding)
    if kind == "negative":
        assert not y.any()
        assert not dx.any()


def equal(actual, expected, rounding):
    """rounding is a share of the largest number."""
    atol = rounding * np.abs(expected).max(initial=0)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def test_the_kinds_have_what_they_are_named_after():
    rng = np.random.default_rng(0)
    assert np.unique(images(rng, "ties", (2, 8, 8, 1))).tolist() == [0, 1]
    assert not images(rng, "blank", (2, 8, 8, 1))[:, 4:].any()
    assert len(np.unique(images(rng, "any", (2, 8, 8, 1)))) > 20
