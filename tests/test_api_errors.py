"""A wrong argument is named, with what was expected and what was given."""

import re

import numpy as np
import pytest

from minicnn import (
    SGD,
    Adam,
    Conv2D,
    ConvReLUPool,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    load_mnist,
    load_network,
    softmax_regression,
    tutorial_network,
)
from minicnn.engine.network import build
from minicnn.engine.parameters import Parameter

NAN, INF = float("nan"), float("inf")
OPS = {"ops": "reference"}
PARAMETERS = [Dense(2, 1).weight]
IMAGES = np.zeros((3, 28, 28), np.uint8)
X = np.zeros((3, 28, 28, 1), np.float32)
SWAPPED = np.dtype(np.float32).newbyteorder()
LOGITS = np.zeros((3, 10), np.float32)


def forward(x):
    return softmax_regression(**OPS).forward(x)


def backward(dy):
    net = softmax_regression(**OPS)
    net.forward(X, training=True)
    return net.backward(dy)


def predict(images):
    return softmax_regression(**OPS).predict(images)


def loss(logits, labels):
    return SoftmaxCrossEntropy(**OPS).forward(logits, np.array(labels))


def refused(error, argument, function, *args, **named):
    text = ", ".join([*(repr(a)[:30] for a in args), *(f"{k}={v!r}" for k, v in named.items())])
    text = re.sub(r" at 0x\w+", "", text)  # an address differs from process to process
    return pytest.param(error, argument, lambda: function(*args, **named), id=f"{function.__name__}({text})")


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        refused(TypeError, "path", load_mnist, 5),
        refused(ValueError, "seed", tutorial_network, seed=-1),
        refused(TypeError, "seed", tutorial_network, seed=1.5),
        refused(ValueError, "keep_prob", tutorial_network, keep_prob=0),
        refused(ValueError, "keep_prob", tutorial_network, keep_prob=NAN),
        refused(TypeError, "dtype", tutorial_network, dtype=int),
        refused(TypeError, "dtype", tutorial_network, dtype=np.float16),
        refused(TypeError, "dtype", softmax_regression, dtype="nonsense"),
        refused(TypeError, "dense.weight", Dense, 2, 3, weight_init=0.5),
        refused(
            TypeError, "dense.weight", Dense, 2, 3, weight_init=lambda rng, shape: np.ones(shape, complex)
        ),
        refused(TypeError, "dense.bias", Dense, 2, 3, bias_init=lambda rng, shape: None),
        refused(ValueError, "dense.weight", Dense, 2, 3, weight_init=lambda rng, shape: np.ones(shape[::-1])),
        refused(ValueError, "conv.bias", Conv2D, 2, 3, bias_init=lambda rng, shape: 0.5),
        refused(ValueError, "dense.weight", Dense, 2, 3, weight_init=lambda rng, shape: np.full(shape, NAN)),
        refused(ValueError, "dense.weight", Dense, 1, 1, values={"weight": [[NAN]], "bias": [0.0]}),
        refused(ValueError, "ops", softmax_regression, ops="blas"),
        refused(ValueError, "in_channels", Conv2D, 0, 1),
        refused(TypeError, "filters", Conv2D, 1, 1.5),
        refused(TypeError, "filters", ConvReLUPool, 1, "many"),
        refused(TypeError, "kernel_size", Conv2D, 1, 1, 2.5),
        refused(ValueError, "kernel_size", Conv2D, 1, 1, (3, 3, 3)),
        refused(ValueError, "kernel_size", Conv2D, 1, 1, (3, 0)),
        refused(TypeError, "stride", Conv2D, 1, 1, stride=1.5),
        refused(ValueError, "padding", Conv2D, 1, 1, padding="full"),
        refused(TypeError, "in_features", Dense, 1.5, 1),
        refused(ValueError, "out_features", Dense, 1, -1),
        refused(TypeError, "keep_prob", Dropout, None),
        refused(ValueError, "keep_prob", Dropout, 1.5),
        refused(ValueError, "size", MaxPool2D, 0),
        refused(ValueError, "size", MaxPool2D, 16),
        refused(TypeError, "size", MaxPool2D, 1.5),
        refused(ValueError, "stride", MaxPool2D, 2, stride=0),
        refused(ValueError, "layers", Sequential, [], (2,)),
        refused(TypeError, "layers", Sequential, [3], (2,)),
        refused(ValueError, "layers", Sequential, [ReLU(), ReLU()], (2,)),
        refused(TypeError, "input_shape", Sequential, [Flatten()], 3),
        refused(ValueError, "input_shape", Sequential, [Flatten()], (0, 2)),
        refused(ValueError, "dense: x", Sequential, [Dense(2, 1)], (3,)),
        refused(TypeError, "x", forward, [[1.0]]),
        refused(TypeError, "x", forward, X.astype(np.float64)),
        refused(TypeError, "x", forward, X.astype(SWAPPED)),
        refused(ValueError, "x", forward, X[:, :5]),
        refused(ValueError, "x", forward, X[:0]),
        refused(TypeError, "dy", backward, [[1.0]]),
        refused(ValueError, "dy", backward, LOGITS[:2]),
        refused(ValueError, "dy", backward, LOGITS.astype(np.float64)),
        refused(TypeError, "images", predict, ["a"]),
        refused(TypeError, "images", predict, IMAGES.astype(int)),
        refused(ValueError, "images", predict, IMAGES[:, :5]),
        refused(ValueError, "images", predict, IMAGES[:0]),
        refused(ValueError, "images", predict, np.full_like(X, NAN)),
        refused(ValueError, "images", predict, np.full_like(X, INF)),
        refused(ValueError, "reduction", SoftmaxCrossEntropy, "max"),
        refused(TypeError, "logits", loss, [[1.0]], [0]),
        refused(TypeError, "logits", loss, LOGITS.astype(int), [0, 1, 2]),
        refused(TypeError, "logits", loss, LOGITS.astype(np.float16), [0, 1, 2]),
        refused(TypeError, "logits", loss, LOGITS.astype(SWAPPED), [0, 1, 2]),
        refused(ValueError, "logits", loss, LOGITS[0], [0]),
        refused(ValueError, "labels", loss, LOGITS, [0, 1, 10]),
        refused(ValueError, "labels", loss, LOGITS, [0, 1, -1]),
        refused(ValueError, "labels", loss, LOGITS, [0, 1]),
        refused(TypeError, "labels", loss, LOGITS, [0.0, 1.0, 2.0]),
        refused(TypeError, "value", Parameter, "weight", [1.0]),
        refused(TypeError, "value", Parameter, "weight", LOGITS.astype(int)),
        refused(TypeError, "value", Parameter, "weight", LOGITS.astype(SWAPPED)),
        refused(ValueError, "parameters", Adam, []),
        refused(TypeError, "parameters", Adam, [3]),
        *(
            refused(ValueError, "learning_rate", Adam, PARAMETERS, rate)
            for rate in (0, -1, NAN, INF, 10**400)
        ),
        refused(TypeError, "learning_rate", SGD, PARAMETERS, "fast"),
        *(refused(ValueError, "beta1", Adam, PARAMETERS, beta1=beta) for beta in (-0.1, 1, NAN)),
        *(refused(ValueError, "beta2", Adam, PARAMETERS, beta2=beta) for beta in (-0.1, 1, NAN)),
        *(refused(ValueError, "epsilon", Adam, PARAMETERS, epsilon=e) for e in (0, NAN, INF)),
        *(refused(ValueError, "momentum", SGD, PARAMETERS, momentum=m) for m in (-0.1, 1, NAN)),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected_and_given(error, argument, call):
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    message = str(caught.value)
    assert re.search(rf"(^|: ){argument}: expected .*, got .+", message), message
    assert "\n" not in message


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_network_is_not_built_of_numbers_that_are_not_finite(bad):
    net = softmax_regression(**OPS)
    net.values[5] = bad
    with pytest.raises(ValueError, match=r"^fc.weight: expected finite numbers, got NaN or infinity$"):
        build(net.architecture(), net.arrays())


def test_a_file_that_is_no_network_is_named(tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'absent'}: cannot be read")):
        load_network(tmp_path / "absent")


@pytest.mark.parametrize("net", [softmax_regression(**OPS)])
def test_a_network_that_cannot_be_saved_leaves_the_old_file(tmp_path, net):
    net.save(tmp_path / "net")
    before = (tmp_path / "net").read_bytes()
    with pytest.raises(OSError, match="nowhere"):
        net.save(tmp_path / "nowhere" / "net")
    assert (tmp_path / "net").read_bytes() == before
