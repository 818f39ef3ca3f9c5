"""Dropout with a generator of its own and a flag. The mistake: backward forgets the scale of forward.

python examples/gradcheck/dropout.py
"""

import numpy as np

import minicnn


class Dropout:
    def __init__(self, keep_prob=0.8):
        self.keep_prob, self.rng = keep_prob, np.random.default_rng(0)

    def forward(self, x, train_flg=True):
        self.mask = self.rng.random(x.shape) < self.keep_prob if train_flg else np.ones(x.shape)
        self.scale = 1 / self.keep_prob if train_flg else 1.0
        return x * self.mask * self.scale

    def backward(self, dout):
        return dout * self.mask * self.scale


class WithoutScale(Dropout):
    def backward(self, dout):
        return dout * self.mask


x = np.random.default_rng(1).normal(size=(4, 6))
print(minicnn.gradient_check(Dropout(), x))
print(minicnn.gradient_check(WithoutScale(), x))
