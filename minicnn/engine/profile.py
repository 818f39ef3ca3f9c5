"""Where a run spends its time: a table with a line for each layer and operation.

    MINICNN_PROFILE=1 python -m minicnn train --steps 200

Whoever binds operations to a layer asks `wanted()` once, and binds `measured(op, layer, name)` instead.
So a run that is not profiled does not pay for it. With the variable set, the table goes to stderr when
Python ends.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.engine.reference import window_geometry


@dataclass
class Line:
    """What one operation of one layer has taken so far, after the first call, which may have compiled it."""

    first: float = 0.0  # seconds
    calls: int = 0
    seconds: float = 0.0
    flop: float = 0.0
    nbytes: float = 0.0


_lines: dict[tuple[str, str], Line] = {}
_enabled = os.environ.get("MINICNN_PROFILE", "0") not in ("", "0")


def wanted() -> bool:
    """Whether operations that are bound from here on shall be measured."""
    return _enabled


def enable(on: bool = True) -> None:
    """Measure, or do not measure, what is bound from here on."""
    global _enabled
    _enabled = on


def reset() -> None:
    """Forget what was measured."""
    _lines.clear()


def measured(op: Callable[..., Any], layer: str, name: str) -> Callable[..., Any]:
    """The operation of this name, recording its calls under the layer's."""
    flop = FLOP.get(name)

    def recorded(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = op(*args, **options)
        seconds = time.perf_counter() - start
        line = _lines.get((layer, name))
        if line is None:
            _lines[layer, name] = Line(first=seconds)
            return result
        line.calls += 1
        line.seconds += seconds
        line.flop += flop(*args, **options) if flop else 0
        line.nbytes += sum({id(a): a.nbytes for a in _arrays((args, options, result))}.values())
        return result

    return recorded


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    parts: Any = (
        value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    )
    return [array for part in parts for array in _arrays(part)]


# --- how much arithmetic an operation is, as if nothing were skipped ------------------------------


def _conv_forward(x: Any, w: Any, b: Any, stride: int = 1, padding: str = "same", **__: Any) -> float:
    Ho, *_ = window_geometry(x.shape[1], w.shape[0], stride, padding)
    Wo, *_ = window_geometry(x.shape[2], w.shape[1], stride, padding)
    return 2.0 * len(x) * Ho * Wo * w.size


def _conv_backward(dy: Any, cache: Any, input_gradient: bool = True, **_: Any) -> float:
    cache = cache if isinstance(cache[0][0], int) else cache[0]  # the reference's block keeps three
    (N, H, W, _), _, w, *_, stride, padding = cache
    return (1 + input_gradient) * _conv_forward(np.empty((N, H, W, 0)), w, None, stride, padding)


def _dense_backward(
    dy: Any, cache: Any, input_gradient: bool = True, weight_gradient: bool = True, **_: Any
) -> float:
    return 2.0 * len(dy) * cache[1].size * (input_gradient + weight_gradient)


ADAM, SGD, AVERAGE = 14, 4, 3  # operations an entry

FLOP: dict[str, Callable[..., float]] = {
    "conv2d_forward": _conv_forward,
    "conv2d_backward": _conv_backward,
    "conv_relu_pool_forward": _conv_forward,
    "conv_relu_pool_backward": _conv_backward,
    "dense_forward": lambda x, w, b, **_: 2.0 * len(x) * w.size,
    "dense_backward": _dense_backward,
    "dense_weight_gradient": lambda x, dy, *_, **__: 2.0 * x.size * dy.shape[1],
    "adam_update": lambda value, *_, **__: ADAM * value.size,
    "adam_product_update": lambda value, x, *_, **__: (2.0 * len(x) + ADAM) * value.size,
    "sgd_update": lambda value, *_, **__: SGD * value.size,
    "average_update": lambda average, *_, **__: AVERAGE * average.size,
}


# --- the table -----------------------------------------------------------------------------------


def table() -> str:
    """The lines, the longest time first. The first call of each, which may have compiled, stands apart.

    GFLOP/s as if nothing were skipped, where an operation is mainly arithmetic. GB/s: every array that goes
    in or comes out, once.
    """
    total = sum(line.seconds for line in _lines.values())
    rows = [("layer", "operation", "first ms", "calls", "ms a call", "seconds", "share", "GFLOP/s", "GB/s")]
    for (layer, name), line in sorted(_lines.items(), key=lambda item: -item[1].seconds):
        each, rate = line.seconds / max(1, line.calls), max(line.seconds, 1e-12) * 1e9
        speed = f"{line.flop / rate:.1f}" if line.flop else ""
        numbers = f"{1000 * each:.3f}", f"{line.seconds:.2f}", f"{line.seconds / (total or 1):.0%}"
        calls = f"{1000 * line.first:.1f}", str(line.calls)
        rows.append((layer, name, *calls, *numbers, speed, f"{line.nbytes / rate:.1f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            f"{cell:<{w}}" if i < 2 else f"{cell:>{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _print_at_end() -> None:
    if _lines:
        print(table(), file=sys.stderr)


if _enabled:
    atexit.register(_print_at_end)
