"""Break it, as twins, on the page `minicnn explore`: what is trained, that it comes back, what is claimed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minicnn import (
    Adam,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    gradient_check,
    load_mnist,
    train_step,
)
from minicnn.data import Dataset, Split, to_float
from minicnn.data.batches import Batches
from minicnn.explore.differences import DIFFERENCES, twins_of
from minicnn.explore.naive_loss import NaiveCrossEntropy
from minicnn.explore.pair import KEEP_EVERY, STOP, Pair
from minicnn.explore.pairs import check_of
from minicnn.explore.twins import RELUS, Training, Twin, different_fields
from minicnn.explore.wrong_gradients import WRONG

MNIST = load_mnist()
TRAIN = Split(MNIST.train.images[:400], MNIST.train.labels[:400])
FEW = Dataset(TRAIN, TRAIN, Split(MNIST.test.images[:60], MNIST.test.labels[:60]))
TEST = MNIST.test.images[:100]
SMALL = {"filters": (2, 3), "units": 12}
CHOICES = [(name, value) for name, d in DIFFERENCES.items() for value in list(d.values)[1:]]


def training(difference, value, seed=0, **sizes):
    twin = replace(DIFFERENCES[difference].twin(value), **sizes)
    return Training(twin, MNIST.train, seed, "reference" if sizes else "kernels")


def usual(difference):
    return next(iter(DIFFERENCES[difference].values))


def pair_of(difference, value, seed=0):
    twins = tuple(replace(twin, **SMALL) for twin in twins_of(difference, usual(difference), value))
    return Pair(twins, seed, FEW, "reference")


def run(pair, step):
    for _ in pair.go(step):
        pass


def state(pair):
    return [(s.values.tobytes(), str(s.random), s.steps) for s in (twin.snapshot() for twin in pair.twins)]


# --- what is trained ------------------------------------------------------------------------------


@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_a_twin_has_the_same_bits_as_a_network_that_is_built_and_trained_by_hand(ops):
    rng = np.random.default_rng(5)
    network = Sequential(
        [
            Conv2D(1, 8, 5, name="conv1", rng=rng, ops=ops),
            ReLU(name="conv1.relu", ops=ops),
            MaxPool2D(name="conv1.pool", ops=ops),
            Conv2D(8, 16, 5, name="conv2", rng=rng, ops=ops),
            ReLU(name="conv2.relu", ops=ops),
            MaxPool2D(name="conv2.pool", ops=ops),
            Flatten(ops=ops),
            Dense(784, 128, name="fc1", rng=rng, ops=ops),
            ReLU(ops=ops),
            Dropout(0.5, rng=rng.spawn(1)[0], ops=ops),
            Dense(128, 10, name="fc2", rng=rng, ops=ops),
        ],
        (28, 28, 1),
    )
    optimizer = Adam(network.parameters(), 1e-3, ops=ops)
    loss, batches = SoftmaxCrossEntropy("mean", ops=ops), Batches(55_000, 50, 5)
    twin = Training(Twin(keep_prob=0.5), MNIST.train, 5, ops)
    for step in (1, 2, 3):
        chosen = batches.indices(step - 1)
        x, labels = to_float(MNIST.train.images[chosen]), MNIST.train.labels[chosen]
        assert twin.make_step(step) == train_step(network, loss, optimizer, x, labels)
    np.testing.assert_array_equal(twin.network.values, network.values)


@pytest.mark.parametrize(("difference", "value"), CHOICES)
def test_two_twins_differ_in_one_field(difference, value):
    a, b = twins_of(difference, usual(difference), value)
    assert different_fields(a, b) == [DIFFERENCES[difference].field]


def aspects(twin):
    """All that a training consists of, piece by piece."""
    arrays, (x, labels) = twin.network.arrays(), twin.batch(1)
    layers = {layer.name: type(layer) for layer in twin.network.layers}
    wrong = {name for name, kind in layers.items() if kind.__module__.endswith("wrong_gradients")}
    return {
        "weights": b"".join(a.tobytes() for name, a in arrays.items() if name.endswith("weight")),
        "biases": b"".join(a.tobytes() for name, a in arrays.items() if name.endswith("bias")),
        "relus": [name for name in layers if name.endswith("relu")],
        "others": [name for name in layers if not name.endswith("relu")],
        "wrong": wrong,
        "keep": next(layer for layer in twin.network.layers if isinstance(layer, Dropout)).keep_prob,
        "masks": str(next(iter(twin.network.state().values())).bit_generator.state),
        "optimizer": type(twin.optimizer),
        "rate": twin.optimizer.learning_rate,
        "reduction": twin.loss.reduction,
        "loss": type(twin.loss),
        "pixels": x.tobytes(),
        "labels": labels.tobytes(),
    }


CHANGED = {
    "bias": "biases",
    "weights": "weights",
    "relu": "relus",
    "optimizer": "optimizer",
    "rate": "rate",
    "reduction_sgd": "reduction",
    "reduction_adam": "reduction",
    "pixels": "pixels",
    "keep": "keep",
    "evaluation": None,  # see below: only the test changes
    "gradient": "wrong",
    "loss": "loss",
    "overflow": "relus",
}


@pytest.mark.parametrize(("difference", "value"), CHOICES)
def test_a_difference_changes_what_it_says_and_nothing_else(difference, value):
    a, b = (aspects(training(difference, v, **SMALL)) for v in (usual(difference), value))
    assert {name for name in a if a[name] != b[name]} == {CHANGED[difference]} - {None}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_gradient_leaves_the_forward_alone(wrong):
    a, b = training("gradient", "right", **SMALL), training("gradient", wrong, **SMALL)
    np.testing.assert_array_equal(a.outputs(TEST, 0)["fc2"], b.outputs(TEST, 0)["fc2"])


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("colour", "a", "b"), "difference: expected one of bias, "),
        (("bias", "tenth", "two"), "twin: expected one of tenth, zero, minus3, got 'two'"),
        (("bias", "zero", "zero"), "expected two different values of bias, got 'zero' twice"),
    ],
)
def test_twins_that_do_not_exist_are_refused(names, line):
    with pytest.raises(ValueError, match=line):
        twins_of(*names)


# --- back to any step -----------------------------------------------------------------------------


def test_going_back_gives_the_same_losses_and_weights_again():
    pair = pair_of("evaluation", "on")  # with dropout, so that random numbers are drawn
    run(pair, KEEP_EVERY + 3)
    there = state(pair)
    run(pair, 2 * KEEP_EVERY + 5)
    losses, end, looks = list(pair.losses), state(pair), dict(pair.looks)
    run(pair, KEEP_EVERY + 3)
    assert (pair.step, state(pair)) == (KEEP_EVERY + 3, there)
    run(pair, 0)
    run(pair, 2 * KEEP_EVERY + 5)
    assert state(pair) == end
    assert pair.losses == losses
    assert pair.same
    assert pair.made_again == 3 + 2 * KEEP_EVERY + 5
    assert {step: look.correct for step, look in pair.looks.items()} == {
        s: old.correct for s, old in looks.items()
    }


def test_losses_that_come_out_differently_are_noticed():
    pair = pair_of("bias", "zero")
    run(pair, 3)
    pair.losses[1] = (pair.losses[1][0], pair.losses[1][1] + 1e-6)
    run(pair, 0)
    run(pair, 3)
    assert not pair.same


def test_a_newer_order_may_come_between_any_two_pieces():
    pair = pair_of("rate", "high")
    run(pair, 30)
    losses = list(pair.losses)
    for target, pieces in [(5, 3), (28, 6), (0, 1), (17, 9), (30, 2)]:
        work = pair.go(target)
        for _ in range(pieces):
            next(work, None)
    run(pair, 30)
    assert pair.losses == losses
    assert pair.same


def test_a_pause_is_a_pause_and_the_end_is_the_end():
    pair = pair_of("bias", "zero")
    work = pair.go(STOP + 1000)
    assert pair.target == STOP
    while pair.step < 4:
        next(work)
    pair.pause()
    assert pair.running  # not tested at this step yet
    list(work)
    assert (pair.step, pair.furthest, pair.running) == (4, 4, False)
    assert 4 in pair.looks


def test_a_loss_that_is_no_number_stays_and_comes_again():
    twins = (replace(twin, learning_rate=2.0, **SMALL) for twin in twins_of("overflow", "all", "none"))
    pair = Pair(tuple(twins), 1, FEW, "reference")
    run(pair, 60)
    _, b = pair.twins
    assert b.diverged is not None
    first = b.diverged
    values = b.network.values.copy()
    assert all(not math.isfinite(loss) for _, loss in pair.losses[first - 1 :])
    assert pair.newest_look()[1].correct[1] == 0
    run(pair, first - 2)
    assert b.diverged is None
    run(pair, 60)
    assert (b.diverged, pair.same) == (first, True)
    np.testing.assert_array_equal(b.network.values, values)


def test_a_test_takes_nothing_from_the_training():
    a, b = training("evaluation", "off", **SMALL), training("evaluation", "on", **SMALL)
    for step in range(1, 4):
        b.outputs(TEST, step)
        assert a.make_step(step) == b.make_step(step)
    np.testing.assert_array_equal(a.network.values, b.network.values)
    on = b.outputs(TEST, 3)["fc2"]
    assert np.abs(on - a.outputs(TEST, 3)["fc2"]).max() > 0.01
    np.testing.assert_array_equal(on, b.outputs(TEST, 3)["fc2"])  # the same mask at the same step


# --- what the page says of them -------------------------------------------------------------------


def units(twin, step=0):
    """The outputs of each ReLU for 100 test images: [places, units]."""
    outputs = twin.outputs(TEST, step)
    return {name: outputs[name].reshape(-1, outputs[name].shape[-1]) for name in RELUS if name in outputs}


def dead(twin, step=0):
    return {name: int((y.max(axis=0) == 0).sum()) for name, y in units(twin, step).items()}


def changed(twin, steps):
    before = {name: array.copy() for name, array in twin.network.arrays().items()}
    for step in range(1, steps + 1):
        twin.make_step(step)
    return {name for name, array in twin.network.arrays().items() if (array != before[name]).any()}


def all_alike(array):
    return bool((array == array[..., :1]).all())


def test_with_a_bias_of_minus_3_all_are_dead_and_only_the_last_bias_learns():
    twin = training("bias", "minus3")
    assert dead(twin) == {"conv1.relu": 8, "conv2.relu": 16, "relu": 128}
    assert changed(twin, 5) == {"fc2.bias"}


@pytest.mark.parametrize("value", ["zero", "tenth"])
def test_no_filter_is_dead_with_a_bias_of_0_or_a_tenth(value):
    found = units(training("bias", value))
    for name in ("conv1.relu", "conv2.relu"):
        assert (found[name].max(axis=0) > 0).all()
        assert (found[name].min(axis=0) == 0).all()


@pytest.mark.parametrize("value", ["equal", "zero"])
def test_equal_filters_stay_equal_to_the_last_bit(value):
    twin = training("weights", value)
    names = changed(twin, 8)
    assert {"conv1.weight", "conv2.weight"} <= names
    arrays = twin.network.arrays()
    assert all(all_alike(arrays[name]) for name in ("conv1.weight", "conv2.weight", "fc1.weight"))
    assert not all_alike(training("weights", "truncated").network.arrays()["conv1.weight"])


def test_in_the_first_step_from_zero_only_the_last_layer_changes():
    assert changed(training("weights", "zero"), 1) == {"fc2.weight", "fc2.bias"}


def test_he_has_another_scale_in_each_layer_and_is_faster_at_first():
    twin = training("weights", "he")
    deviations = {
        name: float(a.std()) for name, a in twin.network.arrays().items() if name.endswith("weight")
    }
    for name, expected in (("conv1.weight", 0.28), ("conv2.weight", 0.1), ("fc1.weight", 0.05)):
        assert deviations[name] == pytest.approx(expected, rel=0.1)
    other = training("weights", "truncated")
    losses = np.array([(twin.make_step(step), other.make_step(step)) for step in range(1, 11)])
    assert losses[-1, 0] < losses[-1, 1] - 0.2


def test_without_any_relu_the_network_is_not_linear():
    twin = training("relu", "none")
    a, b = TEST[:1] // 2, TEST[1:2] // 2
    f = {name: twin.outputs(x, 0)["fc2"] for name, x in (("a", a), ("b", b), ("0", a * 0), ("a+b", a + b))}
    assert np.abs(f["a"] + f["b"] - f["0"] - f["a+b"]).max() > 0.1


def test_adams_first_step_is_the_rate_and_sgds_is_far_less():
    moved = {}
    for value in ("adam", "sgd"):
        twin = training("optimizer", value)
        before = twin.network.values.copy()
        twin.make_step(1)
        moved[value] = np.abs(twin.network.values - before)
    some = moved["adam"] > 0
    assert np.median(moved["adam"][some]) == pytest.approx(1e-3, rel=0.01)
    assert moved["adam"].max() < 1.01e-3
    assert np.median(moved["sgd"][some]) < 1e-5


def test_a_rate_of_a_tenth_kills_all_filters_in_a_dozen_steps():
    twin = training("rate", "higher")
    changed(twin, 12)
    assert dead(twin, 12)["conv1.relu"] == 8
    assert dead(twin, 12)["conv2.relu"] == 16


def test_a_rate_of_a_hundredth_kills_filters_of_conv2():
    twin = training("rate", "high")
    assert dead(twin)["conv2.relu"] == 0
    changed(twin, 10)
    assert dead(twin, 10)["conv2.relu"] >= 4


def test_sgds_step_along_the_sum_is_50_times_that_along_the_mean():
    moved = []
    for value in ("mean", "sum"):
        twin = training("reduction_sgd", value)
        before = twin.network.values.copy()
        twin.make_step(1)
        moved.append(twin.network.values - before)
    np.testing.assert_allclose(moved[1], 50 * moved[0], rtol=0.01, atol=1e-5)
    changed(twin, 20)
    assert dead(twin, 20)["conv2.relu"] == 16


def test_adam_does_not_care_for_a_factor_of_50():
    a, b = training("reduction_adam", "mean"), training("reduction_adam", "sum")
    losses = np.array([(a.make_step(step), b.make_step(step)) for step in range(1, 11)])
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-3)


def test_large_pixels_make_a_large_first_loss():
    assert training("pixels", "bytes").make_step(1) > 20
    assert training("pixels", "one").make_step(1) < 3


def test_with_keep_prob_a_tenth_about_13_of_128_units_remain():
    dropout = next(layer for layer in training("keep", "one").network.layers if isinstance(layer, Dropout))
    kept = dropout.draw_mask((1000, 128)).sum(axis=1)
    assert kept.mean() == pytest.approx(12.8, abs=0.5)


@pytest.mark.parametrize("wrong", WRONG)
def test_the_gradient_check_tells_the_wrong_layer_from_the_right_one(wrong):
    found = check_of(wrong)
    assert found["right"]["ok"]
    assert not found["wrong"]["ok"]
    assert found["wrong"]["verdict"].startswith("WRONG: ")
    assert found["layer"] in ("relu", "fc1", "conv1", "fc2")


def test_a_bias_without_gradient_stays_where_it_is():
    twin = training("gradient", "bias")
    assert "fc1.bias" not in changed(twin, 3)


def test_a_wrong_sign_moves_the_last_weights_the_other_way():
    right, wrong = training("gradient", "right"), training("gradient", "sign")
    names = ("fc2.weight", "fc2.bias", "fc1.weight")
    before = {name: right.network.arrays()[name].copy() for name in names}
    right.make_step(1)
    wrong.make_step(1)
    moves = [[twin.network.arrays()[name] - before[name] for name in names] for twin in (right, wrong)]
    np.testing.assert_allclose(moves[1][0], -moves[0][0], atol=1e-7)
    np.testing.assert_array_equal(moves[1][1], moves[0][1])
    np.testing.assert_array_equal(moves[1][2], moves[0][2])


# --- the loss as written --------------------------------------------------------------------------


def test_the_naive_loss_is_the_engines_where_nothing_underflows():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((5, 10)), rng.integers(0, 10, 5)
    for reduction in ("mean", "sum"):
        a, b = SoftmaxCrossEntropy(reduction), NaiveCrossEntropy(reduction)
        assert b.forward(logits, labels) == pytest.approx(a.forward(logits, labels))
        np.testing.assert_allclose(b.backward(), a.backward(), atol=1e-12)


def test_the_naive_loss_has_the_right_gradient():
    labels = np.array([1, 7])

    class Loss:
        parameters = ()

        def __init__(self):
            self.loss = NaiveCrossEntropy("sum")

        def forward(self, z):
            return np.array(self.loss.forward(z, labels))

        def backward(self, dy):
            return self.loss.backward() * dy

    gradient_check(Loss(), np.random.default_rng(1).standard_normal((2, 10)), parameters={}).assert_ok()


@pytest.mark.parametrize(
    ("gap", "loss_is_finite", "gradient_is_finite"),
    [(88, True, True), (89, True, False), (103, True, False), (104, False, False)],
)
def test_the_naive_loss_ends_where_float32_does(gap, loss_is_finite, gradient_is_finite):
    logits = np.zeros((1, 10), np.float32)
    logits[0, 3] = gap
    naive, joint = NaiveCrossEntropy(), SoftmaxCrossEntropy()
    assert math.isfinite(naive.forward(logits, np.array([0]))) == loss_is_finite
    gradient = naive.backward()
    assert np.isfinite(gradient).all() == gradient_is_finite
    if not loss_is_finite:
        assert np.isnan(gradient).any()
    assert joint.forward(logits, np.array([0])) == pytest.approx(gap)
    assert np.isfinite(joint.backward()).all()


def test_the_naive_loss_ends_the_training_that_the_engines_survives():
    assert training("loss", "naive").make_step(1) == math.inf
    assert math.isfinite(training("loss", "joint").make_step(1))
