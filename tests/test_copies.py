"""Everything can be copied and pickled, alone or together; a copy trains like the original, bit for bit."""

import copy
import pickle

import numpy as np
import pytest

from minicnn import SGD, Adam, BatchNorm2D, Dense, Dropout, Flatten, Loader, Sequential, SoftmaxCrossEntropy
from minicnn.checks.examples import small_layers
from minicnn.data import Batches, Split
from minicnn.data.augmentation import Augmentation
from minicnn.engine.averaging import MovingAverage

both_ops = pytest.mark.parametrize("ops", ["kernels", "reference"])
WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda thing: pickle.loads(pickle.dumps(thing))}
every_way = pytest.mark.parametrize("duplicate", WAYS.values(), ids=WAYS)


def training(ops, make=Adam):
    """A network with every kind of state, large enough for a pending gradient, its loss and optimizer."""
    layers = [BatchNorm2D(1, ops=ops), Flatten(ops=ops), Dense(400, 300, name="large", rng=1, ops=ops)]
    layers += [Dropout(0.5, rng=2, ops=ops), Dense(300, 3, name="small", rng=3, ops=ops)]
    network, loss = Sequential(layers, (20, 20, 1)), SoftmaxCrossEntropy(label_smoothing=0.1, ops=ops)
    return network, loss, make(network.parameters(), 0.01, ops=ops)


def learn(network, loss, optimizer, steps=2, until="step"):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        x = rng.standard_normal((4, 20, 20, 1), np.float32)
        loss.forward(network.forward(x, training=True), np.array([0, 1, 2, 0]))
        network.backward(loss.backward(), input_gradient=False)
        if until == "step":
            optimizer.step()


def assert_same_training(first, second):
    for name, array in first[0].arrays().items():
        np.testing.assert_array_equal(second[0].arrays()[name], array, err_msg=name)
    for name, array in first[2].state.items():
        np.testing.assert_array_equal(second[2].state[name], array, err_msg=name)
    assert first[2].steps == second[2].steps


@both_ops
@every_way
@pytest.mark.parametrize("make", [Adam, SGD])
@pytest.mark.parametrize("together", [(0, 1, 2), (2, 1, 0)], ids=["network first", "optimizer first"])
def test_a_copy_of_network_and_optimizer_trains_like_the_original(ops, duplicate, make, together):
    original = training(ops, make)
    learn(*original)
    copied = duplicate([original[i] for i in together])
    twin = [copied[together.index(i)] for i in range(3)]
    before = twin[0].values.copy()
    learn(*twin)
    assert not np.array_equal(twin[0].values, before)
    np.testing.assert_array_equal(original[0].values, before)  # the original stayed where it was
    learn(*original)
    assert_same_training(original, twin)


@both_ops
@every_way
def test_a_copy_between_backward_and_step_has_the_gradient(ops, duplicate):
    original = training(ops)
    learn(*original, steps=1, until="backward")
    twin = duplicate(original)
    for _, _, optimizer in original, twin:
        optimizer.step()
    assert_same_training(original, twin)


@every_way
def test_networks_that_share_layers_share_them_in_their_copies(duplicate):
    layers = [Dense(3, 4, name="a"), Dense(4, 2, name="b")]
    whole, part = duplicate([Sequential(layers, (3,)), Sequential(layers[:1], (3,))])
    part.parameters()[0].value = np.zeros((3, 4))
    assert not whole.values[:12].any()


@both_ops
@every_way
def test_every_layer_can_be_copied_after_a_forward(ops, duplicate):
    for name, (make, x) in small_layers(np.random.default_rng(0), ops).items():
        layer = make()
        layer.forward(x, training=True)
        twin = duplicate(layer)
        np.testing.assert_array_equal(twin.forward(x), layer.forward(x), err_msg=name)
        with pytest.raises(RuntimeError, match="no matching forward"):
            duplicate(layer).backward(x)


@every_way
def test_a_fixed_mask_is_copied(duplicate):
    dropout = Dropout(0.5)
    dropout.fixed_mask = np.array([[True, False]])
    assert duplicate(dropout).forward(np.ones((1, 2), np.float32), training=True).tolist() == [[2, 0]]


@both_ops
@every_way
def test_a_loss_is_copied_with_what_its_forward_left(ops, duplicate):
    loss = SoftmaxCrossEntropy("sum", ops=ops)
    loss.forward(np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([0, 1]))
    np.testing.assert_array_equal(duplicate(loss).backward(), loss.backward())


@both_ops
@every_way
@pytest.mark.parametrize("augmentation", [None, Augmentation(shift=1, elastic=1)])
def test_a_loader_is_copied(ops, duplicate, augmentation):
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), np.uint8)
    loader = Loader(Split(images, np.arange(9, dtype=np.uint8)), 4, 0, augmentation, ops=ops)
    expected = [array.copy() for array in loader(3)]
    twin = duplicate(loader)
    loader(1)
    for actual, array in zip(twin(3), expected, strict=True):
        np.testing.assert_array_equal(actual, array)


@both_ops
@every_way
def test_a_moving_average_is_copied_with_its_networks(ops, duplicate):
    network, model = (Sequential([Dense(3, 2, rng=seed, ops=ops)], (3,)) for seed in (0, 1))
    twin = duplicate(MovingAverage(network, model, 0.5, ops))
    twin.update(5)
    assert not np.array_equal(twin.network.values, network.values)
    MovingAverage(network, model, 0.5, ops).update(5)
    np.testing.assert_array_equal(twin.network.values, network.values)


def test_what_users_print_is_one_short_line():
    split = Split(np.zeros((20, 28, 28), np.uint8), np.zeros(20, np.uint8))
    network = Sequential([Dense(3, 2, name="a"), Dropout(name="b")], (3,))
    expected = {
        "Sequential('network': a, b)": network,
        "Dense(name='a', in_features=3, out_features=2)": network.layers[0],
        "Parameter('a.weight', [3, 2], float32)": network.parameters()[0],
        "Adam(2 parameters, learning_rate=0.0001)": Adam(network.parameters()),
        "SoftmaxCrossEntropy('mean', label_smoothing=0.1)": SoftmaxCrossEntropy(label_smoothing=0.1),
        "Batches(5, batch_size=2, seed=0)": Batches(5, 2, 0),
        "Loader(20 images, batch_size=5, seed=0)": Loader(split, 5, 0),
        "Split(20 images, uint8 [28, 28])": split,
        "MovingAverage('network' follows 'network', decay=0.5)": MovingAverage(network, network, 0.5),
    }
    assert {repr(thing): thing for thing in expected.values()} == expected
