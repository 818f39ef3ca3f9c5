"""Arguments for a function of which only the names of its parameters are known: x, w, b, stride, labels.

A guess is a family of shapes: rows of features, images with channels first or last, sequences. The first
family with which forward runs is taken. A file may state its own, which go before:

    gradcheck_examples = {"affine_forward": lambda rng: (rng.normal(size=(4, 5)), ...)}
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.names import LABELS

N, D, M, C, F, H, W, K, T = 4, 5, 3, 2, 3, 6, 4, 3, 3  # sizes that differ, so that no two axes are confused
Rng = np.random.Generator
Shapes = dict[str, tuple[int, ...]]

# By family: the shapes of inputs, weights, biases, and of what belongs to each feature.
FAMILIES: dict[str, Shapes] = {
    "rows": {"x": (N, D), "w": (D, M), "b": (M,), "g": (D,)},
    "rows, bias in two axes": {"x": (N, D), "w": (D, M), "b": (1, M), "g": (1, D)},
    "rows, weights by output": {"x": (N, D), "w": (M, D), "b": (M,), "g": (D,)},
    "rows, one output": {"x": (N, D), "w": (D,), "b": (), "g": (D,)},
    "columns": {"x": (D, N), "w": (M, D), "b": (M, 1), "g": (D, 1)},
    "images, channels first": {"x": (N, C, H, W), "w": (F, C, K, K), "b": (F,), "g": (C,)},
    "images, channels last": {"x": (N, H, W, C), "w": (K, K, C, F), "b": (F,), "g": (C,)},
    "images, flattened": {"x": (N, C, H, W), "w": (C * H * W, M), "b": (M,), "g": (1, C, 1, 1)},
    "a recurrent step": {"x": (N, D), "w": (D, M), "b": (M,), "g": (M,)},
    "a recurrent step of four gates": {"x": (N, D), "w": (D, 4 * M), "b": (4 * M,), "g": (M,)},
    "rows of integers": {"x": (N, T), "w": (D, M), "b": (M,), "g": (M,), "below": (D,)},
    "sequences": {"x": (N, T, D), "w": (D, M), "b": (M,), "g": (D,)},
    "sequences of four gates": {"x": (N, T, D), "w": (D, 4 * M), "b": (4 * M,), "g": (M,)},
}
INPUTS = (*"xazhuv", "inputs", "input", "x1", "x2", "a_prev", "data", "images", "image", "features", "logits")
INPUTS += (
    "scores",
    "score",
    "pred",
    "preds",
    "y_pred",
    "predicted",
    "predictions",
    "yhat",
    "y_hat",
    "input_data",
)
WEIGHTS = ("w", "weight", "weights", "theta", "kernel", "kernels", "filters", "filter")
BIASES = ("b", "bias", "biases")
PER_FEATURE = ("gamma", "beta", "scale", "shift", "mean", "g")
STATES = ("prev_h", "h_prev", "hprev", "h0", "prev_c", "c_prev", "cprev", "c0", "h", "c")
SETTINGS: dict[str, Any] = {
    "stride": 1,
    "pad": 1,
    "padding": 1,
    "pool_size": 2,
    "pool_h": 2,
    "pool_w": 2,
    "pool_height": 2,
    "pool_width": 2,
    "eps": 1e-5,
    "epsilon": 1e-5,
    "reg": 0.1,
    "lam": 0.1,
    "delta": 1.0,
    "alpha": 0.1,
    "keep_prob": 0.6,
    "p": 0.6,
    "rate": 0.4,
    "dropout_ratio": 0.4,
    "mode": "train",
    "training": True,
    "train": True,
    "in_features": D,
    "input_size": D,
    "input_dim": D,
    "in_dim": D,
    "n_in": D,
    "nin": D,
    "n_inputs": D,
    "fan_in": D,
    "num_features": D,
    "features": D,
    "dim": D,
    "out_features": M,
    "output_size": M,
    "output_dim": M,
    "out_dim": M,
    "hidden_dim": M,
    "hidden_size": M,
    "n_out": M,
    "nout": M,
    "n_outputs": M,
    "n_neurons": M,
    "units": M,
    "fan_out": M,
    "in_channels": C,
    "channels": C,
    "out_channels": F,
    "num_filters": F,
    "n_filters": F,
    "kernel_size": K,
    "filter_size": K,
    "size": 2,
    "conv_param": {"stride": 1, "pad": 1},
    "pool_param": {"pool_height": 2, "pool_width": 2, "stride": 2},
    "bn_param": {"mode": "train"},
    "ln_param": {},
    "gn_param": {},
    "dropout_param": {"mode": "train", "p": 0.6, "seed": 1},
}


class Unknown(Exception):  # noqa: N818
    """A parameter of which nobody knows what it takes."""


def guesses(
    function: Callable, of: str, rng: Rng, features: Sequence[int] = ()
) -> Iterator[tuple[str, list[Any]]]:
    """Families and arguments for the required parameters of a function, the likeliest first.

    `of` is the name by which its kind is told ("conv_forward"); `features` are numbers of them that an
    object may expect. Raises Unknown, naming it, for a parameter
    that no family has.
    """
    wanted = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind in (0, 1) and (p.default is inspect.Parameter.empty or p.name.lower() in LABELS)
    ]
    labels = ["labels", "one-hot labels", "a target each", "targets"]
    some = any(name.lower() in LABELS for name in wanted)
    families = {family: FAMILIES[family] for family in _ordered(of)}
    families |= {f"rows of {k} features": FAMILIES["rows"] | {"x": (N, k)} for k in features}
    for kind in labels if some else labels[:1]:
        for family, shapes in families.items():
            label = family if kind == "labels" else f"{family}, {kind}"
            yield label, [_value(name, shapes, of, kind, rng) for name in wanted]


def _ordered(of: str) -> list[str]:
    """The families, those first that the name speaks of."""
    low = of.lower()
    words = {
        "images": ("conv", "pool", "spatial", "2d", "im2col", "upsample"),
        "four gates": ("lstm",),
        "a recurrent": ("rnn_step", "step", "cell", "gru"),
        "sequences": ("rnn", "lstm", "temporal", "sequence"),
        "integers": ("embed",),
    }
    first = [
        family
        for kind, names in words.items()
        if any(name in low for name in names)
        for family in FAMILIES
        if kind in family
    ]
    if "lstm" in low and "step" in low:
        first = ["a recurrent step of four gates", *first]
    return list(dict.fromkeys([*first, *FAMILIES]))


def _value(name: str, shapes: Shapes, of: str, labels: str, rng: Rng) -> Any:
    low = name.lower().strip("_")
    many = shapes["x"][0]
    if low in STATES and low != "h":
        return rng.standard_normal((N, M))
    if low in LABELS and not (low == "y" and "loss" not in of.lower() and "entropy" not in of.lower()):
        if "target" in labels:
            return rng.standard_normal((many, M) if labels == "targets" else (many,))
        drawn = rng.integers(0, M, many)
        return np.eye(shapes["x"][-1])[drawn] if labels == "one-hot labels" else drawn
    if low in SETTINGS:
        pool = "pool" in of.lower()
        if pool and low in ("stride", "size", "kernel_size", "filter_size"):
            return 2
        value = 0 if pool and low in ("pad", "padding") else SETTINGS[low]
        return dict(value) if isinstance(value, dict) else value
    if low == "mask":
        return rng.random(shapes["x"]) < 0.6
    if low == "rng":
        return np.random.default_rng(0)
    kind = _kind(low)
    if kind is None:
        raise Unknown(name)
    shape = shapes[kind]
    if kind == "x" and "below" in shapes:  # rows of a table of so many
        return rng.integers(0, shapes["below"][0], shape)
    if low in ("wh", "w_h", "w_hh", "whh"):
        shape = (M, shapes["w"][-1])
    values = rng.standard_normal(shape)
    return 0.5 + np.abs(values) if low in ("var", "variance", "std") else values


def _kind(low: str) -> str | None:
    if low in INPUTS or low == "y":
        return "x"
    bare = low.rstrip("0123456789")
    if bare in WEIGHTS or low in ("wx", "w_x", "wh", "w_h", "w_xh", "w_hh", "wxh", "whh"):
        return "w"
    if bare in BIASES:
        return "b"
    if low in PER_FEATURE or low in ("var", "variance", "std"):
        return "g"
    return None
