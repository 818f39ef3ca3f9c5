"""Exercises 4 to 6: max-pool, ReLU and dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.checks.examples import separated
from minicnn.engine import reference
from minicnn.learn.findings import Wrong
from minicnn.learn.learner import Learner
from minicnn.learn.probe import Array, Results, Subject, compare, compare_backward

# --- max-pool ---

TIED = np.array([[1.0, 5, 2, 2], [3, 4, 2, 0]]).reshape(1, 2, 4, 1)


def _windows(x: Array, fill: float) -> Array:
    """The 2 x 2 windows [N, Ho, Wo, C, 4], with `fill` where an odd side ends."""
    N, H, W, C = x.shape
    even = np.pad(x, ((0, 0), (0, H % 2), (0, W % 2), (0, 0)), constant_values=fill)
    Ho, Wo = even.shape[1] // 2, even.shape[2] // 2
    return even.reshape(N, Ho, 2, Wo, 2, C).transpose(0, 1, 3, 5, 2, 4).reshape(N, Ho, Wo, C, 4)


def _back(windows: Array, x: Array) -> Array:
    """The way back from `_windows`."""
    N, H, W, C = x.shape
    Ho, Wo = windows.shape[1:3]
    even = windows.reshape(N, Ho, Wo, C, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(N, 2 * Ho, 2 * Wo, C)
    return even[:, :H, :W]


def _max(x: Array) -> Array:
    return reference.max_pool2d_forward(x)[0]


def _overlapping(x: Array) -> Array:
    return reference.max_pool2d_forward(x, stride=1)[0]


POOL = Subject(
    function="max_pool2d_forward",
    learners=lambda learner, case: {"y": learner.pair("max_pool2d_forward", *case)[0]},
    reference=lambda x: {"y": _max(x)},
    mistakes={
        "last_row_dropped": ("y", lambda x: reference.max_pool2d_forward(x, padding="valid")[0]),
        "padding_wins": ("y", lambda x: _windows(x, 0).max(axis=-1)),
        "mean_for_max": ("y", lambda x: reference.average_pool2d_forward(x)[0]),
        "min_for_max": ("y", lambda x: -_max(-x)),
        "windows_overlap": ("y", _overlapping),
        "valid_overlap": ("y", lambda x: reference.max_pool2d_forward(x, stride=1, padding="valid")[0]),
    },
    arguments=("x",),
)


def _pool_gradient(x: Array, dy: Array) -> Array:
    return reference.max_pool2d_backward(dy, reference.max_pool2d_forward(x)[1])


def _of_all_tied(x: Array, dy: Array) -> Array:
    windows = _windows(x, -np.inf)
    return _back((windows == windows.max(axis=-1, keepdims=True)) * dy[..., None], x)


def _shared_among_tied(x: Array, dy: Array) -> Array:
    windows = _windows(x, -np.inf)
    won = windows == windows.max(axis=-1, keepdims=True)
    return _back(won / won.sum(axis=-1, keepdims=True) * dy[..., None], x)


def _of_last_tied(x: Array, dy: Array) -> Array:
    windows = _windows(x, -np.inf)
    last = 3 - windows[..., ::-1].argmax(axis=-1)
    return _back((np.arange(4) == last[..., None]) * dy[..., None], x)


def _to_all(x: Array, dy: Array) -> Array:
    return _back(np.repeat(dy[..., None], 4, axis=-1), x)


POOL_BACKWARD = Subject(
    function="max_pool2d_backward",
    learners=lambda learner, case: {"dx": _learners_gradient(learner, "max_pool2d", *case)},
    reference=lambda x, dy: {"dx": _pool_gradient(x, dy)},
    mistakes={
        "all_tied_win": ("dx", _of_all_tied),
        "tied_share": ("dx", _shared_among_tied),
        "last_tied_wins": ("dx", _of_last_tied),
        "all_pixels_win": ("dx", _to_all),
        "all_pixels_share": ("dx", lambda x, dy: _to_all(x, dy) / 4),
        "maximum_itself": ("dx", lambda x, dy: _pool_gradient(x, _max(x) * dy)),
        "dy_forgotten": ("dx", lambda x, dy: _pool_gradient(x, np.ones_like(dy))),
    },
    arguments=("x", "dy"),
)


def _learners_gradient(learner: Learner, name: str, x: Array, dy: Array) -> Any:
    forward, backward = pair_of(learner, name)
    return backward(dy, forward(x)[1])


def check_pool(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless both functions of max-pool are right."""
    rng = np.random.default_rng(3)
    shapes = [(1, 5, 4, 3), (2, 3, 3, 1), (3, 4, 7, 2), (1, 1, 1, 1)]
    images = [rng.normal(size=shape) for shape in shapes]
    images += [-np.abs(rng.normal(size=(1, 3, 5, 2))), np.zeros((2, 4, 3, 1)), images[0].astype(np.float32)]
    compare(learner, POOL, [(TIED,), *((x,) for x in images)])
    tied = np.round(rng.normal(size=(2, 6, 5, 2)))  # whole numbers: many windows with equal pixels
    cases = [(x, rng.normal(size=_max(x).shape).astype(x.dtype)) for x in [*images, tied]]
    x = separated(rng, 2, 5, 4, 2)
    forward, backward = pair_of(learner, "max_pool2d")
    hand = (TIED, np.array([10.0, 20]).reshape(1, 1, 2, 1))
    compare_backward(learner, POOL_BACKWARD, [hand, *cases], forward, backward, x)


def pair_of(learner: Learner, name: str) -> tuple[Any, Any]:
    """The learner's forward and backward as functions for `gradient_check`."""

    def forward(x: Array) -> tuple[Array, Any]:
        return learner.pair(f"{name}_forward", x)

    def backward(dy: Array, cache: Any) -> Any:
        return learner.call(f"{name}_backward", dy, cache)

    return forward, backward


# --- ReLU ---

LINE = np.array([-2.0, -1, 0, 1, 2])

RELU = Subject(
    function="relu_forward",
    learners=lambda learner, case: {"y": learner.pair("relu_forward", *case)[0]},
    reference=lambda x: {"y": np.maximum(x, 0)},
    mistakes={
        "absolute": ("y", np.abs),
        "minimum": ("y", lambda x: np.minimum(x, 0)),
        "step": ("y", lambda x: (x > 0).astype(x.dtype)),
        "leaky": ("y", lambda x: np.where(x > 0, x, x * x.dtype.type(0.01))),
    },
    arguments=("x",),
)
RELU_BACKWARD = Subject(
    function="relu_backward",
    learners=lambda learner, case: {"dx": _learners_gradient(learner, "relu", *case)},
    reference=lambda x, dy: {"dx": np.where(x > 0, dy, 0)},
    mistakes={
        "slope_at_zero": ("dx", lambda x, dy: np.where(x >= 0, dy, 0)),
        "dy_unmasked": ("dx", lambda x, dy: dy),
        "dy_forgotten": ("dx", lambda x, dy: (x > 0).astype(x.dtype)),
        "mask_of_dy": ("dx", lambda x, dy: np.maximum(dy, 0)),
        "mask_negated": ("dx", lambda x, dy: np.where(x > 0, 0, dy)),
        "maximum_itself": ("dx", lambda x, dy: np.maximum(x, 0) * dy),
    },
    arguments=("x", "dy"),
)


def check_relu(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless both functions of ReLU are right."""
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=shape) for shape in [(1, 5, 4, 3), (3, 7), (2,)]]
    arrays += [np.zeros((2, 3)), arrays[0].astype(np.float32)]
    compare(learner, RELU, [(LINE,), *((x,) for x in arrays)])
    cases = [(x, rng.normal(size=x.shape).astype(x.dtype)) for x in arrays]
    forward, backward = pair_of(learner, "relu")
    x = separated(rng, 3, 5)
    hand = (LINE, np.array([10.0, 20, 30, 40, -50]))
    compare_backward(learner, RELU_BACKWARD, [hand, *cases], forward, backward, x)


# --- dropout ---


def _mask(x: Array, keep_prob: float, seed: int) -> Array:
    return np.random.default_rng(seed).random(x.shape) < keep_prob


def _dropped(x: Array, keep_prob: float, seed: int, scale: float | None = None) -> Array:
    scale = 1 / keep_prob if scale is None else scale
    return np.where(_mask(x, keep_prob, seed), x * x.dtype.type(scale), 0)


def _inverse(p: float) -> float:
    return 1 / p if p else 0.0


DROPOUT_MISTAKES: dict[str, Callable[..., Any]] = {
    "keep_for_drop": lambda x, p, s: np.where(_mask(x, 1 - p, s), x * x.dtype.type(_inverse(p)), 0),
    "mask_negated": lambda x, p, s: np.where(_mask(x, p, s), 0, x * x.dtype.type(_inverse(p))),
    "drop_and_scale": lambda x, p, s: np.where(_mask(x, 1 - p, s), x * x.dtype.type(_inverse(1 - p)), 0),
    "not_scaled": lambda x, p, s: _dropped(x, p, s, 1),
    "scaled_down": lambda x, p, s: _dropped(x, p, s, p),
    "scaled_by_drop": lambda x, p, s: _dropped(x, p, s, _inverse(1 - p)),
    "everything_kept": lambda x, p, s: x,
}


def _learners_dropout(learner: Learner, case: tuple[Any, ...]) -> Results:
    x, keep_prob, seed = case
    return {"y": learner.pair("dropout_forward", x, keep_prob, np.random.default_rng(seed))[0]}


DROPOUT = Subject(
    function="dropout_forward",
    learners=_learners_dropout,
    reference=lambda x, p, s: {"y": _dropped(x, p, s)},
    mistakes={key: ("y", mistaken) for key, mistaken in DROPOUT_MISTAKES.items()},
    arguments=("x", "keep_prob", "seed"),
)


def _learners_dropout_gradient(learner: Learner, case: tuple[Any, ...]) -> Results:
    x, keep_prob, seed, dy = case
    _, cache = learner.pair("dropout_forward", x, keep_prob, np.random.default_rng(seed))
    return {"dx": learner.call("dropout_backward", dy, cache)}


DROPOUT_BACKWARD = Subject(
    function="dropout_backward",
    learners=_learners_dropout_gradient,
    reference=lambda x, p, s, dy: {"dx": _dropped(dy, p, s)},
    mistakes={
        "back_not_scaled": ("dx", lambda x, p, s, dy: _dropped(dy, p, s, 1)),
        "dy_unmasked": ("dx", lambda x, p, s, dy: dy),
        "dy_scaled_unmasked": ("dx", lambda x, p, s, dy: dy / p),
        "scaled_down": ("dx", lambda x, p, s, dy: _dropped(dy, p, s, p)),
        "dy_forgotten": ("dx", lambda x, p, s, dy: _dropped(np.ones_like(dy), p, s)),
        "scaled_twice": ("dx", lambda x, p, s, dy: _dropped(dy, p, s, 1 / p**2)),
        "mask_negated": ("dx", lambda x, p, s, dy: DROPOUT_MISTAKES["mask_negated"](dy, p, s)),
    },
    arguments=("x", "keep_prob", "seed", "dy"),
)


def check_dropout(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless both functions of dropout are right."""
    rng = np.random.default_rng(5)
    hand = (np.arange(1.0, 9.0), 0.8, 0)
    cases: list[Any] = [
        (rng.normal(size=(1, 5, 4, 3)), 0.3, 1),
        (rng.normal(size=(3, 7)), 1.0, 2),
        (rng.normal(size=(4, 50)).astype(np.float32), 0.6, 3),
    ]
    try:
        compare(learner, DROPOUT, [hand, *cases])
    except Wrong as wrong:
        if wrong.finding.key == "values" and not wrong.finding.mistake:
            _look_at_the_mask(learner)
        wrong.finding.shown.insert(2, ("mask_drawn", " ".join(map(str, _mask(*hand).astype(int)))))
        raise
    backs = [(x, p, s, rng.normal(size=x.shape).astype(x.dtype)) for x, p, s in [hand, *cases]]
    x = separated(rng, 4, 6)

    def forward(x: Array, keep_prob: float) -> tuple[Array, Any]:
        return learner.pair("dropout_forward", x, keep_prob, np.random.default_rng(0))

    def backward(dy: Array, cache: Any) -> Any:
        return learner.call("dropout_backward", dy, cache)

    compare_backward(learner, DROPOUT_BACKWARD, backs, forward, backward, x, 0.6)


def _look_at_the_mask(learner: Learner) -> None:
    """Raise Wrong if the mask is another one, drawn in another way, but kept and scaled as it should be."""
    x, keep_prob = np.ones((40, 50)), 0.8
    found = np.asarray(learner.pair("dropout_forward", x, keep_prob, np.random.default_rng(0))[0])
    if found.shape != x.shape or not np.isin(np.round(found, 9), [0, np.round(1 / keep_prob, 9)]).all():
        return
    again = np.asarray(learner.pair("dropout_forward", x, keep_prob, np.random.default_rng(0))[0])
    rows = np.all(found == found[:1]) or np.all(found == found[:, :1])
    mistake = (
        "mask_repeated" if rows else "rng_not_used" if not np.array_equal(found, again) else "other_draw"
    )
    share = float((found > 0).mean())
    raise Wrong("mask", mistake=mistake, function="dropout_forward", share=f"{share:.2f}", keep=keep_prob)
