"""The textbook: every operation of the network in plain NumPy, forward and backward.

Each operation is a pair of pure functions::

    y, cache = op_forward(x, ...)
    dx, ...  = op_backward(dy, cache)

``dx`` stands for dL/dx, the derivative of the loss L. The cache is what the backward pass needs to
remember. A backward function quotes the forward line that it differentiates.

Symbols: N images, H rows, W columns, C channels in, F filters (channels out), K = kh * kw * C.
Images are [N, H, W, C], filters [kh, kw, C, F]. Every function keeps the dtype that it is given
and changes nothing, except the updates at the end, which say so.

What this file is not: fast. `minicnn.engine.kernels` holds the fast twins, with the same names and
signatures, and the tests hold the two equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Cache = tuple[Any, ...]


# --- windows: how a kernel slides over an image --------------------------------------------------


def window_geometry(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
    """Output size and zero padding along one axis of a sliding window.

    "valid": no padding, the window stays inside, floor((size - kernel) / stride) + 1 positions.
    "same": ceil(size / stride) positions; what is missing is padded, the odd one at the end.

    Returns (positions, padding before, padding after), in pixels.
    Raises ValueError for an unknown padding or a kernel that does not fit.
    Source: TensorFlow's API guide for tf.nn, "Notes on padding".
    """
    if expect_padding(padding) == "same":
        positions = -(-size // stride)
        total = max((positions - 1) * stride + kernel - size, 0)
        return positions, total // 2, total - total // 2
    if kernel > size:
        raise ValueError(f"kernel: expected at most the image's {size} pixels, got {kernel}")
    return (size - kernel) // stride + 1, 0, 0


def expect_padding(padding: str) -> str:
    """The padding, if it is "same" or "valid". Raises ValueError for another."""
    if padding not in ("same", "valid"):
        raise ValueError(f'padding: expected "same" or "valid", got {padding!r}')
    return padding


def pad_images(x: Array, kh: int, kw: int, stride: int, padding: str, value: float = 0) -> Array:
    """x [N, H, W, C] with the border that windows of [kh, kw] need, filled with `value`."""
    _, top, bottom = window_geometry(x.shape[1], kh, stride, padding)
    _, left, right = window_geometry(x.shape[2], kw, stride, padding)
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def im2col(x: Array, kh: int, kw: int, stride: int = 1, padding: str = "same") -> Array:
    """The patch under each window position, one row each.

    x [N, H, W, C] -> cols [N, Ho, Wo, kh * kw * C], patches in (row, column, channel) order.
    Source: Chellapilla, Puri, Simard: High Performance Convolutional Neural Networks for Document
    Processing (2006), section 3.1.
    """
    N, H, W, C = x.shape
    Ho, _, _ = window_geometry(H, kh, stride, padding)
    Wo, _, _ = window_geometry(W, kw, stride, padding)
    padded = pad_images(x, kh, kw, stride, padding)
    cols = np.empty((N, Ho, Wo, kh, kw, C), x.dtype)
    for i in range(kh):
        for j in range(kw):
            cols[:, :, :, i, j] = padded[:, i : i + stride * Ho : stride, j : j + stride * Wo : stride]
    return cols.reshape(N, Ho, Wo, kh * kw * C)


def col2im(
    cols: Array, x_shape: tuple[int, ...], kh: int, kw: int, stride: int = 1, padding: str = "same"
) -> Array:
    """The transpose of `im2col`: every patch entry is added back to the pixel it came from.

    cols [N, Ho, Wo, kh * kw * C] -> dx of x_shape [N, H, W, C]. Patches overlap: hence `+=`.
    """
    N, H, W, C = x_shape
    Ho, top, bottom = window_geometry(H, kh, stride, padding)
    Wo, left, right = window_geometry(W, kw, stride, padding)
    patches = cols.reshape(N, Ho, Wo, kh, kw, C)
    padded = np.zeros((N, top + H + bottom, left + W + right, C), cols.dtype)
    for i in range(kh):
        for j in range(kw):
            # im2col: cols[:, :, :, i, j] = padded[:, i : i + stride * Ho : stride, j : ...]
            padded[:, i : i + stride * Ho : stride, j : j + stride * Wo : stride] += patches[:, :, :, i, j]
    return padded[:, top : top + H, left : left + W].copy()


# --- convolution ---------------------------------------------------------------------------------


def conv2d_forward(
    x: Array, w: Array, b: Array, stride: int = 1, padding: str = "same"
) -> tuple[Array, Cache]:
    """Cross-correlation of images with filters, what deep learning calls convolution.

        y[n, i, j, f] = b[f] + sum over u, v, c of
                        xpad[n, i * stride + u, j * stride + v, c] * w[u, v, c, f]

    x [N, H, W, C], w [kh, kw, C, F], b [F] -> y [N, Ho, Wo, F].
    Source: Goodfellow, Bengio, Courville: Deep Learning (2016), equation 9.6.
    """
    kh, kw, C, F = w.shape
    cols = im2col(x, kh, kw, stride, padding)  # [N, Ho, Wo, K]
    y = cols @ w.reshape(kh * kw * C, F) + b
    return y, (x.shape, cols, w, stride, padding)


def conv2d_backward(
    dy: Array, cache: Cache, input_gradient: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients of `conv2d_forward`: dy [N, Ho, Wo, F] -> dx, dw, db, shaped like x, w, b.

    dx is None unless `input_gradient`: the first layer of a network has no use for it.
    """
    x_shape, cols, w, stride, padding = cache
    kh, kw, C, F = w.shape
    dy_rows = dy.reshape(-1, F)  # [N * Ho * Wo, F]

    # y = cols @ w + b
    db = dy_rows.sum(axis=0)
    dw = (cols.reshape(-1, kh * kw * C).T @ dy_rows).reshape(w.shape)
    if not input_gradient:
        return None, dw, db
    dcols = dy @ w.reshape(kh * kw * C, F).T

    # cols = im2col(x)
    dx = col2im(dcols, x_shape, kh, kw, stride, padding)
    return dx, dw, db


def conv2d_backward_by_shards(
    dy: Array, cache: Cache, sizes: Sequence[int], input_gradient: bool = True
) -> tuple[Array | None, Array, Array]:
    """`conv2d_backward` of a batch cut into shards, the first `sizes[0]` images and so on: dw and db of each.

    dy [N, Ho, Wo, F] -> dx [N, H, W, C] (or None), dw [shards, kh, kw, C, F], db [shards, F].
    """
    (_, *image), cols, *how = cache
    results, stop = [], 0
    for size in sizes:
        rows = slice(stop, stop + size)
        results.append(conv2d_backward(dy[rows], ((size, *image), cols[rows], *how), input_gradient))
        stop += size
    dx, dw, db = zip(*results, strict=True)
    return np.concatenate(dx) if input_gradient else None, np.stack(dw), np.stack(db)


def tree_sum(parts: Array) -> Array:
    """The sum of parts [P, ...] over its first axis, pair by pair: ((p0 + p1) + (p2 + p3)) + ...

    Pairs are neighbours; an odd one at the end waits for the next round. Rounding depends on the order of a
    sum: this one can be computed in pieces, by several processes, to the same bits.
    """
    while len(parts) > 1:
        pairs = len(parts) // 2
        parts = np.concatenate([parts[0 : 2 * pairs : 2] + parts[1 : 2 * pairs : 2], parts[2 * pairs :]])
    return parts[0]


# --- max-pool ------------------------------------------------------------------------------------


def max_pool2d_forward(
    x: Array, size: int = 2, stride: int = 2, padding: str = "same"
) -> tuple[Array, Cache]:
    """The largest value of each size x size window, channel by channel.

    x [N, H, W, C] -> y [N, Ho, Wo, C]. Padding never wins: it counts as minus infinity.
    Of equal values the first in row-major order wins.
    """
    Ho, _, _ = window_geometry(x.shape[1], size, stride, padding)
    Wo, _, _ = window_geometry(x.shape[2], size, stride, padding)
    padded = pad_images(x, size, size, stride, padding, value=-np.inf)
    windows = np.stack(
        [
            padded[:, i : i + stride * Ho : stride, j : j + stride * Wo : stride]
            for i in range(size)
            for j in range(size)
        ]
    )  # [size * size, N, Ho, Wo, C]
    argmax = windows.argmax(axis=0)  # [N, Ho, Wo, C], i * size + j of the maximum
    y = np.take_along_axis(windows, argmax[None], axis=0)[0]
    return y, (x.shape, argmax, size, stride, padding)


def max_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of `max_pool2d_forward`: dy [N, Ho, Wo, C] -> dx [N, H, W, C].

    y = x[argmax], so each dy goes to its maximum alone, and adds up where windows overlap.
    """
    x_shape, argmax, size, stride, padding = cache
    N, H, W, C = x_shape
    Ho, top, bottom = window_geometry(H, size, stride, padding)
    Wo, left, right = window_geometry(W, size, stride, padding)
    padded = np.zeros((N, top + H + bottom, left + W + right, C), dy.dtype)
    for i in range(size):
        for j in range(size):
            won = argmax == i * size + j
            padded[:, i : i + stride * Ho : stride, j : j + stride * Wo : stride] += np.where(won, dy, 0)
    return padded[:, top : top + H, left : left + W].copy()


# --- average-pool --------------------------------------------------------------------------------


def average_pool2d_forward(
    x: Array, size: int = 2, stride: int = 2, padding: str = "same"
) -> tuple[Array, Cache]:
    """The mean of each size x size window, channel by channel. Padding does not count.

    x [N, H, W, C] -> y [N, Ho, Wo, C].
    """
    N, H, W, C = x.shape
    inside = im2col(np.ones((1, H, W, 1), x.dtype), size, size, stride, padding)
    counts = inside.sum(axis=-1, keepdims=True)  # [1, Ho, Wo, 1], pixels in each window
    patches = im2col(x, size, size, stride, padding)  # [N, Ho, Wo, size * size * C]
    y = patches.reshape(*patches.shape[:3], size * size, C).sum(axis=3) / counts
    return y, (x.shape, counts, size, stride, padding)


def average_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of `average_pool2d_forward`: dy [N, Ho, Wo, C] -> dx [N, H, W, C]."""
    x_shape, counts, size, stride, padding = cache
    # y = sum of the window / count: each of its pixels gets the same share
    share = np.repeat((dy / counts)[:, :, :, None], size * size, axis=3)
    return col2im(share, x_shape, size, size, stride, padding)


def global_average_pool2d_forward(x: Array) -> tuple[Array, Cache]:
    """The mean of each channel over the whole image: x [N, H, W, C] -> y [N, C].

    Source: Lin, Chen, Yan: Network in Network (2014), section 3.2.
    """
    return x.mean(axis=(1, 2)), (x.shape,)


def global_average_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of `global_average_pool2d_forward`: dy [N, C] -> dx [N, H, W, C]."""
    ((N, H, W, C),) = cache
    # y = sum over the image / (H * W)
    return np.repeat(dy / dy.dtype.type(H * W), H * W, axis=0).reshape(N, H, W, C)


# --- batch normalization -------------------------------------------------------------------------


def batch_norm2d_forward(
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array | None = None,
    variance: Array | None = None,
    epsilon: float = 1e-5,
) -> tuple[Array, Cache]:
    """Each channel with mean 0 and variance 1, then scaled and shifted.

        normed = (x - mean) / sqrt(variance + epsilon)          y = scale * normed + shift

    x [N, H, W, C]; all others [C]. Without `mean` and `variance`, as in training, they are those of the
    batch, over N, H and W; with them, as in evaluation, they are constants. The cache begins with the
    mean and the variance that were used.
    Source: Ioffe, Szegedy: Batch Normalization (2015), Algorithm 1.
    """
    of_batch = mean is None or variance is None
    if mean is None or variance is None:
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    std = np.sqrt(variance + x.dtype.type(epsilon))
    normed = (x - mean) / std
    return scale * normed + shift, (mean, variance, normed, scale, std, of_batch)


def batch_norm2d_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm2d_forward`: dy [N, H, W, C] -> dx, dscale [C], dshift [C]."""
    _, _, normed, scale, std, of_batch = cache
    # y = scale * normed + shift
    dshift = dy.sum(axis=(0, 1, 2))
    dscale = (dy * normed).sum(axis=(0, 1, 2))
    dnormed = dy * scale
    if of_batch:
        # The mean and the variance depend on every x of the channel: what shifts or scales them all
        # together changes nothing, so those parts of the gradient are taken out.
        M = dy.dtype.type(dy.size // dy.shape[-1])
        dnormed = dnormed - scale * (dshift + normed * dscale) / M
    # normed = (x - mean) / std
    return dnormed / std, dscale, dshift


# --- ReLU, dropout -------------------------------------------------------------------------------


def relu_forward(x: Array) -> tuple[Array, Cache]:
    """y = max(x, 0), entry by entry. Any shape.

    Source: Nair, Hinton: Rectified Linear Units Improve Restricted Boltzmann Machines (2010).
    """
    y = np.maximum(x, 0)
    return y, (y,)


def relu_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of `relu_forward`. At x = 0, where there is no derivative, it is 0."""
    (y,) = cache
    # y = max(x, 0)
    return np.where(y > 0, dy, 0)


def dropout_forward(x: Array, mask: Array, keep_prob: float) -> tuple[Array, Cache]:
    """Inverted dropout: entries outside the mask become 0, the others grow by 1 / keep_prob.

    x of any shape, mask (bool, True = kept) of the same shape. The mean of y over random masks is x.
    Source: Srivastava et al.: Dropout (2014), section 10, with the scaling moved to training.
    """
    y = np.where(mask, x / x.dtype.type(keep_prob), 0)
    return y, (mask, keep_prob)


def dropout_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of `dropout_forward`: the same mask and the same scale."""
    mask, keep_prob = cache
    # y = mask * x / keep_prob
    return np.where(mask, dy / dy.dtype.type(keep_prob), 0)


# --- dense ---------------------------------------------------------------------------------------


def dense_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """Fully connected layer: y = x @ w + b.  x [N, D], w [D, F], b [F] -> y [N, F]."""
    y = x @ w + b
    return y, (x, w)


def dense_backward(
    dy: Array, cache: Cache, input_gradient: bool = True, weight_gradient: bool = True
) -> tuple[Array | None, Array | None, Array]:
    """Gradients of `dense_forward`: dy [N, F] -> dx [N, D] (or None), dw [D, F] (or None), db [F]."""
    x, w = cache
    # y = x @ w + b
    db = dy.sum(axis=0)
    dw = dense_weight_gradient(x, dy) if weight_gradient else None
    dx = dy @ w.T if input_gradient else None
    return dx, dw, db


def dense_weight_gradient(x: Array, dy: Array, out: Array | None = None) -> Array:
    """dw = x.T @ dy, the gradient of a dense weight alone: x [N, D], dy [N, F] -> dw [D, F].

    With `out` [D, F], a C-contiguous array, dw is written there.
    """
    return np.matmul(x.T, dy, out=out)


# --- the block: convolution, ReLU, max-pool ------------------------------------------------------


def conv_relu_pool_forward(
    x: Array, w: Array, b: Array, stride: int = 1, padding: str = "same"
) -> tuple[Array, Cache]:
    """2x2 max-pool (stride 2, "same") of the ReLU of a convolution: the three above in a row.

    x [N, H, W, C], w [kh, kw, C, F], b [F] -> y [N, ceil(Ho / 2), ceil(Wo / 2), F].
    """
    y, conv_cache = conv2d_forward(x, w, b, stride, padding)
    y, relu_cache = relu_forward(y)
    y, pool_cache = max_pool2d_forward(y)
    return y, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(
    dy: Array, cache: Cache, input_gradient: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients of `conv_relu_pool_forward`: dx (or None), dw, db."""
    conv_cache, relu_cache, pool_cache = cache
    dy = max_pool2d_backward(dy, pool_cache)
    dy = relu_backward(dy, relu_cache)
    return conv2d_backward(dy, conv_cache, input_gradient)


def conv_relu_pool_backward_by_shards(
    dy: Array, cache: Cache, sizes: Sequence[int], input_gradient: bool = True
) -> tuple[Array | None, Array, Array]:
    """`conv_relu_pool_backward` of a batch cut into shards, as `conv2d_backward_by_shards` cuts it."""
    conv_cache, relu_cache, pool_cache = cache
    dy = max_pool2d_backward(dy, pool_cache)
    dy = relu_backward(dy, relu_cache)
    return conv2d_backward_by_shards(dy, conv_cache, sizes, input_gradient)


# --- loss ----------------------------------------------------------------------------------------


def softmax(logits: Array) -> Array:
    """Probabilities from scores: p[n, k] = exp(z[n, k]) / sum over j of exp(z[n, j]).  [N, K] -> [N, K].

    Subtracting the largest score of each row first changes nothing but the overflow.
    """
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_cross_entropy_forward(
    logits: Array, labels: Array, reduction: str = "mean", label_smoothing: float = 0.0
) -> tuple[float, Cache]:
    """Softmax and cross-entropy in one, safe for scores of any size.

        loss[n] = -log p[n, label] = log(sum over j of exp(z[n, j])) - z[n, label]

    logits [N, K], labels [N] integers in 0..K-1. Returns the sum or the mean over n, in nats. With
    `label_smoothing`, that part of what is expected is shared out among all K classes:

        loss[n] = -(1 - label_smoothing) log p[n, label] - label_smoothing / K * (sum over j of log p[n, j])

    Source: Goodfellow, Bengio, Courville: Deep Learning (2016), sections 4.1 and 6.2.2.3; of smoothing:
    Szegedy et al.: Rethinking the Inception Architecture for Computer Vision (2016), section 7.
    """
    rows = np.arange(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_totals = np.log(np.exp(shifted).sum(axis=1))
    losses = log_totals - shifted[rows, labels]
    if label_smoothing:
        losses += logits.dtype.type(label_smoothing) * (shifted[rows, labels] - shifted.mean(axis=1))
    loss = losses.sum(dtype=np.float64)
    if reduction == "mean":
        loss = loss / len(logits)
    return float(loss), (softmax(logits), labels, reduction, label_smoothing)


def softmax_cross_entropy_backward(dloss: float, cache: Cache) -> Array:
    """Gradient of `softmax_cross_entropy_forward`: dlogits [N, K] for the upstream number dloss."""
    p, labels, reduction, label_smoothing = cache
    # loss = log(sum exp(z)) - (1 - label_smoothing) z[label] - label_smoothing * mean(z), and
    # d log(sum exp(z)) / dz = softmax(z) = p
    dlogits = p - p.dtype.type(label_smoothing / p.shape[1])
    dlogits[np.arange(len(p)), labels] -= p.dtype.type(1 - label_smoothing)
    scale = dloss / len(p) if reduction == "mean" else dloss
    return dlogits * p.dtype.type(scale)


# --- warping: training images that are moved, turned and bent -------------------------------------

KNOT_SPACING = 7  # pixels between the points that a warp moves


def spline_basis(size: int, spacing: float = KNOT_SPACING) -> Array:
    """How much each of G points on a line moves each of `size` pixels: float64 [size, G].

    The points lie `spacing` pixels apart, symmetric about the middle and reaching beyond both ends. A
    uniform cubic B-spline: each row sums to 1, and points moved along a straight line move the
    pixels between them along that line.
    Source: Rueckert et al.: Nonrigid Registration Using Free-Form Deformations (1999), equation 1.
    """
    t = np.abs(np.arange(size)[:, None] - spline_knots(size, spacing)) / spacing
    near, far = 2 / 3 - t**2 + t**3 / 2, (2 - t) ** 3 / 6
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def spline_knots(size: int, spacing: float = KNOT_SPACING) -> Array:
    """Where the points of `spline_basis` are, in pixels: float64 [G]."""
    G = math.ceil((size - 1) / spacing) + 3
    return (size - 1) / 2 + spacing * (np.arange(G) - (G - 1) / 2)


def warp(images: Array, displacements: Array) -> Array:
    """Images bent by moving points of a coarse grid, as a network wants them: pixels / 255.

    images uint8 [N, H, W], displacements [N, Gy, Gx, 2] -> [N, H, W, 1] in the dtype of `displacements`. A
    displacement is (rows, columns), in pixels: where the result takes a point's value from, relative to
    the point. Between the points they are a smooth surface (`spline_basis`), between the pixels the image
    is interpolated linearly, and outside it is 0.
    """
    N, H, W = images.shape
    expected = (N, len(spline_knots(H)), len(spline_knots(W)), 2)
    if displacements.shape != expected:
        got = list(displacements.shape)
        raise ValueError(f"displacements: expected {list(expected)} for images {[N, H, W]}, got {got}")
    real = displacements.dtype.type
    rows, columns = spline_basis(H).astype(real), spline_basis(W).astype(real)
    moved = np.einsum("yi,nijk,xj->nyxk", rows, displacements, columns)  # [N, H, W, 2]
    y = np.clip(np.arange(H, dtype=real)[:, None] + moved[..., 0], -1, H)
    x = np.clip(np.arange(W, dtype=real) + moved[..., 1], -1, W)
    down, right = y - np.floor(y), x - np.floor(x)  # how far between two pixels, 0 to 1
    n, top, left = np.arange(N)[:, None, None], np.floor(y).astype(int) + 1, np.floor(x).astype(int) + 1
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2))).astype(real)  # pixel (0, 0) is at (1, 1)
    upper = (1 - right) * padded[n, top, left] + right * padded[n, top, left + 1]
    lower = (1 - right) * padded[n, top + 1, left] + right * padded[n, top + 1, left + 1]
    return ((1 - down) * upper + down * lower)[..., None] / real(255)


# --- updates: these change their arguments --------------------------------------------------------


def adam_update(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    step: int,
    learning_rate: float = 1e-4,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """One step of Adam. Changes `value`, `m` and `v` in place; `step` counts from 1.

    Before it, `weight_decay` takes learning_rate * weight_decay of every value away.
    Source: Kingma, Ba: Adam (2015), Algorithm 1. (TensorFlow 1 adds epsilon before v is corrected,
    which is the variant at the end of the paper's section 2 with another epsilon.) Of the decay:
    Loshchilov, Hutter: Decoupled Weight Decay Regularization (2019), Algorithm 2.
    """
    real = value.dtype.type
    m[...] = real(beta1) * m + real(1 - beta1) * grad
    v[...] = real(beta2) * v + real(1 - beta2) * grad * grad
    m_hat = m / real(1 - beta1**step)
    v_hat = v / real(1 - beta2**step)
    value *= real(1 - learning_rate * weight_decay)
    value -= real(learning_rate) * m_hat / (np.sqrt(v_hat) + real(epsilon))


def adam_product_update(value: Array, x: Array, dy: Array, m: Array, v: Array, *settings: Any) -> None:
    """`adam_update` of a dense layer's weight [D, F], its gradient given by factors x [N, D], dy [N, F].

    `settings` are all that `adam_update` takes after v.
    """
    adam_update(value, x.T @ dy, m, v, *settings)


def sgd_update(
    value: Array, grad: Array, velocity: Array, learning_rate: float = 0.01, momentum: float = 0.0
) -> None:
    """One step of gradient descent with momentum. Changes `value` and `velocity` in place.

    Source: Polyak (1964) in the form of Sutskever et al. (2013), equations 1 and 2.
    """
    real = value.dtype.type
    velocity[...] = real(momentum) * velocity - real(learning_rate) * grad
    value += velocity


def average_update(average: Array, value: Array, decay: float) -> None:
    """One step of an exponential moving average. Changes `average` in place.

    Source: Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging (1992), with
    weights that fade by `decay` a step.
    """
    average += average.dtype.type(1 - decay) * (value - average)
