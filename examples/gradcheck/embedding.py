"""Rows of a table, chosen by integers. The mistake: `dW[ids] += dout` loses repeated ids.

python examples/gradcheck/embedding.py
"""

import numpy as np

import minicnn


def embedding_forward(ids, W):
    return W[ids], (ids, W.shape)


def embedding_backward(dout, cache):
    ids, shape = cache
    dW = np.zeros(shape)
    np.add.at(dW, ids, dout)
    return dW


def losing_repetitions(dout, cache):
    ids, shape = cache
    dW = np.zeros(shape)
    dW[ids] += dout
    return dW


ids = np.array([[0, 3, 0], [1, 3, 2]])
W = np.random.default_rng(0).normal(size=(5, 4))
print(minicnn.gradient_check((embedding_forward, embedding_backward), ids, W))
print(minicnn.gradient_check((embedding_forward, losing_repetitions), ids, W))
