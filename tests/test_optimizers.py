"""Optimizers: they apply the update of the reference to every parameter, in one array or in many."""

import numpy as np
import pytest

from minicnn import SGD, Adam
from minicnn.engine import reference
from minicnn.engine.layers import Dense
from minicnn.engine.network import Sequential
from minicnn.engine.ops import find_ops
from minicnn.engine.parameters import Parameter, ParameterStore

both_ops = pytest.mark.parametrize("ops", ["kernels", "reference"])
OPTIMIZERS = [
    lambda parameters, ops="kernels": Adam(parameters, 0.01, 0.8, 0.9, 1e-3, weight_decay=0.5, ops=ops),
    lambda parameters, ops="kernels": SGD(parameters, 0.01, 0.5, ops=ops),
]
both_optimizers = pytest.mark.parametrize("make", OPTIMIZERS, ids=["Adam", "SGD"])


def separate(dtype=np.float64):
    """Three parameters, each with memory of its own."""
    rng = np.random.default_rng(0)
    shapes = {"w": (3, 4), "b": (4,), "v": (4, 2)}
    return [Parameter(name, rng.standard_normal(shape).astype(dtype)) for name, shape in shapes.items()]


def side_by_side(dtype=np.float64):
    """The same parameters in one store."""
    parameters = separate(dtype)
    ParameterStore(parameters)
    return parameters


def train(optimizer, parameters, steps=3):
    """Values after some steps along random gradients, the same ones at each call."""
    rng = np.random.default_rng(1)
    for _ in range(steps):
        for p in parameters:
            p.grad[...] = rng.standard_normal(p.grad.shape)
        optimizer.step()
    return [p.value.copy() for p in parameters]


def assert_same(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-13, atol=1e-15)


@both_ops
def test_adam_is_the_update_of_the_reference_counted_from_step_1(ops):
    parameters = separate()
    value, m, v = parameters[0].value.copy(), np.zeros((3, 4)), np.zeros((3, 4))
    optimizer = Adam(parameters[:1], 0.01, 0.8, 0.9, 1e-3, ops=ops)
    for step in 1, 2, 3:
        parameters[0].grad[...] = step
        optimizer.step()
        reference.adam_update(value, np.full((3, 4), float(step)), m, v, step, 0.01, 0.8, 0.9, 1e-3)
        assert optimizer.steps == step
    assert_same([parameters[0].value], [value])


@both_ops
def test_weight_decay_takes_a_part_of_every_value_before_the_step(ops):
    plain, decayed = separate(), separate()
    for parameters, decay in (plain, 0.0), (decayed, 5.0):
        for p in parameters:
            p.grad[...] = 0
        Adam(parameters, 0.01, weight_decay=decay, ops=ops).step()
    assert_same([p.value for p in decayed], [0.95 * p.value for p in plain])


def test_a_negative_weight_decay_is_refused():
    with pytest.raises(ValueError, match="weight_decay: expected a number from 0, got -1"):
        Adam(separate(), weight_decay=-1)


@both_ops
def test_sgd_is_the_update_of_the_reference(ops):
    parameters = separate()
    value, velocity = parameters[0].value.copy(), np.zeros((3, 4))
    optimizer = SGD(parameters[:1], 0.01, 0.5, ops=ops)
    for step in 1, 2, 3:
        parameters[0].grad[...] = step
        optimizer.step()
        reference.sgd_update(value, np.full((3, 4), float(step)), velocity, 0.01, 0.5)
    assert_same([parameters[0].value], [value])


@both_ops
@both_optimizers
def test_one_array_is_updated_like_its_parts(make, ops):
    apart, together = separate(), side_by_side()
    assert_same(train(make(together, ops), together), train(make(apart, ops), apart))


@both_optimizers
def test_the_parameters_of_a_network_are_moved_in_one_go(make, monkeypatch):
    network = Sequential([Dense(3, 4, name="a"), Dense(4, 2, name="b")], (3,))
    optimizer, moved = make(network.parameters()), []
    monkeypatch.setattr(optimizer, "_move", lambda value, *arrays: moved.append(value.size))
    network.grads[...] = 1
    optimizer.step()
    assert moved == [network.values.size]


@both_optimizers
@pytest.mark.parametrize("chosen", [[2, 1, 0], [0, 2], [1], [1, 2]])
def test_some_of_the_parameters_in_any_order_are_updated_and_no_others(make, chosen):
    apart, together = separate(), side_by_side()
    before = [p.value.copy() for p in together]
    actual = train(make([together[i] for i in chosen]), [together[i] for i in chosen])
    assert_same(actual, train(make([apart[i] for i in chosen]), [apart[i] for i in chosen]))
    for i in {0, 1, 2} - set(chosen):
        np.testing.assert_array_equal(together[i].value, before[i])


@both_optimizers
def test_a_gap_between_parameters_is_left_alone(make):
    memory = np.arange(10.0)
    parameters = [Parameter("a", memory[:3]), Parameter("b", memory[5:8])]
    train(make(parameters), parameters)
    assert memory[[3, 4, 8, 9]].tolist() == [3, 4, 8, 9]


@both_optimizers
@pytest.mark.parametrize("count", [1, 2])
def test_every_second_column_of_an_array_is_updated_alone(make, count):
    memory, grads = np.arange(24.0).reshape(3, 8), np.zeros((3, 8))
    parameters = [Parameter("even", memory[:, ::2]), Parameter("odd", memory[:, 1::2])][:count]
    apart = [Parameter(p.name, p.value.copy()) for p in parameters]
    for i, p in enumerate(parameters):
        p.grad = grads[:, i::2]
    actual = train(make(parameters, "reference"), parameters)
    assert_same(actual, train(make(apart, "reference"), apart))
    if count == 1:
        np.testing.assert_array_equal(memory[:, 1::2], np.arange(24.0).reshape(3, 8)[:, 1::2])


@both_ops
@both_optimizers
def test_a_single_parameter_may_be_a_view(make, ops):
    (apart, *_), view = separate(), Parameter("w", separate()[0].value.ravel().reshape(3, 4))
    assert_same(train(make([view], ops), [view]), train(make([apart], ops), [apart]))


@both_ops
@both_optimizers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(make, ops, dtype):
    parameters = separate(dtype)
    optimizer = make(parameters, ops)
    train(optimizer, parameters)
    arrays = [p.value for p in parameters] + list(optimizer.state.values())
    assert {a.dtype for a in arrays} == {np.dtype(dtype)}


@both_ops
@both_optimizers
def test_gradients_are_not_changed(make, ops):
    parameters = separate()
    for p in parameters:
        p.grad[...] = 0.5
    make(parameters, ops).step()
    assert all((p.grad == 0.5).all() for p in parameters)


@both_ops
@both_optimizers
@pytest.mark.parametrize("arrange", [separate, side_by_side])
@pytest.mark.parametrize("products", [[0], [2], [0, 2]])
def test_a_pending_product_moves_a_parameter_like_the_gradient(make, ops, arrange, products):
    rng = np.random.default_rng(0)
    multiplied, pending = arrange(), arrange()
    optimizers = make(multiplied, ops), make(pending, ops)
    for _ in range(2):
        for i, (p, q) in enumerate(zip(multiplied, pending, strict=True)):
            if i in products:
                x, dy = (rng.standard_normal((6, size)) for size in p.value.shape)
                p.set_gradient(x.T @ dy)
                q.set_gradient_product(x, dy, find_ops(ops))
            else:
                for one in p, q:
                    one.set_gradient(np.full(p.value.shape, 0.5 - i))
        for optimizer in optimizers:
            optimizer.step()
    assert [i for i, q in enumerate(pending) if q.pending is not None] == products
    assert_same([q.value for q in pending], [p.value for p in multiplied])


@both_optimizers
def test_the_learning_rate_can_be_changed_on_the_way(make):
    parameters = separate()
    optimizer = make(parameters)
    expected = train(optimizer, parameters)
    optimizer.learning_rate = 0.0
    optimizer.momentum = 0.0
    assert_same(train(optimizer, parameters), expected)


def test_the_state_is_there_by_name_and_starts_at_zero():
    assert set(Adam(separate()).state) == {"m", "v"}
    assert set(SGD(separate()).state) == {"velocity"}
    assert not any(array.any() for array in Adam(separate()).state.values())


@both_optimizers
def test_a_restored_state_continues_as_if_never_interrupted(make):
    parameters = side_by_side()
    expected = train(make(parameters), parameters, steps=6)

    parameters = side_by_side()
    rng = np.random.default_rng(1)
    optimizer = make(parameters)
    for step in range(6):
        if step == 3:
            restored = make(parameters)
            restored.steps = optimizer.steps
            for name, array in restored.arrays().items():
                array[...] = optimizer.arrays()[name]
            optimizer = restored
        for p in parameters:
            p.grad[...] = rng.standard_normal(p.grad.shape)
        optimizer.step()
    assert_same([p.value for p in parameters], expected)


@pytest.mark.parametrize("optimizer", [Adam, SGD])
def test_no_parameters_are_refused(optimizer):
    with pytest.raises(ValueError, match="parameters: expected at least one, got none"):
        optimizer([])


@pytest.mark.parametrize("optimizer", [Adam, SGD])
@pytest.mark.parametrize("rate", [0, -1e-4, float("nan")])
def test_an_impossible_learning_rate_is_refused(optimizer, rate):
    with pytest.raises(ValueError, match=f"learning_rate: expected a number above 0, got {rate}"):
        optimizer(separate(), rate)


@pytest.mark.parametrize("name", ["beta1", "beta2"])
@pytest.mark.parametrize("beta", [-0.1, 1, float("nan")])
def test_an_impossible_beta_is_refused(name, beta):
    with pytest.raises(ValueError, match=f"{name}: expected 0 <= {name} < 1, got {beta}"):
        Adam(separate(), **{name: beta})


@pytest.mark.parametrize("epsilon", [0, -1e-8, float("nan")])
def test_an_impossible_epsilon_is_refused(epsilon):
    with pytest.raises(ValueError, match="epsilon: expected a number above 0, got"):
        Adam(separate(), epsilon=epsilon)


@pytest.mark.parametrize("momentum", [-0.1, 1, float("nan")])
def test_an_impossible_momentum_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum: expected 0 <= momentum < 1, got"):
        SGD(separate(), momentum=momentum)


@pytest.mark.parametrize("optimizer", [Adam, SGD])
def test_unknown_ops_are_refused(optimizer):
    with pytest.raises(ValueError, match="ops: expected one of kernels, reference, got 'cuda'"):
        optimizer(separate(), ops="cuda")


@pytest.mark.parametrize("optimizer", [Adam, SGD])
def test_a_network_instead_of_its_parameters_is_refused(optimizer):
    network = Sequential([Dense(3, 4)], (3,))
    with pytest.raises(TypeError, match=r"got a network; pass network.parameters\(\)"):
        optimizer(network)


@both_optimizers
@pytest.mark.parametrize("ops", ["kernels", "reference"])
def test_no_gradient_moves_a_parameter_twice(make, ops):
    parameters = separate()
    optimizer = make(parameters, ops)
    for p in parameters:
        p.set_gradient(np.ones_like(p.value))
    optimizer.step()
    before = [p.value.copy() for p in parameters]
    with pytest.raises(RuntimeError, match="w: no new gradient since the last step; call backward"):
        optimizer.step()
    parameters[0].set_gradient(np.ones((3, 4)))  # and not the others
    with pytest.raises(RuntimeError, match="b: no new gradient since the last step"):
        optimizer.step()
    assert_same([p.value for p in parameters], before)
    assert optimizer.steps == 1


@both_optimizers
def test_an_optimizer_of_a_network_that_is_no_longer_trained_refuses_to_step(make):
    optimizer = make(Sequential([Dense(3, 4)], (3,)).parameters())
    network = Sequential([Dense(3, 4)], (3,))  # the cell that builds it was run again
    network.backward(np.ones_like(network.forward(np.ones((2, 3), np.float32), training=True)))
    with pytest.raises(RuntimeError, match=r"dense.weight: no new gradient"):
        optimizer.step()


@both_optimizers
def test_an_optimizer_made_before_the_network_trains_it(make):
    layers = [Dense(3, 4, name="a"), Dense(4, 2, name="b")]
    optimizer = make([p for layer in layers for p in layer.parameters])
    network = Sequential(layers, (3,))
    before = network.values.copy()
    network.backward(np.ones_like(network.forward(np.ones((2, 3), np.float32), training=True)))
    optimizer.step()
    assert (network.values != before).all()


@both_optimizers
def test_two_optimizers_may_use_the_same_gradient(make):
    parameters = separate()
    first, second = make(parameters), make(parameters)
    for p in parameters:
        p.set_gradient(np.ones_like(p.value))
    first.step()
    second.step()
    assert (first.steps, second.steps) == (1, 1)


def test_the_array_of_a_parameter_that_a_network_takes_over_is_locked():
    dense = Dense(3, 4)
    before = dense.weight.value
    network = Sequential([dense], (3,))
    with pytest.raises(ValueError, match="read-only"):
        before[...] = 0
    dense.weight.value[...] = 0
    assert not network.values[:12].any()


@both_optimizers
def test_a_parameter_given_twice_is_refused(make):
    with pytest.raises(ValueError, match="parameters: expected each of them once, got one twice"):
        make(separate()[:1] * 2)


def test_a_layer_instead_of_its_parameters_is_refused():
    with pytest.raises(TypeError, match="parameters: expected a list of them, got Dense"):
        Adam(Dense(3, 4))


@both_optimizers
def test_parameters_may_come_from_a_generator(make):
    assert len(make(p for p in separate()).parameters) == 3


def test_the_state_is_found_by_parameter_in_its_shape():
    optimizer = Adam(side_by_side())
    optimizer.state["m"][:] = np.arange(24)
    assert list(optimizer.arrays()) == ["m/w", "v/w", "m/b", "v/b", "m/v", "v/v"]
    assert optimizer.arrays()["m/b"].tolist() == [12, 13, 14, 15]
    assert optimizer.arrays()["m/v"].shape == (4, 2)
