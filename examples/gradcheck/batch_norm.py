"""Batch norm as a pair of functions, settings in a dictionary. The mistake: its mean depends on x, too.

python examples/gradcheck/batch_norm.py
"""

import numpy as np

import minicnn


def batchnorm_forward(x, gamma, beta, bn_param):
    mean, var = x.mean(axis=0), x.var(axis=0)
    bn_param["running_mean"] = 0.9 * bn_param.get("running_mean", 0.0) + 0.1 * mean
    std = np.sqrt(var + bn_param.get("eps", 1e-5))
    normed = (x - mean) / std
    return gamma * normed + beta, (normed, gamma, std)


def batchnorm_backward(dout, cache):
    normed, gamma, std = cache
    dgamma, dbeta = (dout * normed).sum(axis=0), dout.sum(axis=0)
    dnormed = dout * gamma
    dx = (dnormed - dnormed.mean(axis=0) - normed * (dnormed * normed).mean(axis=0)) / std
    return dx, dgamma, dbeta


def without_the_mean(dout, cache):
    normed, gamma, std = cache
    dgamma, dbeta = (dout * normed).sum(axis=0), dout.sum(axis=0)
    dnormed = dout * gamma
    dx = (dnormed - normed * (dnormed * normed).mean(axis=0)) / std
    return dx, dgamma, dbeta


rng = np.random.default_rng(0)
inputs = rng.normal(size=(8, 4)), rng.normal(size=4), rng.normal(size=4), {"eps": 1e-5}
print(minicnn.gradient_check((batchnorm_forward, batchnorm_backward), *inputs))
print(minicnn.gradient_check((batchnorm_forward, without_the_mean), *inputs))
