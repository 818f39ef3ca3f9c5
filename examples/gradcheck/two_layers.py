"""A network whose loss returns (loss, grads). The mistake: half of L2 in the loss, all in its gradient.

python examples/gradcheck/two_layers.py
"""

import numpy as np

import minicnn


def softmax_loss(scores, y):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    p, rows = e / e.sum(axis=1, keepdims=True), np.arange(len(y))
    dscores = p.copy()
    dscores[rows, y] -= 1
    return -np.log(p[rows, y]).mean(), dscores / len(y)


class TwoLayers:
    reg, factor = 0.1, 1.0

    def __init__(self):
        rng = np.random.default_rng(0)
        self.params = {"W1": rng.normal(size=(6, 5)), "b1": np.zeros(5), "W2": rng.normal(size=(5, 3))}

    def loss(self, X, y):
        W1, b1, W2 = self.params.values()
        h = np.tanh(X @ W1 + b1)
        loss, dscores = softmax_loss(h @ W2, y)
        loss += 0.5 * self.reg * ((W1**2).sum() + (W2**2).sum())
        dh = dscores @ W2.T * (1 - h**2)
        decay = self.factor * self.reg
        return loss, {"W1": X.T @ dh + decay * W1, "b1": dh.sum(axis=0), "W2": h.T @ dscores + decay * W2}


class TwiceInTheGradient(TwoLayers):
    factor = 2.0


X, y = np.random.default_rng(1).normal(size=(4, 6)), np.array([1, 0, 2, 2])
print(minicnn.gradient_check(TwoLayers(), X, y))
print(minicnn.gradient_check(TwiceInTheGradient(), X, y))
