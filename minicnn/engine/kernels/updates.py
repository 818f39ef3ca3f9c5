"""Adam, gradient descent and the moving average of weights, the fast twins of the reference's.

Each reads and writes every number once, so memory decides the speed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from minicnn.engine.kernels.expect import expect, expect_changeable, expect_floats
from minicnn.engine.kernels.jit import helper, kernel
from minicnn.engine.workspace import FRESH, Workspace, as_contiguous, flat


@helper
def adam_step(value, grad, m, v, numbers):
    """Adam for one number: the next value, m and v. `numbers` are those of `adam_numbers`."""
    beta1, beta2, one_minus_beta1, one_minus_beta2, step_size, root, epsilon, kept = numbers
    m = beta1 * m + one_minus_beta1 * grad
    v = beta2 * v + one_minus_beta2 * grad * grad
    # One division for three: sqrt(v / c) = sqrt(v) * root, and the rate has c1 in it already.
    return kept * value - step_size * m / (np.sqrt(v) * root + epsilon), m, v


@kernel(parallel=True)
def _adam(value, grad, m, v, numbers):
    for i in prange(value.size):
        value[i], m[i], v[i] = adam_step(value[i], grad[i], m[i], v[i], numbers)


@kernel(parallel=True)
def _sgd(value, grad, velocity, rate, momentum):
    for i in prange(value.size):
        velocity[i] = momentum * velocity[i] - rate * grad[i]
        value[i] += velocity[i]


@kernel(parallel=True)
def _average(average, value, share):
    for i in prange(value.size):
        average[i] += share * (value[i] - average[i])


def adam_numbers(
    dtype: np.dtype,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> tuple[np.floating, ...]:
    """What `adam_step` computes with, in the arrays' dtype."""
    step_size, root = learning_rate / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    kept = 1 - learning_rate * weight_decay
    return tuple(map(dtype.type, (beta1, beta2, 1 - beta1, 1 - beta2, step_size, root, epsilon, kept)))


def _expect_alike(name: str, first: np.ndarray, **others: np.ndarray) -> None:
    expect_floats(name, first)
    for other, array in others.items():
        expect(other, array, first.shape, first.dtype)


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
    """See `minicnn.engine.reference.adam_update`. value, m and v must be C-contiguous."""
    _expect_alike("value", value, grad=grad, m=m, v=v)
    expect_changeable(value=value, m=m, v=v)
    numbers = adam_numbers(value.dtype, step, learning_rate, beta1, beta2, epsilon, weight_decay)
    _adam(*(flat(a) for a in (value, as_contiguous(grad), m, v)), numbers)


def sgd_update(
    value: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    *,
    workspace: Workspace = FRESH,
) -> None:
    """See `minicnn.engine.reference.sgd_update`. value and velocity must be C-contiguous."""
    _expect_alike("value", value, grad=grad, velocity=velocity)
    expect_changeable(value=value, velocity=velocity)
    real = value.dtype.type
    _sgd(*(flat(a) for a in (value, as_contiguous(grad), velocity)), real(learning_rate), real(momentum))


def average_update(
    average: np.ndarray, value: np.ndarray, decay: float, *, workspace: Workspace = FRESH
) -> None:
    """See `minicnn.engine.reference.average_update`. average must be C-contiguous."""
    _expect_alike("average", average, value=value)
    expect_changeable(average=average)
    _average(flat(average), flat(as_contiguous(value)), average.dtype.type(1 - decay))
