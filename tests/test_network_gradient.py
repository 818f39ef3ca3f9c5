"""The last link: the gradient of the whole network, loss included, is the numerical gradient.

With trained weights and real digits, where kinks, ties and blank patches are.
"""

import numpy as np
import pytest

from minicnn import SoftmaxCrossEntropy, gradient_check, load_mnist, tutorial_network
from minicnn.checks.suite import trained_network


class WithLoss:
    """Network and loss as one function of an image and its label."""

    def __init__(self, network, loss):
        self.network, self.loss, self.parameters = network, loss, network.parameters

    def forward(self, x, labels, training):
        return self.loss.forward(self.network.forward(x, training), labels)

    def backward(self):
        return self.network.backward(self.loss.backward())


@pytest.fixture(scope="module")
def trained():
    return trained_network(steps=30)[0]


def report_on(network, reduction, seed):
    test = load_mnist().test
    digits, labels = test.images[5:7, ..., None] / 255, test.labels[5:7]
    return gradient_check(
        WithLoss(network, SoftmaxCrossEntropy(reduction)), digits, labels, entries=6, directions=1, seed=seed
    )


def expect_correct(report, network):
    report.assert_ok()
    assert report.error < 1e-6
    assert [array.name for array in report.arrays][1:] == [p.name for p in network.parameters()]
    assert report["x"].kinks > 0  # blank patches: digits are what they are
    assert sum(array.kinks for array in report.arrays[1:]) < 10


@pytest.mark.parametrize("seed", [0, 7])  # 7: rounding, which small steps make worse
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_the_trained_network_on_real_digits(trained, fused, seed):
    network = tutorial_network(dtype=np.float64, fused=fused)
    network.load_values({p.name: p.value.astype(np.float64) for p in trained.parameters()})
    expect_correct(report_on(network, "sum", seed), network)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_fresh_network_on_real_digits(reduction):
    network = tutorial_network(dtype=np.float64)
    expect_correct(report_on(network, reduction, seed=0), network)


def test_an_entry_that_once_was_a_false_alarm(trained):
    """conv2.weight[1, 1, 31, 60]: a small gradient of a small loss, where a small step sees only rounding."""
    network = tutorial_network(dtype=np.float64)
    network.load_values({p.name: p.value.astype(np.float64) for p in trained.parameters()})
    test = load_mnist().test
    whole = WithLoss(network, SoftmaxCrossEntropy("sum"))

    class Entry:
        """The loss as a function of that entry alone."""

        def forward(self, w):
            network.layers[1].weight.value[1, 1, 31, 60] = w[0]
            return whole.forward(test.images[5:7, ..., None] / 255, test.labels[5:7], False)

        def backward(self):
            whole.backward()
            return network.layers[1].weight.grad[1, 1, 31, 60:61]

    w = network.layers[1].weight.value[1, 1, 31, 60:61].copy()
    for step in 1e-6, 1e-5, 3e-5:
        assert not gradient_check(Entry(), w, step=step).wrong
