"""The loss: values, gradients, and what it refuses."""

import math

import naive
import numpy as np
import pytest

from minicnn import SoftmaxCrossEntropy
from minicnn.engine import kernels, reference

both_ops = pytest.mark.parametrize("ops", ["kernels", "reference"])
both_reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


def scores(N=4, K=5, dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, K)).astype(dtype), rng.integers(0, K, N)


@both_ops
def test_the_sum_adds_up_the_losses_of_the_images_and_the_mean_divides(ops):
    logits, labels = scores()
    losses = naive.softmax_cross_entropy(logits, labels)
    assert SoftmaxCrossEntropy("sum", ops=ops).forward(logits, labels) == pytest.approx(sum(losses))
    assert SoftmaxCrossEntropy("mean", ops=ops).forward(logits, labels) == pytest.approx(sum(losses) / 4)


@both_ops
def test_smoothing_shares_a_part_of_what_is_expected_among_all_classes(ops):
    logits, labels = scores()
    loss = SoftmaxCrossEntropy("sum", 0.2, ops=ops)
    losses = naive.softmax_cross_entropy(logits, labels, smoothing=0.2)
    assert loss.forward(logits, labels) == pytest.approx(sum(losses))
    targets = 0.8 * np.eye(5)[labels] + 0.2 / 5
    np.testing.assert_allclose(loss.backward(), reference.softmax(logits) - targets, rtol=1e-12)


@pytest.mark.parametrize("label_smoothing", [-0.1, 1, float("nan")])
def test_smoothing_of_all_or_less_than_nothing_is_refused(label_smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing: expected 0 <= label_smoothing < 1"):
        SoftmaxCrossEntropy(label_smoothing=label_smoothing)


def test_the_mean_is_the_default():
    logits, labels = scores()
    assert SoftmaxCrossEntropy().forward(logits, labels) == SoftmaxCrossEntropy("mean").forward(
        logits, labels
    )


def test_the_loss_is_a_python_float():
    assert type(SoftmaxCrossEntropy().forward(*scores(dtype=np.float32))) is float


@both_ops
@both_reductions
def test_backward_is_the_numerical_gradient(reduction, ops):
    logits, labels = scores()
    loss = SoftmaxCrossEntropy(reduction, ops=ops)
    loss.forward(logits, labels)
    dlogits = loss.backward().copy()
    expected = naive.numerical_gradient(lambda z: loss.forward(z, labels), logits, 1.0)
    np.testing.assert_allclose(dlogits, expected, rtol=1e-6, atol=1e-8)


@both_ops
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(dtype, ops):
    loss = SoftmaxCrossEntropy(ops=ops)
    loss.forward(*scores(dtype=dtype))
    assert loss.backward().dtype == dtype


@both_ops
def test_arguments_are_not_changed(ops):
    logits, labels = scores()
    logits.flags.writeable = labels.flags.writeable = False
    loss = SoftmaxCrossEntropy(ops=ops)
    loss.forward(logits, labels)
    loss.backward()


@both_ops
def test_a_batch_may_be_followed_by_a_smaller_and_a_larger_one(ops):
    loss = SoftmaxCrossEntropy(ops=ops)
    for N in 4, 2, 7:
        logits, labels = scores(N)
        expected, cache = reference.softmax_cross_entropy_forward(logits, labels)
        assert loss.forward(logits, labels) == pytest.approx(expected)
        np.testing.assert_allclose(
            loss.backward(), reference.softmax_cross_entropy_backward(1.0, cache), rtol=1e-12, atol=1e-15
        )


@both_ops
def test_labels_may_be_a_list_or_bytes_as_in_the_data(ops):
    logits, labels = scores()
    loss = SoftmaxCrossEntropy(ops=ops)
    expected = loss.forward(logits, labels)
    assert loss.forward(logits, labels.tolist()) == expected
    assert loss.forward(logits, labels.astype(np.uint8)) == expected


@both_ops
def test_a_diverged_network_has_a_loss_that_is_not_a_number(ops):
    for column in range(5):
        logits, labels = scores()
        logits[2, column] = np.nan
        assert math.isnan(SoftmaxCrossEntropy(ops=ops).forward(logits, labels))


def test_ops_are_chosen_by_name():
    assert SoftmaxCrossEntropy().ops.softmax is kernels.softmax
    assert SoftmaxCrossEntropy(ops="reference").ops.softmax is reference.softmax


@pytest.mark.parametrize("times", [0, 1])
def test_backward_needs_a_forward_of_its_own(times):
    loss = SoftmaxCrossEntropy()
    for _ in range(times):
        loss.forward(*scores())
        loss.backward()
    with pytest.raises(RuntimeError, match="no matching forward"):
        loss.backward()


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match='reduction: expected "mean" or "sum", got \'none\''):
        SoftmaxCrossEntropy("none")


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (5,), (4, 5, 1)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"logits: expected \[N, K\] with N >= 1, got \["):
        SoftmaxCrossEntropy().forward(np.ones(shape), np.zeros(shape[:1], int))


@pytest.mark.parametrize("shape", [(3,), (4, 1), (4, 5), ()])
def test_labels_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"labels: expected shape \[4\], got \["):
        SoftmaxCrossEntropy().forward(np.ones((4, 5)), np.zeros(shape, int))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_labels_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"labels: expected 0 to 4, got .*{wrong}"):
        SoftmaxCrossEntropy().forward(np.ones((3, 5)), np.array([2, wrong, 3]))


@pytest.mark.parametrize("dtype", [float, bool])
def test_labels_that_are_not_integers_are_refused(dtype):
    with pytest.raises(TypeError, match=f"labels: expected integers, got {np.dtype(dtype)}"):
        SoftmaxCrossEntropy().forward(np.ones((3, 5)), np.zeros(3, dtype))
