"""What the answers of the notebooks' self-tests say in numbers, computed with the engine."""

import json
import math

import numpy as np
from test_course import COURSE

import minicnn
from minicnn import Conv2D, Dense, MaxPool2D, ReLU, gradient_check, reference
from minicnn.engine.initializers import truncated_normal


def parameters(*layers):
    return sum(p.value.size for layer in layers for p in layer.parameters)


def sizes(side, *layers):
    """The sides after each layer, for square images."""
    found, shape = [], (side, side, 1)
    for layer in layers:
        shape = layer.output_shape(shape)
        found.append(shape[0])
    return found


def pool_gradients(pool):
    """What each of four numbers gets of a gradient of 4."""
    pool.forward(np.array([0.2, 0.9, 0.7, 0.1]).reshape(1, 2, 2, 1), training=True)
    return ", ".join(f"{g:g}" for g in pool.backward(np.full((1, 1, 1, 1), 4.0)).ravel())


def through_relu(bias):
    """dw, dx and db of ReLU(w x + b) for w = -2, x = 3, dy = 4."""
    dense, relu = Dense(1, 1, dtype=np.float64), ReLU()
    dense.weight.value[:], dense.bias.value[:] = -2, bias
    relu.forward(dense.forward(np.array([[3.0]]), training=True), training=True)
    dx = dense.backward(relu.backward(np.array([[4.0]])))
    return [f"{g.item():g}" for g in (dense.weight.grad, dx, dense.bias.grad)]


def score_gradient():
    loss = minicnn.SoftmaxCrossEntropy()
    loss.forward(np.log([[0.1, 0.7, 0.2]]), np.array([2]))
    return "(" + ", ".join(f"{g:.1f}" for g in loss.backward()[0]) + ")"


def deviation():
    """What is left of a deviation of 0.1 when values beyond two of them are drawn again."""
    return truncated_normal(0.1)(np.random.default_rng(0), (1_000_000,)).std()


def walked(optimizer, **settings):
    """How far a weight goes in 50 steps, if its gradient is always 0.001."""
    weight = minicnn.Parameter("weight", np.zeros(1))
    rule = optimizer([weight], 0.01, **settings)
    for _ in range(50):
        weight.grad[:] = 0.001
        rule.step()
    return abs(weight.value.item())


def first_step_without_correction(beta2):
    """The first step of Adam's uncorrected means over the first step of Adam, for a gradient of 1."""
    value, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    reference.adam_update(value, np.ones(1), m, v, 1, learning_rate=1.0, beta2=beta2)
    return (m / np.sqrt(v) / -value).item()


def dead(step):
    """The dead units of fc1, seed 0, b = 0.1, as notebook 04 has them."""
    runs = json.loads((COURSE / "data" / "dead_units.json").read_text())["training"]
    (stops,) = [run["stops"] for run in runs if (run["bias"], run["seed"]) == (0.1, 0)]
    return next(stop["fc1"] for stop in stops if stop["step"] == step)


def sees(*layers):
    """How many pixels across the middle unit after these layers depends on."""
    net = minicnn.Sequential(list(layers), (48, 48, 1))
    seen, rng = np.zeros(48, bool), np.random.default_rng(0)
    for _ in range(20):  # a pool passes gradients to its maximum only: other inputs, other maxima
        y = net.forward(rng.random((4, 48, 48, 1), np.float32), training=True)
        dy = np.zeros_like(y)
        dy[:, y.shape[1] // 2, y.shape[2] // 2] = 1
        seen |= (net.backward(dy) != 0).any(axis=(0, 2, 3))
    return np.ptp(np.flatnonzero(seen)) + 1


def and_a_third():
    """Convolution, pool, convolution, pool, and a 3x3 convolution: the first four are the tutorial's."""
    return [
        Conv2D(1, 8, name="conv1", rng=0),
        MaxPool2D(name="pool1"),
        Conv2D(8, 8, name="conv2", rng=1),
        MaxPool2D(name="pool2"),
        Conv2D(8, 8, kernel_size=3, name="conv3", rng=2),
    ]


def claimed_over_true(n):
    """What a weight gradient divided by the number of rows, n, is over the true one."""
    x, dy = (np.random.default_rng(0).normal(size=(n, width)) for width in (5, 3))
    dense = Dense(5, 3, dtype=np.float64)
    dense.forward(x, training=True)
    dense.backward(dy)
    return np.mean(x.T @ dy / len(x) / dense.weight.grad)


def centred(dy=None):
    """The verdict on a backward of 0 for a layer that subtracts the mean of each row."""
    x = np.random.default_rng(0).normal(size=(4, 6))
    pair = (lambda x: x - x.mean(axis=1, keepdims=True), lambda dy, y: 0 * y)
    return gradient_check(pair, x, dy=dy).verdict.split(":")[0]


THREE_WAYS = Conv2D(3, 16, kernel_size=3)
SMALL = Conv2D(16, 32, kernel_size=3)
SCORES = np.array([[2.0, 1.0, 0.0]])


def standard_error(share, images):
    return 100 * math.sqrt(share * (1 - share) / images)


# Notebook, question, and the numbers of its answer, each as a function that returns it in print.
NUMBERS = [
    ("00", 1, lambda: [f"{math.log(26):.2f}", f"{math.log(10):.2f}"]),
    (
        "00",
        2,
        lambda: [f"{parameters(Conv2D(1, 32), Conv2D(32, 64), Dense(3136, 512), Dense(512, 10)):,}"],
    ),
    ("00", 2, lambda: [f"{parameters(Conv2D(1, 32)):,}", f"{parameters(Conv2D(32, 64)):,}"]),
    ("01", 1, lambda: [str(THREE_WAYS.weight.value[..., 0].size), str(THREE_WAYS.weight.value.size)]),
    ("01", 1, lambda: [str(parameters(THREE_WAYS)), f"{math.prod(THREE_WAYS.output_shape((32, 32, 3))):,}"]),
    ("01", 2, lambda: [str(32 * Conv2D(1, 1).weight.value.size), f"{Conv2D(32, 32).weight.value.size:,}"]),
    ("01", 3, lambda: [f"{28 * 28 * parameters(Conv2D(1, 32)):,}"]),
    (
        "02",
        1,
        lambda: [
            "{}, {} and {}".format(
                *sizes(32, Conv2D(1, 1, padding="valid"), MaxPool2D(), Conv2D(1, 1, kernel_size=3, stride=2))
            )
        ],
    ),
    ("02", 2, lambda: [str(*sizes(28, Conv2D(1, 1, stride=3)))]),
    ("02", 3, lambda: [pool_gradients(MaxPool2D()), pool_gradients(minicnn.AveragePool2D())]),
    ("03", 1, lambda: [str(list(np.zeros((100, 784)).reshape(-1, 14, 14, 4).shape))]),
    ("03", 2, lambda: [f"{np.ravel_multi_index((2, 5, 10), (7, 7, 64)):,}"]),
    (
        "03",
        3,
        lambda: [f"{minicnn.tutorial_network(input_shape=(56, 56, 1)).layers[3].weight.value.shape[0]:,}"],
    ),
    (
        "04",
        2,
        lambda: [f"{math.sqrt(2 / 25):.3f}", f"{deviation():.3f}", f"{deviation() / math.sqrt(2 / 25):.2f}"],
    ),
    ("04", 3, lambda: [str(dead(0) - dead(300))]),
    (
        "05",
        1,
        lambda: [
            f"{reference.softmax(SCORES + 100)[0, 0]:.3f}",
            f"{reference.softmax(2 * SCORES)[0, 0]:.3f}",
        ],
    ),
    ("05", 2, lambda: [f"{parameters(Dense(784, 100), Dense(100, 50), Dense(50, 10)):,}"]),
    ("05", 2, lambda: [f"{parameters(Dense(784, 10)):,}"]),
    ("06", 1, lambda: ["dw = 4 x 3 = {}, dx = 4 x (-2) = {}, db = {}".format(*through_relu(7))]),
    ("06", 2, lambda: [score_gradient()]),
    ("07", 1, lambda: [f"{reference.dropout_forward(np.array([3.0]), np.array([True]), 0.8)[0].item():.2f}"]),
    ("07", 1, lambda: [f"{200 * 0.8:.0f}"]),
    ("07", 2, lambda: [f"{1024 * 0.2:.0f}", f"{1024 * 0.8:.0f}", f"{1 / 0.2:g}", f"{1 / 0.8:g}"]),
    ("07", 3, lambda: [f"{2 * math.tanh(1):.2f}", f"{math.tanh(2):.2f}"]),
    ("08", 1, lambda: [f"{walked(minicnn.SGD):.4f}", f"{walked(minicnn.Adam):.1f}"]),
    ("08", 3, lambda: [f"{first_step_without_correction(0.99):.2f} times"]),
    ("09", 1, lambda: [f"{100 * 0.98**4:.1f} %", f"{1 / (1 - 0.98**4):.0f}"]),
    ("09", 2, lambda: [f"{standard_error(0.98, 1000):.2f} points"]),
    ("09", 3, lambda: [f"{20_000 * 100 / 55_000:.2f}", f"{20_000 * 50 / 55_000:.2f}"]),
    ("10", 1, lambda: [f"{parameters(SMALL):,}", f"{SMALL.weight.value.size:,}"]),
    ("10", 1, lambda: [f"{2 * SMALL.weight.value.size * 20 * 20:,}", f"{2 * SMALL.weight.value.size:,}"]),
    (
        "10",
        2,
        lambda: [f"{1000 * 2 * 3136 * 1024 / 160e9:.2f} ms", f"{1000 * 4 * 3136 * 1024 / 35e9:.2f} ms"],
    ),
    ("10", 3, lambda: [f"{1 / (1 - 0.1 / 2):.2f} times"]),
    ("11", 1, lambda: [str(sees(*and_a_third()))]),
    ("11", 1, lambda: [str(sees(*and_a_third(), MaxPool2D(name="pool3")))]),
    ("12", 1, lambda: [f"{claimed_over_true(32):.5f}"]),
    ("12", 2, lambda: [centred(dy=np.ones((4, 6))), centred()]),
    ("12", 3, lambda: [f"{1 / (2 * 1e-5):,.0f}"]),
]
