"""Batches: each pass a shuffle of everything, every batch computable alone; pixels to floats."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.data import Batches, to_float

counts = st.integers(1, 40)
batch_sizes = st.integers(1, 90)  # also more than twice the count
seeds = st.integers(0, 2**64)


# --- Batches ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(counts, batch_sizes, seeds)
def test_every_pass_shows_every_image_exactly_once(count, batch_size, seed):
    batches = Batches(count, batch_size, seed)
    steps = -(-3 * count // batch_size)  # enough for three passes
    stream = np.concatenate([batches.indices(step) for step in range(steps)])
    for one_pass in stream[: 3 * count].reshape(3, count):
        assert sorted(one_pass) == list(range(count))


@settings(deadline=None)
@given(counts, batch_sizes, seeds, st.lists(st.integers(0, 200), max_size=20))
def test_a_batch_does_not_depend_on_the_calls_before_it(count, batch_size, seed, steps):
    batches = Batches(count, batch_size, seed)
    for step in steps:
        alone = Batches(count, batch_size, seed).indices(step)
        np.testing.assert_array_equal(batches.indices(step), alone)


@settings(deadline=None, max_examples=50)
@given(counts, st.integers(1, 30), st.integers(1, 30), seeds)
def test_the_batch_size_cuts_the_stream_but_does_not_reorder_it(count, one, other, seed):
    first = np.concatenate([Batches(count, one, seed).indices(step) for step in range(other)])
    second = np.concatenate([Batches(count, other, seed).indices(step) for step in range(one)])
    np.testing.assert_array_equal(first, second)


def test_the_stream_is_the_documented_permutations():
    passes = [np.random.default_rng([7, number]).permutation(10) for number in range(3)]
    batches = Batches(10, 6, seed=7)
    stream = np.concatenate([batches.indices(step) for step in range(5)])
    np.testing.assert_array_equal(stream, np.concatenate(passes))


def test_the_stream_is_the_same_on_every_machine_and_version():
    golden = [4, 6, 2, 7, 3, 5, 9, 0, 8, 1, 9, 1]
    assert Batches(10, 12, seed=0).indices(0).tolist() == golden


def test_passes_are_in_different_orders():
    batches = Batches(1000, 1000, seed=0)
    assert (batches.indices(0) != batches.indices(1)).any()


def test_seeds_give_different_orders():
    assert (Batches(1000, 50, seed=0).indices(0) != Batches(1000, 50, seed=1).indices(0)).any()


@pytest.mark.parametrize("batch_size", [1, 10, 25])
def test_indices_are_int64_and_every_batch_is_full(batch_size):
    batches = Batches(10, batch_size, seed=0)
    for step in range(12):
        indices = batches.indices(step)
        assert indices.dtype == np.int64
        assert indices.shape == (batch_size,)


def test_changing_a_returned_batch_changes_no_later_one():
    batches = Batches(10, 5, seed=0)
    before = batches.indices(0).copy()
    batches.indices(0)[:] = -1
    np.testing.assert_array_equal(batches.indices(0), before)


def test_a_very_late_step_is_computed_at_once():
    late = Batches(60, 50, seed=3).indices(10**15)
    assert set(late) <= set(range(60))


def test_numpy_integers_are_accepted():
    batches = Batches(np.int32(10), np.uint8(200), np.int64(1))
    # 200 * 255 would overflow uint8
    expected = Batches(10, 200, 1).indices(255)
    np.testing.assert_array_equal(batches.indices(np.uint8(255)), expected)


def test_memory_stays_flat_over_many_passes():
    batches = Batches(10_000, 10_000, seed=0)
    batches.indices(0)
    tracemalloc.start()
    for step in range(1, 30):
        batches.indices(step)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200_000  # two orders of 80,000 bytes at most


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0, 1, 0), "count"), ((-1, 1, 0), "count"), ((1, 0, 0), "batch_size"), ((1, 1, -1), "seed")],
)
def test_numbers_out_of_range_are_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=rf"^{name}: expected at least \d, got -?\d$"):
        Batches(*arguments)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((1.5, 1, 0), "count"), ((1, "5", 0), "batch_size"), ((1, 1, None), "seed")],
)
def test_arguments_that_are_no_integers_are_refused_by_name(arguments, name):
    with pytest.raises(TypeError, match=f"^{name}: expected an integer, got "):
        Batches(*arguments)


def test_a_bool_is_no_batch_size():
    with pytest.raises(TypeError, match="^batch_size: expected an integer, got True$"):
        Batches(10, True, 0)


def test_a_negative_step_is_refused():
    with pytest.raises(ValueError, match="^step: expected at least 0, got -1$"):
        Batches(10, 5, 0).indices(-1)


def test_a_fractional_step_is_refused():
    with pytest.raises(TypeError, match="^step: expected an integer, got 0.5$"):
        Batches(10, 5, 0).indices(0.5)


# --- to_float --------------------------------------------------------------------------------

ALL_PIXELS = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_pixel_is_divided_by_255_in_the_asked_dtype(dtype):
    expected = np.array([dtype(pixel) / dtype(255) for pixel in range(256)])
    result = to_float(ALL_PIXELS, dtype)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.ravel(), expected)


def test_floats_are_float32_with_a_channel_axis():
    result = to_float(ALL_PIXELS)
    assert result.dtype == np.float32
    assert result.shape == (2, 8, 16, 1)


def test_no_images_give_no_floats():
    assert to_float(np.empty((0, 28, 28), np.uint8)).shape == (0, 28, 28, 1)


def test_images_that_are_not_contiguous_are_read_in_their_order():
    turned = ALL_PIXELS.transpose(2, 1, 0)[::-2]
    np.testing.assert_array_equal(to_float(turned), to_float(turned.copy()))


def test_to_float_leaves_the_images_as_they_are():
    images = ALL_PIXELS.copy()
    to_float(images)
    np.testing.assert_array_equal(images, ALL_PIXELS)


def test_out_is_filled_and_returned():
    out = np.full((2, 8, 16, 1), np.nan, np.float32)
    assert to_float(ALL_PIXELS, out=out) is out
    np.testing.assert_array_equal(out, to_float(ALL_PIXELS))


@pytest.mark.parametrize("out", [np.empty((2, 8, 16), np.float32), np.empty((2, 8, 16, 1), np.float64)])
def test_an_out_of_another_shape_or_dtype_is_refused(out):
    with pytest.raises(ValueError, match="^out: expected float32 of shape .*, got float"):
        to_float(ALL_PIXELS, out=out)


def test_an_out_that_could_be_broadcast_into_is_refused():
    with pytest.raises(ValueError, match="^out: "):
        to_float(ALL_PIXELS[:1], out=np.empty((5, 8, 16, 1), np.float32))


@pytest.mark.parametrize("images", [ALL_PIXELS / 255, ALL_PIXELS.astype(int), [[[1]]]])
def test_images_that_are_not_uint8_are_refused(images):
    with pytest.raises(TypeError, match="^images: expected an array of uint8, got "):
        to_float(images)


def test_images_of_another_rank_are_refused():
    with pytest.raises(
        ValueError, match=r"^images: expected shape \(N, H, W\) or \(N, H, W, C\), got \(8, 16\)$"
    ):
        to_float(ALL_PIXELS[0])


def test_a_dtype_that_cannot_hold_fractions_is_refused():
    with pytest.raises(TypeError, match="^dtype: expected a floating-point type, got int64$"):
        to_float(ALL_PIXELS, np.int64)
