"""Softmax; backward takes the output. The mistake: each output depends on all inputs of its row.

python examples/gradcheck/softmax.py
"""

import numpy as np

import minicnn


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(dy, y):
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def without_the_sum(dy, y):
    return y * dy


x = np.random.default_rng(0).normal(size=(4, 6))
print(minicnn.gradient_check((softmax, softmax_backward), x))
print(minicnn.gradient_check((softmax, without_the_sum), x))
