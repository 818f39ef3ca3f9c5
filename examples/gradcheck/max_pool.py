"""Max-pool, on whole numbers with ties. The mistake: each of several equal maxima gets the whole gradient.

python examples/gradcheck/max_pool.py
"""

import numpy as np

import minicnn


def max_pool_forward(x):  # [N, C, H, W], windows of 2 x 2
    N, C, H, W = x.shape
    windows = x.reshape(N, C, H // 2, 2, W // 2, 2).swapaxes(3, 4).reshape(N, C, H // 2, W // 2, 4)
    return windows.max(axis=-1), windows


def to_image(dwindows):
    N, C, H, W, _ = dwindows.shape
    return dwindows.reshape(N, C, H, W, 2, 2).swapaxes(3, 4).reshape(N, C, 2 * H, 2 * W)


def max_pool_backward(dout, windows):
    first = np.arange(4) == windows.argmax(axis=-1)[..., None]
    return to_image(first * dout[..., None])


def to_every_maximum(dout, windows):
    return to_image((windows == windows.max(axis=-1, keepdims=True)) * dout[..., None])


x = np.random.default_rng(0).integers(0, 4, (2, 3, 4, 6)).astype(float)
print(minicnn.gradient_check((max_pool_forward, max_pool_backward), x))
print(minicnn.gradient_check((max_pool_forward, to_every_maximum), x))
