"""`python -m minicnn gradcheck`: every operation, every layer and the whole network, on both kinds of ops.

Operations and layers are checked at small sizes, chosen so that vectors and blocks do not come out
even; the network is the tutorial's, after some steps of training, on real digits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TextIO

import numpy as np

from minicnn.checks.gradcheck import GradientReport, gradient_check
from minicnn.data import load_mnist
from minicnn.data.batches import to_float
from minicnn.engine.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, MaxPool2D, ReLU
from minicnn.engine.layers.base import OPS
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.optimizers import Adam
from minicnn.tutorial import tutorial_network

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


def apart(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Shuffled values of about -1 to 1, all at least 0.4 / size from each other and from 0.

    So none is near the kink of a ReLU or tied in a pool window.
    """
    size = int(np.prod(shape))
    steps = np.arange(size) - size // 2 + 0.3 + rng.uniform(-0.1, 0.1, size)
    return (rng.permutation(steps) * 2 / size).reshape(shape)


# --- operations: pairs of functions --------------------------------------------------------------


def _conv_arrays(
    rng: np.random.Generator, N: int = 2, C: int = 3, kh: int = 3, kw: int = 4, F: int = 19
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shapes = (N, 6, 5, C), (kh, kw, C, F), (F,)
    x, w, b = (rng.standard_normal(shape) for shape in shapes)
    return x, w, b


def _mostly_zeros(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape) * (rng.random(shape) < 0.2)


# By operation and what is special: arguments of the forward, and options of the check, from a generator.
OPERATIONS: dict[tuple[str, str], Callable[[np.random.Generator], tuple[tuple, dict]]] = {
    ("conv2d", ""): lambda rng: (_conv_arrays(rng), {}),
    ("conv2d", "stride 2, valid"): lambda rng: ((*_conv_arrays(rng), 2, "valid"), {}),
    ("conv_relu_pool", ""): lambda rng: (_conv_arrays(rng), {}),
    ("conv_relu_pool", "stride 2, valid"): lambda rng: ((*_conv_arrays(rng), 2, "valid"), {}),
    ("conv_relu_pool", "grey images"): lambda rng: (_conv_arrays(rng, N=6, C=1), {}),
    # Where the kernel multiplies less: see `minicnn.engine.kernels.winograd`.
    ("conv_relu_pool", "5x5, many channels"): lambda rng: (_conv_arrays(rng, N=1, C=17, kh=5, kw=5), {}),
    ("max_pool2d", ""): lambda rng: ((apart(rng, 2, 7, 5, 3),), {}),
    ("max_pool2d", "overlapping"): lambda rng: ((apart(rng, 2, 7, 5, 2), 3, 2, "valid"), {}),
    ("relu", ""): lambda rng: ((apart(rng, 4, 25),), {}),
    ("dropout", ""): lambda rng: ((rng.standard_normal((4, 25)), rng.random((4, 25)) < 0.7, 0.7), {}),
    ("dense", ""): lambda rng: (
        (rng.standard_normal((5, 21)), rng.standard_normal((21, 19)), rng.standard_normal(19)),
        {},
    ),
    ("dense", "dy mostly zeros"): lambda rng: (
        (rng.standard_normal((5, 21)), rng.standard_normal((21, 19)), rng.standard_normal(19)),
        {"dy": _mostly_zeros(rng, 5, 19)},
    ),
    ("softmax_cross_entropy", "mean"): lambda rng: (
        (rng.standard_normal((4, 10)), rng.integers(0, 10, 4), "mean"),
        {},
    ),
    ("softmax_cross_entropy", "sum"): lambda rng: (
        (rng.standard_normal((4, 10)), rng.integers(0, 10, 4), "sum"),
        {},
    ),
}


def _check_operation(name: str, special: str, ops: str, seed: int) -> GradientReport:
    inputs, options = OPERATIONS[name, special](np.random.default_rng(seed))
    pair = getattr(OPS[ops], f"{name}_forward"), getattr(OPS[ops], f"{name}_backward")
    return gradient_check(pair, *inputs, seed=seed, **options)


# --- layers --------------------------------------------------------------------------------------

LAYERS: dict[type, Callable] = {
    Conv2D: lambda rng, ops: (Conv2D(3, 4, (3, 2), rng=rng, ops=ops), rng.standard_normal((2, 6, 5, 3))),
    ConvReLUPool: lambda rng, ops: (
        ConvReLUPool(2, 4, 3, rng=rng, ops=ops),
        rng.standard_normal((2, 6, 5, 2)),
    ),
    Dense: lambda rng, ops: (Dense(7, 5, rng=rng, ops=ops), rng.standard_normal((4, 7))),
    Dropout: lambda rng, ops: (Dropout(0.6, rng=rng, ops=ops), rng.standard_normal((4, 25))),
    Flatten: lambda rng, ops: (Flatten(ops=ops), rng.standard_normal((3, 4, 3, 2))),
    MaxPool2D: lambda rng, ops: (MaxPool2D(3, 2, ops=ops), apart(rng, 2, 6, 5, 3)),
    ReLU: lambda rng, ops: (ReLU(ops=ops), apart(rng, 4, 25)),
}


def _check_layer(kind: type, ops: str, seed: int) -> GradientReport:
    layer, x = LAYERS[kind](np.random.default_rng(seed), ops)
    return gradient_check(layer, x, seed=seed)


# --- the network ---------------------------------------------------------------------------------


def trained_network(seed: int = 0, steps: int = STEPS) -> tuple[Sequential, np.ndarray]:
    """The tutorial's network after some steps of training, and a test digit [1, 28, 28, 1]."""
    data = load_mnist()
    network, loss = tutorial_network(seed), SoftmaxCrossEntropy("sum")
    optimizer = Adam(network.parameters(), 1e-3)
    for first in range(0, 50 * steps, 50):
        images, labels = data.train.images[first : first + 50], data.train.labels[first : first + 50]
        loss.forward(network.forward(to_float(images), training=True), labels)
        network.backward(loss.backward(), input_gradient=False)
        optimizer.step()
    first = seed % (len(data.test) - DIGITS)
    return network, to_float(data.test.images[first : first + DIGITS], np.float64)


def _network_checks() -> Iterator[Check]:
    trained: dict[int, tuple[Sequential, np.ndarray]] = {}  # by seed

    def run(ops: str, fused: bool, seed: int) -> GradientReport:
        if seed not in trained:
            trained[seed] = trained_network(seed)
        network, digits = trained[seed]
        subject = tutorial_network(seed, fused=fused, ops=ops)
        subject.load_values({p.name: p.value for p in network.parameters()})
        return gradient_check(subject, digits, entries=SAMPLES, directions=1, seed=seed)

    for ops, fused in [("reference", False), ("kernels", False), ("kernels", True)]:
        what = f"tutorial network, {'fused' if fused else 'plain'}, digits"
        yield Check("network", what, ops, partial(run, ops, fused))


# --- all of it -----------------------------------------------------------------------------------


def all_checks() -> list[Check]:
    """Every operation, every layer, the network: with both kinds of ops."""
    checks = []
    for name, special in OPERATIONS:
        what = f"{name}{', ' if special else ''}{special}"
        for ops in BOTH:
            checks.append(Check(name, what, ops, partial(_check_operation, name, special, ops)))
    for kind in LAYERS:
        for ops in BOTH:
            run = partial(_check_layer, kind, ops)
            checks.append(Check(kind.__name__, f"{kind.__name__} layer", ops, run))
    return [*checks, *_network_checks()]


def run_gradcheck(layer: str | None = None, seed: int = 0, out: TextIO | None = None) -> bool:
    """Check gradients and print a table, and a full report of each check that fails.

    `layer` is the name of an operation or a layer class, or "network"; None checks all. Returns
    whether all are right. Raises ValueError, listing the names, for an unknown one.
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
        compared = sum(a.compared + a.directions for a in report.arrays)
        print(
            f"{check.what:<{width}}  {check.ops:<9}  {len(report.arrays):<6}  {compared:<8}  "
            f"{report.kinks:<5}  {report.error:.1e}  {report.verdict.split(':')[0]}",
            file=out,
            flush=True,
        )
        if not report.ok:
            failed.append((check, report))
    for check, report in failed:
        print(f"\n{check.what}, {check.ops}: {report}", file=out)
    right = len(checks) - len(failed)
    print(f"\ngradients right in {right} of {len(checks)} checks (seed {seed})", file=out)
    return not failed
