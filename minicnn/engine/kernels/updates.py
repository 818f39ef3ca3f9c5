"""Adam and gradient descent, the fast twins of the reference's: one pass over all parameters.

Both read and write each number once, so memory decides the speed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from minicnn.engine.kernels.jit import helper, kernel
from minicnn.engine.workspace import FRESH, Workspace, flat

BLOCK = 16384  # entries


@helper
def adam_run(value, grad, m, v, numbers):
    """Adam for a run of entries; `numbers` are those of `adam_numbers`."""
    beta1, beta2, one_minus_beta1, one_minus_beta2, step_size, root, epsilon, kept = numbers
    for i in range(value.size):
        m[i] = beta1 * m[i] + one_minus_beta1 * grad[i]
        v[i] = beta2 * v[i] + one_minus_beta2 * grad[i] * grad[i]
        # One division for three: sqrt(v / c) = sqrt(v) * root, and the rate has c1 in it already.
        value[i] = kept * value[i] - step_size * m[i] / (np.sqrt(v[i]) * root + epsilon)


@kernel(parallel=True)
def _adam(values, grads, ms, vs, numbers, block):
    size = values.size
    for part in prange((size + block - 1) // block):
        here = slice(part * block, min(size, (part + 1) * block))
        adam_run(values[here], grads[here], ms[here], vs[here], numbers)


@kernel(parallel=True)
def _sgd(values, grads, velocities, rate, momentum, block):
    size = values.size
    for part in prange((size + block - 1) // block):
        here = slice(part * block, min(size, (part + 1) * block))
        value, grad, velocity = values[here], grads[here], velocities[here]
        for i in range(value.size):
            velocity[i] = momentum * velocity[i] - rate * grad[i]
            value[i] += velocity[i]


def adam_numbers(
    dtype: np.dtype,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> tuple[np.floating, ...]:
    """What `adam_run` computes with, in the arrays' dtype."""
    step_size, root = learning_rate / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    kept = 1 - learning_rate * weight_decay
    return tuple(map(dtype.type, (beta1, beta2, 1 - beta1, 1 - beta2, step_size, root, epsilon, kept)))


def adam_update(
    value: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    step: int,
    learning_rate: float = 1e-4,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    *,
    workspace: Workspace = FRESH,
) -> None:
    """See `minicnn.engine.reference.adam_update`. The arrays must be C-contiguous."""
    numbers = adam_numbers(value.dtype, step, learning_rate, beta1, beta2, epsilon, weight_decay)
    _adam(*(flat(a) for a in (value, grad, m, v)), numbers, BLOCK)


def sgd_update(
    value: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    *,
    workspace: Workspace = FRESH,
) -> None:
    """See `minicnn.engine.reference.sgd_update`. The arrays must be C-contiguous."""
    real = value.dtype.type
    _sgd(*(flat(a) for a in (value, grad, velocity)), real(learning_rate), real(momentum), BLOCK)
