"""A batch in shards: the same bits, whoever computes which shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.engine import kernels, reference
from minicnn.engine.layers import BatchNorm2D, Dense
from minicnn.engine.ops import find_ops
from minicnn.engine.shards import Share, Terms, pairs, shard_sizes
from minicnn.parallel.split import Split
from minicnn.runs.settings import Settings
from minicnn.tutorial import tutorial_network

FLOATS = (np.float32, np.float64)
BY_SHARDS = ["conv2d_backward", "conv_relu_pool_backward"]


@st.composite
def splits(draw):
    shards = draw(st.integers(1, 20))
    batch = draw(st.integers(1, 60))
    return Split(batch, shards, draw(st.integers(1, min(batch, shards))))


# --- the shards and the tree ---------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 40))
def test_every_image_is_in_one_shard_and_shards_differ_by_one_image_at_most(images, shards):
    sizes = shard_sizes(images, shards)
    assert sum(sizes) == images
    assert len(sizes) == min(images, shards)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", range(1, 20))
def test_the_tree_has_the_additions_of_tree_sum(count):
    parts = np.random.default_rng(count).standard_normal((count, 50)).astype(np.float32)
    want = reference.tree_sum(parts)
    for i, j, _ in pairs(count):
        parts[i] += parts[j]
    np.testing.assert_array_equal(parts[0], want)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 3), (2, 5, 5, 3, 4), (7, 1), (8, 3000), (13, 17, 100)])
def test_the_kernel_sums_the_same_tree(shape, dtype):
    parts = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    kept = parts.copy()
    np.testing.assert_array_equal(kernels.tree_sum(parts), reference.tree_sum(parts))
    np.testing.assert_array_equal(parts, kept)


@given(splits())
def test_sums_of_processes_add_up_to_the_bits_of_one(split):
    parts = np.random.default_rng(split.batch).standard_normal((len(split.sizes), 3)).astype(np.float32)
    sums = []
    for process, (first, last) in enumerate(split.ranges):
        sums.append(split.add_own(process, parts[first:last].copy()))
        assert len(sums[-1]) == len(split.kept(process))
    whole = split.add_all(np.concatenate(sums))
    assert whole.shape == (1, 3)
    np.testing.assert_array_equal(whole[0], reference.tree_sum(parts))


@given(splits())
def test_shares_are_the_rows_of_the_batch_in_order(split):
    images = np.arange(split.batch)
    shares = [images[split.share(process).rows] for process in range(split.processes)]
    assert [len(share) for share in shares] == split.images
    np.testing.assert_array_equal(np.concatenate(shares), images)


def test_more_processes_than_shards_are_refused():
    with pytest.raises(ValueError, match="3 processes: a batch of 50 images in 2 shards is enough for 2"):
        Split(50, 2, 3)
    with pytest.raises(ValueError, match="shards is enough for 2"):
        Split(2, 8, 3)


@pytest.mark.parametrize("wrong", [0, -1, 1025, True, 2.0, "8"])
def test_a_number_of_shards_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="shards: expected an integer from 1 to 1024"):
        Settings(steps=1, batch_size=1, learning_rate=1.0, keep_prob=1.0, shards=wrong)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 2, 1, 3)])
@pytest.mark.parametrize(("C", "F"), [(1, 5), (3, 4), (8, 33)])
@pytest.mark.parametrize("name", BY_SHARDS)
def test_gradients_of_each_shard_are_those_of_the_reference(name, C, F, sizes, dtype):
    dy, cache, plain = _convolved(name, C, F, dtype)
    found = getattr(kernels, f"{name}_by_shards")(dy, cache, sizes)
    wanted = getattr(reference, f"{name}_by_shards")(dy, plain, sizes)
    for array, want in zip(found, wanted, strict=True):
        assert array.shape == want.shape
        np.testing.assert_allclose(array, want, rtol=0, atol=np.abs(want).max() * 50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", BY_SHARDS)
def test_one_shard_is_the_whole_batch(name):
    dy, cache, _ = _convolved(name, 3, 4, np.float32)
    dx, dw, db = getattr(kernels, f"{name}_by_shards")(dy, cache, (7,))
    for array, want in zip((dx, dw[0], db[0]), getattr(kernels, name)(dy, cache), strict=True):
        np.testing.assert_array_equal(array, want)


@pytest.mark.parametrize("sizes", [(), (7, 0), (3, 3), (8,), (-1, 8)])
@pytest.mark.parametrize("name", BY_SHARDS)
def test_shards_that_are_not_those_of_the_batch_are_refused(name, sizes):
    dy, cache, _ = _convolved(name, 3, 4, np.float32)
    with pytest.raises(ValueError, match="sizes: expected shards of 7 images in all, none empty"):
        getattr(kernels, f"{name}_by_shards")(dy, cache, sizes)


def _convolved(name, C, F, dtype):
    rng = np.random.default_rng(C)
    x = rng.standard_normal((7, 9, 8, C)).astype(dtype)
    w, b = rng.standard_normal((5, 5, C, F)).astype(dtype), rng.standard_normal(F).astype(dtype)
    forward = name.replace("backward", "forward")
    y, cache = getattr(kernels, forward)(x, w, b)
    _, plain = getattr(reference, forward)(x, w, b)
    return rng.standard_normal(y.shape).astype(dtype), cache, plain


# --- a network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.1, 0.45, 0.55, 1.0])
@pytest.mark.parametrize(("D", "F"), [(3136, 1024), (1024, 10), (37, 19)])
def test_an_image_gets_the_same_bits_in_a_batch_of_any_size(D, F, density):
    # Zeros of dy are skipped if there are many in the batch, so the way may differ, but not the sum.
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((50, D), (D, F), (F,)))
    dy = rng.standard_normal((50, F)).astype(np.float32)
    dy[20:] *= rng.random((30, F)) < density
    y, _ = kernels.dense_forward(x, w, b)
    dx, _, _ = kernels.dense_backward(dy, (x, w))
    for rows in (slice(0, 20), slice(20, 50), slice(49, 50)):
        np.testing.assert_array_equal(kernels.dense_forward(x[rows], w, b)[0], y[rows])
        np.testing.assert_array_equal(kernels.dense_backward(dy[rows], (x[rows], w))[0], dx[rows])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("split", [Split(13, 8, 2), Split(13, 8, 3), Split(13, 5, 5)], ids=str)
def test_shares_of_a_batch_give_the_gradients_of_the_whole(split, fused):
    rng = np.random.default_rng(1)
    x = rng.random((split.batch, 12, 12, 1), np.float32)
    dy = rng.standard_normal((split.batch, 10)).astype(np.float32)
    options = {"input_shape": (12, 12, 1), "fused": fused, "shards": split.shards}
    whole, network = tutorial_network(**options), tutorial_network(**options)
    want = whole.forward(x, training=True)
    whole.backward(dy, input_gradient=False)

    terms = {}
    for process in range(split.processes):
        share = split.share(process)
        own = tutorial_network(**options)
        np.testing.assert_array_equal(
            own.forward(x[share.rows], training=True, share=share), want[share.rows]
        )
        own.backward_terms(
            dy[share.rows], lambda layer, found: terms.setdefault(layer.name, []).append(found)
        )
    for layer in (layer for layer in network.layers if layer.parameters):
        by_image, by_shard = zip(*terms[layer.name], strict=True)
        images = tuple(map(np.concatenate, zip(*by_image, strict=True)))
        shards = tuple(map(np.concatenate, zip(*by_shard, strict=True)))
        layer.add_up(find_ops(layer.ops), Terms(images, shards))
    np.testing.assert_array_equal(network.grads, whole.grads)


def test_a_layer_that_mixes_images_refuses_to_be_shared_out():
    layer = BatchNorm2D(3, name="norm")
    y = layer.forward(np.ones((2, 4, 4, 3), np.float32), training=True)
    with pytest.raises(TypeError, match="norm: BatchNorm2D cannot be trained by several processes"):
        layer.backward_terms(y)


def test_the_terms_of_a_dense_layer_are_its_factors():
    layer = Dense(3, 2)
    x, dy = np.ones((4, 3), np.float32), np.full((4, 2), 2, np.float32)
    layer.forward(x, training=True)
    _, terms = layer.backward_terms(dy)
    for found, want in zip(terms.by_image, (x, dy), strict=True):
        np.testing.assert_array_equal(found, want)


def test_a_copy_of_a_network_sums_in_as_many_shards():
    network = tutorial_network(shards=5)
    assert network.__copy__().shards == network.astype(np.float64).shards == 5


def test_a_share_of_all_shards_is_the_whole_batch():
    assert Share(8).sizes(50) == shard_sizes(50, 8)
    assert Share(8).rows == slice(None)
