"""What Winograd's convolution costs in accuracy: float32 errors for several choices of points.

    python benchmarks/winograd.py

The convolution is that of the tutorial's second layer on random numbers after a ReLU. The error is the
difference from the same in float64, as a multiple of the error that the plain sum of 800 products has.
The plain sum is NumPy's; a compiled run of minicnn's own kernel stands in the last line.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from common import Report, expect_close, parse, parser

from minicnn.engine import kernels, reference
from minicnn.engine.kernels.winograd import OUTPUTS, POINTS, SIZE, TAPS, plain_sandwich, transforms

CHOICES = (
    ("0", "1", "-1", "2", "-2"),
    ("0", "1", "-1", "1/2", "-1/2"),
    ("0", "1", "-1", "1/2", "-2"),
    ("0", "1/2", "-1/2", "3/2", "-3/2"),
    tuple(str(p) for p in POINTS),
)


def plain(tiles: np.ndarray, w: np.ndarray) -> np.ndarray:
    """tiles [6, 6, T, C], w [5, 5, C, F] -> [2, 2, T, F], each output one sum of 25 * C products."""
    rows = [
        [np.moveaxis(tiles[i : i + TAPS, j : j + TAPS], 2, 0) for j in range(OUTPUTS)] for i in range(OUTPUTS)
    ]
    F, T = w.shape[-1], tiles.shape[2]
    return np.array([[patch.reshape(T, -1) @ w.reshape(-1, F) for patch in row] for row in rows])


def winograd(tiles: np.ndarray, w: np.ndarray, points: tuple[Fraction, ...]) -> np.ndarray:
    """The same by way of the points, in plain NumPy."""
    back, of_filter, of_image = transforms(points)
    V, U = plain_sandwich(of_image, tiles), plain_sandwich(of_filter, w)
    return plain_sandwich(back, V @ U)


def main() -> None:
    args = parse(parser(__doc__, rounds=1))
    report = Report("winograd", __doc__, args)
    rng = np.random.default_rng(0)
    count, C, F = (50 if args.quick else 1000), 32, 64
    tiles = np.maximum(rng.standard_normal((SIZE, SIZE, count, C)), 0)
    w = 0.1 * rng.standard_normal((TAPS, TAPS, C, F))
    tiles, w = tiles.astype(np.float32).astype(float), w.astype(np.float32).astype(float)
    exact = plain(tiles, w)

    def errors(y: np.ndarray) -> tuple[float, float]:
        error = np.abs(y - exact) / exact.std()
        return float(np.sqrt((error**2).mean())), float(error.max())

    base = errors(plain(tiles.astype(np.float32), w.astype(np.float32)))
    rows = [["plain sum", f"{base[0]:.2e}", "1.0", f"{base[1]:.2e}"]]
    for choice in CHOICES:
        points = tuple(Fraction(p) for p in choice)
        expect_close(f"points {choice}", winograd(tiles, w, points), exact, rtol=1e-9, atol=1e-12)
        rms, largest = errors(winograd(tiles.astype(np.float32), w.astype(np.float32), points))
        rows.append([f"points {', '.join(choice)}", f"{rms:.2e}", f"{rms / base[0]:.1f}", f"{largest:.2e}"])
        report.data[", ".join(choice)] = {"rms": rms, "max": largest, "times_plain": rms / base[0]}

    x = np.maximum(rng.standard_normal((50, 14, 14, C)), 0).astype(np.float32)
    b = np.zeros(F, np.float32)
    y64, _ = reference.conv_relu_pool_forward(x.astype(float), w, b.astype(float))
    ours, _ = kernels.conv_relu_pool_forward(x, w.astype(np.float32), b)
    theirs, _ = reference.conv_relu_pool_forward(x, w.astype(np.float32), b)
    kernel, numpy = (float(np.sqrt(((y - y64) ** 2).mean())) for y in (ours, theirs))
    rows.append(
        ["minicnn's kernel, after the pool", f"{kernel / y64.std():.2e}", f"{kernel / numpy:.1f}", ""]
    )
    report.add(
        "Errors in float32, relative to the standard deviation of the outputs",
        ["", "root mean square", "times the plain sum's", "largest"],
        rows,
        f"{count} tiles of 6 x 6 pixels, {C} channels, {F} filters.",
    )
    report.write()


if __name__ == "__main__":
    main()
