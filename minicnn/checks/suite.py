"""`python -m minicnn gradcheck`: every operation, every layer and the whole network, on both kinds of ops.

Operations and layers are checked at small sizes that leave remainders in vectors and blocks; the network
is the tutorial's, after a few steps of training, on real digits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

import numpy as np

from minicnn.checks.examples import layer_classes, separated, small_layer
from minicnn.checks.gradcheck import gradient_check
from minicnn.checks.report import GradientReport
from minicnn.data import load_mnist, to_float
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.ops import find_ops
from minicnn.engine.optimizers import Adam
from minicnn.tutorial import train_step, tutorial_network

BOTH = ("reference", "kernels")
STEPS = 20  # of training before the network is checked
DIGITS = 1
SAMPLES = 10  # entries of each of the network's arrays


@dataclass(frozen=True)
class Check:
    """One line of the table: what is checked, with which ops, and how."""

    name: str  # of the operation, the layer class, or "network"
    what: str
    ops: str
    run: Callable[[int], GradientReport]  # of a seed


# --- operations: pairs of functions --------------------------------------------------------------

Rng = np.random.Generator


def _conv(
    rng: Rng, N: int = 2, C: int = 3, kh: int = 3, kw: int = 4, F: int = 19
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x [N, 6, 5, C], w [kh, kw, C, F], b [F]."""
    return _normal(rng, N, 6, 5, C), _normal(rng, kh, kw, C, F), _normal(rng, F)


def _dense(rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x [5, 21], w [21, 19], b [19]."""
    return _normal(rng, 5, 21), _normal(rng, 21, 19), _normal(rng, 19)


def _norm(rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x [3, 5, 4, 19], scale [19], shift [19]."""
    return 2 * _normal(rng, 3, 5, 4, 19) + 1, _normal(rng, 19), _normal(rng, 19)


def _scores(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """logits [4, 10], labels [4]."""
    return _normal(rng, 4, 10), rng.integers(0, 10, 4)


def _normal(rng: Rng, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def _mostly_zeros(rng: Rng, *shape: int) -> np.ndarray:
    return _normal(rng, *shape) * (rng.random(shape) < 0.2)


# By operation and variant: the arguments of forward, drawn from a generator.
OPERATIONS: dict[tuple[str, str], Callable[[Rng], tuple[Any, ...]]] = {
    ("conv2d", ""): lambda rng: _conv(rng),
    ("conv2d", "stride 2, valid"): lambda rng: (*_conv(rng), 2, "valid"),
    ("conv_relu_pool", ""): lambda rng: _conv(rng),
    ("conv_relu_pool", "stride 2, valid"): lambda rng: (*_conv(rng), 2, "valid"),
    ("conv_relu_pool", "one channel"): lambda rng: _conv(rng, N=6, C=1),
    # Where the kernel saves multiplications: see `minicnn.engine.kernels.winograd`.
    ("conv_relu_pool", "5x5, many channels"): lambda rng: _conv(rng, N=1, C=17, kh=5, kw=5),
    ("max_pool2d", ""): lambda rng: (separated(rng, 2, 7, 5, 3),),
    ("max_pool2d", "overlapping"): lambda rng: (separated(rng, 2, 7, 5, 2), 3, 2, "valid"),
    ("average_pool2d", ""): lambda rng: (_normal(rng, 2, 7, 5, 3),),
    ("average_pool2d", "overlapping"): lambda rng: (_normal(rng, 2, 7, 5, 2), 3, 2, "same"),
    ("global_average_pool2d", ""): lambda rng: (_normal(rng, 2, 7, 5, 19),),
    ("batch_norm2d", "training"): lambda rng: _norm(rng),
    ("batch_norm2d", "evaluation"): lambda rng: (*_norm(rng), _normal(rng, 19), 0.5 + rng.random(19)),
    ("relu", ""): lambda rng: (separated(rng, 4, 25),),
    ("dropout", ""): lambda rng: (_normal(rng, 4, 25), rng.random((4, 25)) < 0.7, 0.7),
    ("dense", ""): lambda rng: _dense(rng),
    ("dense", "dy mostly zeros"): lambda rng: _dense(rng),
    ("softmax_cross_entropy", "mean"): lambda rng: (*_scores(rng), "mean"),
    ("softmax_cross_entropy", "sum"): lambda rng: (*_scores(rng), "sum"),
    ("softmax_cross_entropy", "label smoothing"): lambda rng: (*_scores(rng), "mean", 0.1),
}

# Options of `gradient_check` for some of them.
OPTIONS: dict[tuple[str, str], Callable[[Rng], dict[str, Any]]] = {
    ("dense", "dy mostly zeros"): lambda rng: {"dy": _mostly_zeros(rng, 5, 19)},
    ("batch_norm2d", "evaluation"): lambda rng: {"constants": ("mean", "variance")},
}


def check_operation(name: str, variant: str, ops: Any, seed: int = 0, **options: Any) -> GradientReport:
    """`gradient_check` of one of `OPERATIONS` in the namespace `ops`; `options` go before `OPTIONS`."""
    rng = np.random.default_rng(seed)
    inputs = OPERATIONS[name, variant](rng)
    options = OPTIONS.get((name, variant), lambda rng: {})(rng) | options
    pair = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    return gradient_check(pair, *inputs, seed=seed, **options)


def _operation_checks() -> Iterator[Check]:
    for name, variant in OPERATIONS:
        what = ", ".join(filter(None, [name, variant]))
        for ops in BOTH:
            yield Check(name, what, ops, partial(_run_operation, name, variant, ops))


def _run_operation(name: str, variant: str, ops: str, seed: int) -> GradientReport:
    return check_operation(name, variant, find_ops(ops), seed)


# --- layers --------------------------------------------------------------------------------------


def _layer_checks() -> Iterator[Check]:
    for name, kind in layer_classes().items():
        make, _ = small_layer(kind, np.random.default_rng(0), "reference")
        differs = bool(make().state)  # training and evaluation are two functions
        for training in (True, False) if differs else (True,):
            what = f"{name} layer{'' if training else ', evaluation'}"
            for ops in BOTH:
                yield Check(name, what, ops, partial(_run_layer, kind, ops, training))


def _run_layer(kind: type, ops: str, training: bool, seed: int) -> GradientReport:
    make, x = small_layer(kind, np.random.default_rng(seed), ops)
    layer = make()
    if not training:  # with statistics other than the first ones
        layer.backward(np.ones_like(layer.forward(2 * x + 1, training=True)))
    return gradient_check(layer, x, training=training, seed=seed)


# --- the network ---------------------------------------------------------------------------------


def trained_network(seed: int = 0, steps: int = STEPS) -> tuple[Sequential, np.ndarray]:
    """The tutorial's network after some steps of training, and a test digit [1, 28, 28, 1]."""
    data = load_mnist()
    network, loss = tutorial_network(seed), SoftmaxCrossEntropy("sum")
    optimizer = Adam(network.parameters(), 1e-3)
    for first in range(0, 50 * steps, 50):
        batch = slice(first, first + 50)
        train_step(network, loss, optimizer, to_float(data.train.images[batch]), data.train.labels[batch])
    first = seed % (len(data.test) - DIGITS)
    return network, to_float(data.test.images[first : first + DIGITS], np.float64)


def _network_checks() -> Iterator[Check]:
    trained: dict[int, tuple[Sequential, np.ndarray]] = {}  # by seed

    def run(ops: str, fused: bool, seed: int) -> GradientReport:
        if seed not in trained:
            trained[seed] = trained_network(seed)
        network, digits = trained[seed]
        subject = tutorial_network(seed, fused=fused, ops=ops)
        subject.load_values(network.arrays())
        return gradient_check(subject, digits, entries=SAMPLES, directions=1, seed=seed)

    for ops, fused in [("reference", False), ("kernels", False), ("kernels", True)]:
        what = f"tutorial network, {'fused' if fused else 'plain'}, digits"
        yield Check("network", what, ops, partial(run, ops, fused))


# --- all of it -----------------------------------------------------------------------------------


def all_checks() -> list[Check]:
    """Every operation, every layer, the network: with both kinds of ops."""
    return [*_operation_checks(), *_layer_checks(), *_network_checks()]


def run_gradcheck(layer: str | None = None, seed: int = 0, out: TextIO | None = None) -> bool:
    """Check gradients and print a table, and a full report of each check that fails.

    `layer` is the name of an operation or a layer class, or "network"; None checks all. Returns
    whether all are correct. Raises ValueError, listing the names, for an unknown one.
    """
    out = sys.stdout if out is None else out
    checks = all_checks()
    if layer is not None:
        names = list(dict.fromkeys(check.name for check in checks))
        checks = [check for check in checks if check.name.lower() == layer.lower()]
        if not checks:
            raise ValueError(f"layer: expected one of {', '.join(names)}, got {layer!r}")
    width = max(len(check.what) for check in checks)
    print(f"{'what':<{width}}  ops        arrays  compared  kinks  error", file=out)
    failed = []
    for check in checks:
        report = check.run(seed)
        print(f"{check.what:<{width}}  {check.ops:<9}  {report.row}", file=out, flush=True)
        if not report.ok:
            failed.append((check, report))
    for check, report in failed:
        print(f"\n{check.what}, {check.ops}: {report}", file=out)
    correct = len(checks) - len(failed)
    # Programs read this line; its words stay.
    print(f"\ngradients right in {correct} of {len(checks)} checks (seed {seed})", file=out)
    return not failed
