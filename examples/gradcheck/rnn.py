"""A recurrent layer, with W and dW as attributes. The mistake: a step gets nothing from the next one.

python examples/gradcheck/rnn.py
"""

import numpy as np

import minicnn

rng = np.random.default_rng(0)


class RNN:
    through_time = True

    def __init__(self, inputs, hidden):
        self.Wx, self.Wh = rng.normal(size=(inputs, hidden)), 0.5 * rng.normal(size=(hidden, hidden))
        self.b = np.zeros(hidden)

    def forward(self, x):  # [N, T, D] -> [N, T, H]
        self.x, self.h = x, [np.zeros((len(x), len(self.b)))]
        for t in range(x.shape[1]):
            self.h.append(np.tanh(x[:, t] @ self.Wx + self.h[-1] @ self.Wh + self.b))
        return np.stack(self.h[1:], axis=1)

    def backward(self, dy):
        self.dWx, self.dWh, self.db = np.zeros_like(self.Wx), np.zeros_like(self.Wh), np.zeros_like(self.b)
        dx, later = np.zeros_like(self.x), 0.0
        for t in reversed(range(dy.shape[1])):
            dz = (dy[:, t] + later) * (1 - self.h[t + 1] ** 2)
            self.dWx += self.x[:, t].T @ dz
            self.dWh += self.h[t].T @ dz
            self.db += dz.sum(axis=0)
            dx[:, t] = dz @ self.Wx.T
            later = dz @ self.Wh.T if self.through_time else 0.0
        return dx


class EachStepAlone(RNN):
    through_time = False


x = rng.normal(size=(3, 5, 4))
print(minicnn.gradient_check(RNN(4, 3), x))
print(minicnn.gradient_check(EachStepAlone(4, 3), x))
