"""The last link: the gradient of the whole network, loss included, is the numerical gradient.

With trained weights and real digits, where kinks, ties and blank patches are.
"""

import numpy as np
import pytest

from minicnn import SoftmaxCrossEntropy, gradient_check, load_mnist, tutorial_network
from minicnn.gradcheck_suite import trained_network


class WithLoss:
    """Network and loss as one function of an image and its label."""

    def __init__(self, network, reduction):
        self.network, self.loss = network, SoftmaxCrossEntropy(reduction)
        self.parameters = network.parameters()

    def forward(self, x, labels, training):
        return self.loss.forward(self.network.forward(x, training), labels)

    def backward(self):
        return self.network.backward(self.loss.backward())


@pytest.fixture(scope="module")
def trained():
    return trained_network(steps=30)[0]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_the_trained_network_on_real_digits(trained, fused, reduction):
    test = load_mnist().test
    network = tutorial_network(dtype=np.float64, fused=fused)
    network.load_values({p.name: p.value.astype(np.float64) for p in trained.parameters()})
    digits, labels = test.images[5:7, ..., None] / 255, test.labels[5:7]
    # The seed picks entries of which none has a kink too slight to be told from curvature at 1e-6.
    report = gradient_check(WithLoss(network, reduction), digits, labels, entries=12, directions=2, seed=1)
    report.assert_ok()
    assert report.error < 1e-6
    assert [array.name for array in report.arrays][1:] == [p.name for p in network.parameters()]
    assert report["x"].kinks > 0  # blank patches: digits are what they are
    assert sum(array.kinks for array in report.arrays[1:]) < 10
