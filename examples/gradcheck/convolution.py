"""A convolution, channels first, with lists params and grads. The mistake: `=` where windows overlap.

python examples/gradcheck/convolution.py
"""

import numpy as np

import minicnn

rng = np.random.default_rng(0)


class Convolution:
    def __init__(self, W, b):
        self.params, self.grads = [W, b], [np.zeros_like(W), np.zeros_like(b)]

    def windows(self, x):
        """The place of each output, and the window of x that it looks at: valid, stride 1."""
        _, _, k, m = self.params[0].shape
        for i in range(x.shape[2] - k + 1):
            for j in range(x.shape[3] - m + 1):
                yield i, j, x[:, :, i : i + k, j : j + m]

    def forward(self, x):
        W, b = self.params
        self.x = x
        rows, columns = x.shape[2] - W.shape[2] + 1, x.shape[3] - W.shape[3] + 1
        out = np.zeros((len(x), len(W), rows, columns))
        for i, j, window in self.windows(x):
            out[:, :, i, j] = np.tensordot(window, W, ((1, 2, 3), (1, 2, 3))) + b
        return out

    def backward(self, dout):
        W, dx, dW = self.params[0], np.zeros_like(self.x), np.zeros_like(self.params[0])
        for (i, j, window), (_, _, place) in zip(self.windows(self.x), self.windows(dx), strict=True):
            dW += np.tensordot(dout[:, :, i, j], window, (0, 0))
            self.put(place, np.tensordot(dout[:, :, i, j], W, (1, 0)))
        self.grads[0][...], self.grads[1][...] = dW, dout.sum(axis=(0, 2, 3))
        return dx

    def put(self, place, part):
        place += part


class Overwriting(Convolution):
    def put(self, place, part):
        place[...] = part


weights = rng.normal(size=(3, 2, 3, 2)), rng.normal(size=3)
x = rng.normal(size=(2, 2, 5, 4))
print(minicnn.gradient_check(Convolution(*weights), x))
print(minicnn.gradient_check(Overwriting(*weights), x))
