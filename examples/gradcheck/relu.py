"""ReLU as an object. The mistake: it works in place, and looks for negative numbers when they are gone.

python examples/gradcheck/relu.py
"""

import numpy as np

import minicnn


class ReLU:
    def forward(self, x):
        self.positive = x > 0
        return np.maximum(x, 0)

    def backward(self, dy):
        return dy * self.positive


class InPlace:
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0, out=x)

    def backward(self, dy):
        return dy * (self.x >= 0)  # true everywhere by now


x = np.random.default_rng(0).normal(size=(4, 6))
print(minicnn.gradient_check(ReLU(), x))
print(minicnn.gradient_check(InPlace(), x))
