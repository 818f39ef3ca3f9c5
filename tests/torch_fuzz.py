"""Who checks the checker? PyTorch's gradients of many operations, as they are and spoilt, at many values.

    python tests/torch_fuzz.py               prints the table: 10 rounds of all operations
    python tests/torch_fuzz.py 100 conv      100 rounds of the operations with this word in their name

A right gradient that is called WRONG is a false alarm, a spoilt one that is called ok is a miss. What is left
open is neither, and counted by its reason.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from minicnn import gradient_check
from minicnn.checks.report import GradientReport

Rng = np.random.Generator
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """A function of tensors, the shapes of its arguments, and which of its values must be above 0."""

    f: Callable[..., torch.Tensor]
    shapes: Callable[[Rng], tuple[Shape, ...]]
    positive: bool = False


def _sizes(rng: Rng, *least: int) -> list[int]:
    return [int(rng.integers(k, k + 4)) for k in least]


def _vector(rng: Rng) -> tuple[Shape]:
    return (tuple(_sizes(rng, *[1] * int(rng.integers(1, 4)))),)


def _matrix(rng: Rng) -> tuple[Shape]:
    return (tuple(_sizes(rng, 1, 2)),)


def _two(rng: Rng) -> tuple[Shape, Shape]:
    shape = tuple(_sizes(rng, 1, 2))
    return shape, shape


def _square(rng: Rng) -> tuple[Shape]:
    n = int(rng.integers(1, 5))
    return ((n, n),)


def _product(rng: Rng) -> tuple[Shape, Shape]:
    n, k, m = _sizes(rng, 1, 1, 1)
    return (n, k), (k, m)


def _linear(rng: Rng) -> tuple[Shape, Shape, Shape]:
    n, k, m = _sizes(rng, 1, 1, 1)
    return (n, k), (m, k), (m,)


def _image(rng: Rng) -> tuple[Shape]:
    return ((*_sizes(rng, 1, 1), *_sizes(rng, 3, 3)),)


def _conv(rng: Rng) -> tuple[Shape, Shape, Shape]:
    n, c, f, k, m = rng.integers(1, 4, 5)
    h, w = _sizes(rng, 3, 3)
    return tuple(tuple(map(int, s)) for s in ((n, c, h, w), (f, c, k, m), (f,)))


def _conv_back(rng: Rng) -> tuple[Shape, Shape, Shape]:
    x, (f, c, k, m), b = _conv(rng)
    return x, (c, f, k, m), b


def _normed(rng: Rng) -> tuple[Shape, Shape, Shape]:
    n, c = _sizes(rng, 2, 2)
    return (n, c), (c,), (c,)


def _normed_images(rng: Rng) -> tuple[Shape, Shape, Shape]:
    n, c, h, w = _sizes(rng, 2, 2, 2, 2)
    return (n, c, h, w), (c,), (c,)


def _gru(rng: Rng) -> tuple[Shape, ...]:
    n, k, m = _sizes(rng, 1, 1, 1)
    return (n, k), (n, m), (3 * m, k), (3 * m, m), (3 * m,), (3 * m,)


def _elementwise(f: Callable, positive: bool = False) -> Operation:
    return Operation(f, _vector, positive)


def _labels(x: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(x)) % x.shape[1]


OPERATIONS: dict[str, Operation] = {
    "exp": _elementwise(torch.exp),
    "expm1": _elementwise(torch.expm1),
    "sin": _elementwise(torch.sin),
    "cos": _elementwise(torch.cos),
    "atan": _elementwise(torch.atan),
    "asinh": _elementwise(torch.asinh),
    "sinh": _elementwise(torch.sinh),
    "cosh": _elementwise(torch.cosh),
    "tanh": _elementwise(torch.tanh),
    "erf": _elementwise(torch.erf),
    "sigmoid": _elementwise(torch.sigmoid),
    "log": _elementwise(torch.log, positive=True),
    "log1p": _elementwise(torch.log1p, positive=True),
    "sqrt": _elementwise(torch.sqrt, positive=True),
    "rsqrt": _elementwise(torch.rsqrt, positive=True),
    "reciprocal": _elementwise(torch.reciprocal, positive=True),
    "lgamma": _elementwise(torch.lgamma, positive=True),
    "square": _elementwise(torch.square),
    "cube": _elementwise(lambda x: x**3),
    "abs": _elementwise(torch.abs),
    "relu": _elementwise(torch.relu),
    "relu6": _elementwise(F.relu6),
    "leaky relu": _elementwise(F.leaky_relu),
    "elu": _elementwise(F.elu),
    "selu": _elementwise(F.selu),
    "celu": _elementwise(F.celu),
    "gelu": _elementwise(F.gelu),
    "gelu, tanh": _elementwise(lambda x: F.gelu(x, approximate="tanh")),
    "silu": _elementwise(F.silu),
    "mish": _elementwise(F.mish),
    "softplus": _elementwise(F.softplus),
    "softsign": _elementwise(F.softsign),
    "logsigmoid": _elementwise(F.logsigmoid),
    "hardtanh": _elementwise(F.hardtanh),
    "hardsigmoid": _elementwise(F.hardsigmoid),
    "hardswish": _elementwise(F.hardswish),
    "clamp": _elementwise(lambda x: x.clamp(-0.5, 1.5)),
    "sum": _elementwise(torch.sum),
    "mean": _elementwise(torch.mean),
    "norm": _elementwise(torch.linalg.vector_norm),
    "variance": Operation(lambda x: x.var(dim=1), _matrix),
    "deviation": Operation(lambda x: x.std(dim=1), _matrix),
    "logsumexp": Operation(lambda x: x.logsumexp(1), _matrix),
    "softmax": Operation(lambda x: x.softmax(1), _matrix),
    "log softmax": Operation(lambda x: x.log_softmax(1), _matrix),
    "prod": Operation(lambda x: x.prod(1), _matrix),
    "cumsum": Operation(lambda x: x.cumsum(1), _matrix),
    "cumprod": Operation(lambda x: x.cumprod(1), _matrix),
    "max": Operation(lambda x: x.max(1).values, _matrix),
    "amax": Operation(lambda x: x.amax(1), _matrix),
    "min": Operation(lambda x: x.min(1).values, _matrix),
    "median": Operation(lambda x: x.median(1).values, _matrix),
    "sort": Operation(lambda x: x.sort(1).values, _matrix),
    "normalize": Operation(lambda x: F.normalize(x), _matrix),
    "matmul": Operation(torch.matmul, _product),
    "outer": Operation(lambda x, y: x[:, :, None] * y[:, None], _two),
    "einsum": Operation(lambda x, y: torch.einsum("ij,kj->ik", x, y), _two),
    "determinant": Operation(lambda x: torch.linalg.det(x + 0.3 * torch.eye(len(x), dtype=x.dtype)), _square),
    "inverse": Operation(lambda x: torch.linalg.inv(x + 100 * torch.eye(len(x), dtype=x.dtype)), _square),
    "linear": Operation(F.linear, _linear),
    "linear, relu": Operation(lambda x, w, b: torch.relu(F.linear(x, w, b)), _linear),
    "conv2d": Operation(F.conv2d, _conv),
    "conv2d, stride, padding": Operation(lambda x, w, b: F.conv2d(x, w, b, 2, 1), _conv),
    "conv2d, dilation": Operation(lambda x, w, b: F.conv2d(x, w, b, 1, 4, 2), _conv),
    "conv2d, relu, pool": Operation(
        lambda x, w, b: F.max_pool2d(torch.relu(F.conv2d(x, w, b, 1, 2)), 2), _conv
    ),
    "conv transposed": Operation(lambda x, w, b: F.conv_transpose2d(x, w, b, 2), _conv_back),
    "max pool": Operation(lambda x: F.max_pool2d(x, 2), _image),
    "max pool, overlapping": Operation(lambda x: F.max_pool2d(x, 3, 1, 1), _image),
    "average pool": Operation(lambda x: F.avg_pool2d(x, 2, 1, 1), _image),
    "adaptive pool": Operation(lambda x: F.adaptive_avg_pool2d(x, 2), _image),
    "unfold": Operation(lambda x: F.unfold(x, 2, padding=1), _image),
    "upsample, nearest": Operation(lambda x: F.interpolate(x, scale_factor=2), _image),
    "upsample, bilinear": Operation(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), _image),
    "reflect": Operation(lambda x: F.pad(x, (1, 1, 2, 2), mode="reflect"), _image),
    "batch norm": Operation(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), _normed),
    "batch norm, images": Operation(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), _normed_images),
    "linear, batch norm": Operation(
        lambda x, w, b: F.batch_norm(F.linear(x, w, b), None, None, training=True),
        lambda rng: ((4, 3), (2, 3), (2,)),
    ),
    "layer norm": Operation(lambda x, w, b: F.layer_norm(x, x.shape[1:], w, b), _normed),
    "group norm": Operation(lambda x, w, b: F.group_norm(x, 1, w, b), _normed_images),
    "instance norm": Operation(lambda x, w, b: F.instance_norm(x, weight=w, bias=b), _normed_images),
    "embedding": Operation(lambda w: F.embedding(torch.tensor([0, 1, 0]), w), lambda rng: ((2, 3),)),
    "mse": Operation(F.mse_loss, _two),
    "l1": Operation(F.l1_loss, _two),
    "smooth l1": Operation(F.smooth_l1_loss, _two),
    "huber": Operation(lambda x, y: F.huber_loss(x, y, delta=0.7), _two),
    "cross-entropy": Operation(lambda x: F.cross_entropy(x, _labels(x)), _matrix),
    "cross-entropy, smoothed": Operation(
        lambda x: F.cross_entropy(x, _labels(x), label_smoothing=0.1), _matrix
    ),
    "binary cross-entropy": Operation(
        lambda x: F.binary_cross_entropy_with_logits(x, (torch.arange(x.numel()) % 2).view_as(x).double()),
        _matrix,
    ),
    "divergence": Operation(
        lambda x, y: F.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean"), _two
    ),
    "cosine": Operation(lambda x, y: F.cosine_similarity(x, y), _two),
    "distance": Operation(lambda x, y: F.pairwise_distance(x, y), _two),
    "gru": Operation(lambda *a: torch.gru_cell(*a), _gru),
    "attention": Operation(lambda x, y: F.scaled_dot_product_attention(x[None], y[None], y[None]), _two),
}

VALUES: dict[str, Callable[[np.ndarray, Rng], np.ndarray]] = {
    "plain": lambda x, rng: x,
    "tied": lambda x, rng: np.round(x),
    "tiny": lambda x, rng: x * 1e-3,
    "large": lambda x, rng: x * 30,
    "half zeros": lambda x, rng: x * (rng.random(x.shape) < 0.5),
}


def _one_entry(g: np.ndarray, rng: Rng) -> np.ndarray:
    g = g.copy()
    g[tuple(rng.choice(np.argwhere(g)))] *= 1.1
    return g


SPOILT: dict[str, Callable[[np.ndarray, Rng], np.ndarray]] = {
    "0.1 % too large": lambda g, rng: g * 1.001,
    "0.001 % too large": lambda g, rng: g * 1.00001,
    "one entry 10 % too large": _one_entry,
    "sign": lambda g, rng: -g,
    "zero": lambda g, rng: 0 * g,
    "shifted": lambda g, rng: np.roll(g.ravel(), 1).reshape(g.shape),
    "NaN": lambda g, rng: g * np.nan,
}


def pair(f: Callable, spoil: Callable[[int, np.ndarray], np.ndarray] | None = None) -> tuple[Callable, Any]:
    """forward and backward of a function of tensors; `spoil` changes the gradient of each argument."""

    def forward(*arrays: np.ndarray) -> tuple[np.ndarray, Any]:
        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        y = f(*tensors)
        return y.detach().numpy(), (y, tensors)

    def backward(dy: Any, cache: Any) -> list[np.ndarray]:
        y, tensors = cache
        claimed = torch.autograd.grad(y, tensors, torch.as_tensor(dy).reshape(y.shape))
        return [g.numpy() if spoil is None else spoil(k, g.numpy()) for k, g in enumerate(claimed)]

    return forward, backward


def draw(operation: Operation, kind: str, rng: Rng) -> list[np.ndarray] | None:
    """Arguments of an operation; None where PyTorch's own results are not finite."""
    shapes = operation.shapes(rng)
    inputs = [np.asarray(VALUES[kind](rng.standard_normal(s), rng)) + 0.0 for s in shapes]
    if operation.positive:
        inputs = [np.where(x == 0, 1.0, np.abs(x)) for x in inputs]
    forward, backward = pair(operation.f)
    y, cache = forward(*inputs)
    results = [y, *backward(np.ones_like(y), cache)]
    return inputs if all(np.isfinite(a).all() for a in results) else None


def spoiled(kind: str, seed: int) -> Callable[[int, np.ndarray], np.ndarray]:
    """A function that spoils the largest gradient it has seen, the same way for the same seed."""

    def spoil(k: int, g: np.ndarray) -> np.ndarray:
        return SPOILT[kind](g, np.random.default_rng(seed)) if np.any(g) else g

    return spoil


def changes(inputs: list[np.ndarray], operation: Operation, kind: str, seed: int) -> bool:
    """Whether spoiling changes the gradients: zeros cannot be spoilt, nor can what exists by rounding alone.

    The change must be 1e-6 of the gradient, and move the output by more than its rounding if values move by
    their own size.
    """
    forward, backward = pair(operation.f)
    y, cache = forward(*inputs)
    dy = np.random.default_rng(seed).uniform(0.5, 1.5, y.shape)
    for k, g in enumerate(backward(dy, cache)):
        change = np.abs(spoiled(kind, seed)(k, g) - g)
        seen = change * np.maximum(1, np.abs(inputs[k])) > 1e-14 * np.linalg.norm(dy * y)
        if np.any(seen & (change > 1e-6 * np.max(np.abs(g)))) or np.isnan(change).any():
            return True
    return False


def reason(report: GradientReport) -> str:
    """ "ok", "WRONG", or why the verdict is open."""
    if report.ok:
        return "ok"
    if report.wrong:
        return "WRONG"
    return next(a.verdict for a in report.arrays if a.verdict != "ok")


@dataclass
class Tally:
    """Verdicts, by kind of values (right gradients) and by kind of spoiling (spoilt ones)."""

    right: dict[str, Counter] = field(default_factory=lambda: {kind: Counter() for kind in VALUES})
    spoilt: dict[str, Counter] = field(default_factory=lambda: {kind: Counter() for kind in SPOILT})
    alarms: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)

    def rates(self) -> tuple[float, float]:
        """The shares of false alarms and of misses."""
        right, spoilt = sum(self.right.values(), Counter()), sum(self.spoilt.values(), Counter())
        return right["WRONG"] / max(1, right.total()), spoilt["ok"] / max(1, spoilt.total())

    def __str__(self) -> str:
        columns = ["ok", "WRONG", "kinks", "rounding", "unclear", "zero"]
        lines = []
        for title, table in ("right gradients", self.right), ("spoilt gradients", self.spoilt):
            lines += ["", f"| {title} | cases | {' | '.join(columns)} |", "| --- |" + " ---: |" * 7]
            for kind, row in [*table.items(), ("all", sum(table.values(), Counter()))]:
                numbers = " | ".join(str(row[c]) for c in columns)
                lines.append(f"| {kind} | {row.total()} | {numbers} |")
        alarms, misses = self.rates()
        return "\n".join([*lines[1:], "", f"false alarms: {alarms:.2%}, misses: {misses:.2%}"])


def cases(rounds: int, word: str = "", seed: int = 0) -> Iterator[tuple[str, str, int, list[np.ndarray]]]:
    """Of each round, operation and kind of values: their names, a seed, the arguments."""
    for k in range(rounds):
        for i, (name, operation) in enumerate(OPERATIONS.items()):
            for j, kind in enumerate(VALUES):
                rng = np.random.default_rng([seed, k, i, j])
                inputs = draw(operation, kind, rng) if word in name else None
                if inputs is not None:
                    yield name, kind, int(rng.integers(2**32)), inputs


def run(rounds: int, word: str = "", seed: int = 0) -> Tally:
    """Check right gradients, and spoilt ones, a way after the other."""
    tally, ways = Tally(), list(SPOILT)
    for n, (name, kind, drawn, inputs) in enumerate(cases(rounds, word, seed)):
        operation = OPERATIONS[name]
        report = gradient_check(pair(operation.f), *inputs, seed=drawn)
        tally.right[kind][reason(report)] += 1
        if report.wrong:
            tally.alarms.append(f"{name}, {kind}, seed {drawn}\n{report}")
        way = ways[n % len(ways)]
        if changes(inputs, operation, way, drawn):
            report = gradient_check(pair(operation.f, spoiled(way, drawn)), *inputs, seed=drawn)
            tally.spoilt[way][reason(report)] += 1
            if report.ok:
                tally.misses.append(f"{name}, {kind}, {way}, seed {drawn}\n{report}")
    return tally


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = run(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2] if len(sys.argv) > 2 else "")
    print("\n\n".join([*found.alarms, *found.misses]), file=sys.stderr)
    print(found)
