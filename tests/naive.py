"""The bottom of the chain of trust: operations as loops over single numbers, to be believed by reading.

No computation here is shared with minicnn, not even how padding is counted, or a finite difference:
`numerical_gradient` stays apart from minicnn's on purpose, so that neither hides a fault of the other.
Also here: the values to take gradients at.
"""

import math
from itertools import product

import numpy as np

from minicnn.checks.examples import separated  # noqa: F401  values, not results


def first_pixels(size, kernel, stride, padding):
    """Where the windows along one axis begin; a "same" window may begin before 0 and end after size."""
    if padding == "valid":
        return list(range(0, size - kernel + 1, stride))
    count = math.ceil(size / stride)
    missing = max(0, (count - 1) * stride + kernel - size)
    return [i * stride - missing // 2 for i in range(count)]


def pixel(image, row, column, channel, outside):
    """One number of an image [H, W, C]; `outside` beyond its border."""
    H, W, _ = image.shape
    return image[row, column, channel] if 0 <= row < H and 0 <= column < W else outside


def conv2d(x, w, b, stride, padding):
    """x [N, H, W, C], w [kh, kw, C, F], b [F] -> y [N, Ho, Wo, F]."""
    kh, kw, C, F = w.shape
    rows = first_pixels(x.shape[1], kh, stride, padding)
    columns = first_pixels(x.shape[2], kw, stride, padding)
    y = np.zeros((len(x), len(rows), len(columns), F))
    for n, i, j, f in np.ndindex(y.shape):
        y[n, i, j, f] = b[f]
        for u, v, c in product(range(kh), range(kw), range(C)):
            y[n, i, j, f] += pixel(x[n], rows[i] + u, columns[j] + v, c, 0) * w[u, v, c, f]
    return y


def affine_warp(image, matrix, shift):
    """image [H, W] -> [H, W]: each pixel is taken from its place + matrix @ (way from the middle) + shift.

    Between pixels linearly, outside 0, and in the end / 255.
    """
    H, W = image.shape
    y = np.zeros((H, W))
    for i, j in product(range(H), range(W)):
        down, right = i - (H - 1) / 2, j - (W - 1) / 2
        row = i + matrix[0][0] * down + matrix[0][1] * right + shift[0]
        column = j + matrix[1][0] * down + matrix[1][1] * right + shift[1]
        for u, v in product((0, 1), (0, 1)):
            near = math.floor(row) + u, math.floor(column) + v
            share = (1 - abs(row - near[0])) * (1 - abs(column - near[1]))
            y[i, j] += share * pixel(image[..., None], *near, 0, 0) / 255
    return y


def affine_moves(H, W, matrix, shift):
    """What `warp` is told to do that, its points 7 pixels apart, about the middle, one beyond each end."""
    counts = [math.ceil((size - 1) / 7) + 3 for size in (H, W)]
    rows, columns = ([7 * (g - (count - 1) / 2) for g in range(count)] for count in counts)
    return np.array([[np.dot(matrix, (down, right)) + shift for right in columns] for down in rows])


def max_pool2d(x, size, stride, padding):
    """x [N, H, W, C] -> y [N, Ho, Wo, C], and for each entry of y the (row, column) that won it."""
    rows = first_pixels(x.shape[1], size, stride, padding)
    columns = first_pixels(x.shape[2], size, stride, padding)
    y = np.full((len(x), len(rows), len(columns), x.shape[3]), -np.inf)
    winners = {}
    for n, i, j, c in np.ndindex(y.shape):
        for u, v in product(range(size), range(size)):
            value = pixel(x[n], rows[i] + u, columns[j] + v, c, -np.inf)
            if value > y[n, i, j, c]:
                y[n, i, j, c] = value
                winners[n, i, j, c] = rows[i] + u, columns[j] + v
    return y, winners


def max_pool2d_backward(dy, winners, x_shape):
    """Each entry of dy is added at the pixel that won it."""
    dx = np.zeros(x_shape)
    for (n, i, j, c), (row, column) in winners.items():
        dx[n, row, column, c] += dy[n, i, j, c]
    return dx


def average_pool2d(x, size, stride, padding):
    """x [N, H, W, C] -> y [N, Ho, Wo, C]: the mean of those pixels of each window that lie in the image."""
    rows = first_pixels(x.shape[1], size, stride, padding)
    columns = first_pixels(x.shape[2], size, stride, padding)
    y = np.zeros((len(x), len(rows), len(columns), x.shape[3]))
    for n, i, j, c in np.ndindex(y.shape):
        window = [
            pixel(x[n], rows[i] + u, columns[j] + v, c, None) for u, v in product(range(size), range(size))
        ]
        inside = [value for value in window if value is not None]
        y[n, i, j, c] = sum(inside) / len(inside)
    return y


def global_average_pool2d(x):
    """x [N, H, W, C] -> y [N, C]."""
    N, H, W, C = x.shape
    y = np.zeros((N, C))
    for n, i, j, c in np.ndindex(x.shape):
        y[n, c] += x[n, i, j, c] / (H * W)
    return y


def batch_norm2d(x, scale, shift, epsilon, mean=None, variance=None):
    """x [N, H, W, C] -> y of that shape; mean and variance [C] are those of the batch unless given."""
    y = np.zeros(x.shape)
    for c in range(x.shape[3]):
        values = [x[n, i, j, c] for n, i, j in np.ndindex(x.shape[:3])]
        m = sum(values) / len(values) if mean is None else mean[c]
        v = sum((value - m) ** 2 for value in values) / len(values) if variance is None else variance[c]
        for n, i, j in np.ndindex(x.shape[:3]):
            y[n, i, j, c] = scale[c] * (x[n, i, j, c] - m) / math.sqrt(v + epsilon) + shift[c]
    return y


def dense(x, w, b):
    """x [N, D], w [D, F], b [F] -> y [N, F]."""
    y = np.zeros((len(x), len(b)))
    for n, f in np.ndindex(y.shape):
        y[n, f] = b[f]
        for d in range(len(w)):
            y[n, f] += x[n, d] * w[d, f]
    return y


def softmax_cross_entropy(logits, labels, smoothing=0.0):
    """The loss of each row: minus the logarithm of each class's probability, times what is expected of it."""
    losses = []
    for row, label in zip(logits, labels, strict=True):
        exponentials = [math.exp(z) for z in row]
        loss = 0.0
        for k in range(len(row)):
            expected = (1 - smoothing if k == label else 0) + smoothing / len(row)
            loss -= expected * math.log(exponentials[k] / sum(exponentials))
        losses.append(loss)
    return losses


def numerical_gradient(f, x, dy, h=1e-6):
    """dL/dx of L = sum(dy * f(x)) by central differences. f must not keep its argument."""
    x = x.copy()
    dx = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        middle = x[index]
        x[index] = middle + h
        above = np.array(f(x))
        x[index] = middle - h
        below = np.array(f(x))
        x[index] = middle
        dx[index] = np.sum(dy * (above - below)) / (2 * h)
    return dx


def normal(*shape, seed=0):
    """Numbers of either sign, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(shape)
