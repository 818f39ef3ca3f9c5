"""Exercises 1 to 3: im2col, and convolution forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.engine import reference
from minicnn.learn.findings import Wrong
from minicnn.learn.learner import Learner
from minicnn.learn.probe import Array, Results, Subject, compare, compare_backward

IMAGE = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
RIGHT_TEN = np.array([[0.0, 0, 0], [0, 1, 10], [0, 0, 0]]).reshape(3, 3, 1, 1)  # y = pixel + 10 * right one


def _shapes(rng: np.random.Generator) -> list[tuple[Array, Array, Array]]:
    """x, w, b: one image, three channels, odd sizes, windows larger than the image, blank paper, float32."""
    shapes = [
        ((1, 5, 4, 3), (3, 3, 3, 2)),
        ((2, 5, 4, 1), (5, 5, 1, 2)),
        ((3, 4, 7, 2), (1, 3, 2, 4)),
        ((2, 2, 3, 2), (5, 3, 2, 3)),
        ((1, 1, 1, 1), (3, 3, 1, 1)),
    ]
    cases = [(rng.normal(size=x), rng.normal(size=w), rng.normal(size=w[-1])) for x, w in shapes]
    blank = (np.zeros((2, 4, 4, 1)), rng.normal(size=(3, 3, 1, 2)), rng.normal(size=2))
    single = tuple(array.astype(np.float32) for array in cases[0])
    return [*cases, blank, single]  # type: ignore[list-item]


# --- im2col ---


def _padded_at_the_end(x: Array, kh: int, kw: int) -> Array:
    wide = np.pad(x, ((0, 0), (0, kh - 1), (0, kw - 1), (0, 0)))
    return reference.im2col(wide, kh, kw, padding="valid")


def _with_edges(x: Array, kh: int, kw: int) -> Array:
    wide = np.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)), mode="edge")
    return reference.im2col(wide, kh, kw, padding="valid")


def _in_order(x: Array, kh: int, kw: int, axes: tuple[int, int, int], flip: bool = False) -> Array:
    cols = reference.im2col(x, kh, kw)
    patches = cols.reshape(*cols.shape[:3], kh, kw, x.shape[3])
    if flip:
        patches = patches[:, :, :, ::-1, ::-1]
    return patches.transpose(0, 1, 2, *(3 + axis for axis in axes)).reshape(cols.shape)


IM2COL = Subject(
    function="im2col",
    learners=lambda learner, case: {"cols": learner.call("im2col", *case)},
    reference=lambda x, kh, kw: {"cols": reference.im2col(x, kh, kw)},
    mistakes={
        "no_padding": ("cols", lambda x, kh, kw: reference.im2col(x, kh, kw, padding="valid")),
        "padded_at_the_end": ("cols", _padded_at_the_end),
        "padded_with_edges": ("cols", _with_edges),
        "channels_first": ("cols", lambda x, kh, kw: _in_order(x, kh, kw, (2, 0, 1))),
        "columns_first": ("cols", lambda x, kh, kw: _in_order(x, kh, kw, (1, 0, 2))),
        "patch_flipped": ("cols", lambda x, kh, kw: _in_order(x, kh, kw, (0, 1, 2), flip=True)),
    },
    arguments=("x", "kh", "kw"),
)


def check_im2col(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless `im2col` is right."""
    cases = [(x, *w.shape[:2]) for x, w, _ in _shapes(np.random.default_rng(0))]
    compare(learner, IM2COL, [(IMAGE, 3, 3), *cases])


# --- forward ---


def _conv(x: Array, w: Array, b: Array, **more: Any) -> Array:
    return reference.conv2d_forward(x, w, b, **more)[0]


def _learners_conv(learner: Learner, case: tuple[Any, ...]) -> Results:
    return {"y": learner.pair("conv2d_forward", *case)[0]}


def _misread(w: Array) -> Array:
    """The filters as w.reshape(F, -1).T has them."""
    *_, F = w.shape
    return w.reshape(F, -1).T.reshape(w.shape)


FORWARD = Subject(
    function="conv2d_forward",
    learners=_learners_conv,
    reference=lambda x, w, b: {"y": _conv(x, w, b)},
    mistakes={
        "no_padding": ("y", lambda x, w, b: _conv(x, w, b, padding="valid")),
        "filter_flipped": ("y", lambda x, w, b: _conv(x, w[::-1, ::-1], b)),
        "no_bias": ("y", lambda x, w, b: _conv(x, w, np.zeros_like(b))),
        "bias_subtracted": ("y", lambda x, w, b: _conv(x, w, -b)),
        "bias_per_entry": ("y", lambda x, w, b: _conv(x, w, b * w[..., 0].size)),
        "filter_transposed": ("y", lambda x, w, b: _conv(x, w.transpose(1, 0, 2, 3).reshape(w.shape), b)),
        "filter_misread": ("y", lambda x, w, b: _conv(x, _misread(w), b)),
        "one_channel": ("y", lambda x, w, b: _conv(x[..., :1], w[:, :, :1], b)),
        "padded_at_the_end": (
            "y",
            lambda x, w, b: _conv(
                np.pad(x, ((0, 0), (0, w.shape[0] - 1), (0, w.shape[1] - 1), (0, 0))), w, b, padding="valid"
            ),
        ),
    },
    arguments=("x", "w", "b"),
)


def check_forward(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless `conv2d_forward` is right."""
    hand = (IMAGE, RIGHT_TEN, np.array([100.0]))
    compare(learner, FORWARD, [hand, *_shapes(np.random.default_rng(1))])


# --- backward ---


def _gradients(x: Array, w: Array, b: Array, dy: Array) -> Results:
    _, cache = reference.conv2d_forward(x, w, b)
    return dict(zip(("dx", "dw", "db"), reference.conv2d_backward(dy, cache), strict=True))


def _learners_gradients(learner: Learner, case: tuple[Any, ...]) -> Results:
    x, w, b, dy = case
    _, cache = learner.pair("conv2d_forward", x, w, b)
    return dict(zip(("dx", "dw", "db"), three(learner.call("conv2d_backward", dy, cache)), strict=True))


def three(found: Any) -> tuple[Any, Any, Any]:
    """The three results of conv2d_backward. Raises Wrong for another number of them."""
    if found is None:
        raise Wrong("nothing", function="conv2d_backward")
    if not isinstance(found, tuple | list) or len(found) != 3:
        count = len(found) if isinstance(found, tuple | list) else 1
        raise Wrong("not_three", function="conv2d_backward", found=count)
    return found[0], found[1], found[2]


BACKWARD = Subject(
    function="conv2d_backward",
    learners=_learners_gradients,
    reference=_gradients,
    mistakes={
        "still_padded": ("dx", lambda x, w, b, dy: _wide_dx(x, w, dy)),
        "dx_filter_flipped": ("dx", lambda x, w, b, dy: _gradients(x, w[::-1, ::-1], b, dy)["dx"]),
        "dx_not_added": ("dx", lambda x, w, b, dy: _overwritten(x, w, dy)),
        "dw_flipped": ("dw", lambda x, w, b, dy: _gradients(x, w, b, dy)["dw"][::-1, ::-1]),
        "dw_mean": ("dw", lambda x, w, b, dy: _gradients(x, w, b, dy)["dw"] / len(x)),
        "dw_ones": ("dw", lambda x, w, b, dy: _gradients(x, w, b, np.ones_like(dy))["dw"]),
        "db_mean": ("db", lambda x, w, b, dy: dy.mean(axis=(0, 1, 2))),
        "db_mean_of_images": ("db", lambda x, w, b, dy: dy.sum(axis=(0, 1, 2)) / len(x)),
        "db_images_only": ("db", lambda x, w, b, dy: dy.sum(axis=0)),
        "db_one_image": ("db", lambda x, w, b, dy: dy[0].sum(axis=(0, 1))),
    },
    arguments=("x", "w", "b", "dy"),
)


def _wide_dx(x: Array, w: Array, dy: Array) -> Array:
    """dx with the padding that it had in forward."""
    kh, kw, C, F = w.shape
    wide = np.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
    dcols = dy @ w.reshape(-1, F).T
    return reference.col2im(dcols, wide.shape, kh, kw, padding="valid")


def _overwritten(x: Array, w: Array, dy: Array) -> Array:
    """dx of a loop over the window in which the last shift wins: `=` for `+=`."""
    N, H, W, C = x.shape
    kh, kw, _, F = w.shape
    patches = (dy @ w.reshape(-1, F).T).reshape(N, H, W, kh, kw, C)
    wide = np.zeros((N, H + kh - 1, W + kw - 1, C), x.dtype)
    for u in range(kh):
        for v in range(kw):
            wide[:, u : u + H, v : v + W] = patches[:, :, :, u, v]
    return wide[:, kh // 2 : kh // 2 + H, kw // 2 : kw // 2 + W]


def check_backward(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless `conv2d_backward` is right."""
    rng = np.random.default_rng(2)
    dy = np.zeros((1, 3, 3, 1))
    dy[0, 0, 0], dy[0, 1, 1] = 1, 2
    hand = (IMAGE, RIGHT_TEN, np.array([100.0]), dy)
    cases = [(x, w, b, rng.normal(size=(*x.shape[:3], len(b))).astype(x.dtype)) for x, w, b in _shapes(rng)]

    def forward(x: Array, w: Array, b: Array) -> tuple[Array, Any]:
        return learner.pair("conv2d_forward", x, w, b)

    def backward(dy: Array, cache: Any) -> tuple[Any, Any, Any]:
        return three(learner.call("conv2d_backward", dy, cache))

    x, w, b = rng.normal(size=(2, 4, 3, 2)), rng.normal(size=(3, 3, 2, 3)), rng.normal(size=3)
    compare_backward(learner, BACKWARD, [hand, *cases], forward, backward, x, w, b)
