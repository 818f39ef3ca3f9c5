"""The emitted vector code does what its plain twins say, for every width of a vector register.

The width is read when the kernels are imported. So the tests of this file run here at the processor's
own width, and `test_narrower_vectors` runs them again in a process for each narrower one.
"""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from minicnn.engine import kernels, reference
from minicnn.engine.kernels import vector, winograd
from minicnn.engine.kernels.matmul import matmul
from minicnn.engine.kernels.tile import (
    GATHER_VECTORS,
    MAX_ROWS,
    Factor,
    Rows,
    append,
    gather_sum,
    panel_width,
    plain_gather_sum,
    plain_tile,
    tile,
    transpose,
)
from minicnn.engine.kernels.vector import VECTOR_BITS, add, address, copy, lanes

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def eighths(rng, *shape, dtype):
    """Numbers whose products and sums are exact in float32, in any order."""
    return (rng.integers(-16, 17, shape) / 8).astype(dtype)


@numba.njit
def run_tile(rows, outer, inner, a, b, start, c, ahead):
    factor = Factor(address(a[0], 0), *a[1:])
    from_, to = Rows(address(start[0], 0), start[1]), Rows(address(c[0], 0), c[1])
    if ahead is None:
        tile(rows, outer, inner, factor, address(b, 0), from_, to, None)
    else:
        tile(rows, outer, inner, factor, address(b, 0), from_, to, Rows(address(ahead[0], 0), ahead[1]))


@numba.njit
def run_gather(vectors, terms, base, base_at, acc, acc_at):
    at = address(terms[0], 0), address(terms[1], 0), terms[2]
    gather_sum(vectors, at, address(base, 0), address(base_at, 0), address(acc, 0), address(acc_at, 0))


@numba.njit
def run_gather_evenly(vectors, terms, base, base_step, acc, acc_step):
    at = address(terms[0], 0), address(terms[1], 0), terms[2]
    gather_sum(vectors, at, address(base, 0), base_step, address(acc, 0), acc_step)


@numba.njit
def run_append(values, offsets, numbers):
    count = 0
    for i in range(numbers.size):
        value, offset = address(values, 0), address(offsets, 0)
        count = append(value, offset, count, numbers[i], 10 * i, numbers[i] != 0)
    return count


@numba.njit
def run_transpose(source, to, rows, columns):
    from_, into = Rows(address(source, 0), source.shape[1]), Rows(address(to, 0), to.shape[1])
    transpose(from_, into, rows, columns)


@numba.njit
def run_copy(source, to, count):
    copy(address(source, 0), address(to, 0), count)


@numba.njit
def run_add(source, to, count):
    add(address(source, 0), address(to, 0), count)


@every_dtype
@pytest.mark.parametrize("rows", range(1, MAX_ROWS + 1))
def test_a_tile_of_any_height_equals_its_plain_loops(rows, dtype):
    rng, width = np.random.default_rng(rows), panel_width(dtype)
    for outer, inner in [(1, 1), (1, 7), (3, 5), (2, 0)]:
        a = eighths(rng, 40 * 60, dtype=dtype)
        b = eighths(rng, max(1, outer * inner) * width, dtype=dtype)
        start, got = (eighths(rng, rows * width, dtype=dtype) for _ in range(2))
        want = got.copy()
        for step, ahead in [(2, None), (None, (b, 0)), (None, None), (2, (b, 16))]:
            factor, start_rows = (a, 11, 60, step), (start, width)
            run_tile(rows, outer, inner, factor, b, start_rows, (got, width), ahead)
            plain_tile(rows, outer, inner, Factor(*factor), b, Rows(*start_rows), Rows(want, width), None)
            np.testing.assert_array_equal(got, want)


@every_dtype
@pytest.mark.parametrize("vectors", GATHER_VECTORS)
@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_gathered_sum_equals_its_plain_loops(vectors, count, dtype):
    rng, width = np.random.default_rng(count), lanes(dtype)
    value, base = eighths(rng, count + 1, dtype=dtype), eighths(rng, 40 * width, dtype=dtype)
    offset = rng.integers(0, 20 * width, count + 1).astype(np.int32)
    base_at = rng.integers(0, 19 * width, vectors)
    acc_at = rng.permutation(vectors) * width
    got = eighths(rng, vectors * width, dtype=dtype)
    want = got.copy()
    terms = value, offset, count
    run_gather(vectors, terms, base, base_at, got, acc_at)
    plain_gather_sum(vectors, terms, base, base_at, want, acc_at)
    np.testing.assert_array_equal(got, want)
    evenly = width // 2 * np.arange(vectors), width * np.arange(vectors)
    run_gather_evenly(vectors, terms, base, width // 2, got, width)
    plain_gather_sum(vectors, terms, base, evenly[0], want, evenly[1])
    np.testing.assert_array_equal(got, want)


def test_only_wanted_terms_are_listed():
    numbers = np.array([0.0, 3, 0, 0, 5, 0])
    values, offsets = np.empty(6), np.empty(6, np.int32)
    assert run_append(values, offsets, numbers) == 2
    assert (values[:2].tolist(), offsets[:2].tolist()) == ([3, 5], [10, 40])


@every_dtype
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (16, 16), (17, 3), (40, 37), (5, 64)])
def test_a_transpose_of_any_size(rows, columns, dtype):
    source = np.random.default_rng(0).standard_normal((rows, columns + 2)).astype(dtype)
    to = np.full((columns, rows + 3), 7, dtype)
    run_transpose(source, to, rows, columns)
    np.testing.assert_array_equal(to[:, :rows], source[:, :columns].T)
    assert (to[:, rows:] == 7).all()  # nothing beyond is written


@every_dtype
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 50])
def test_runs_of_any_length_are_copied_and_added(count, dtype):
    source, to = (eighths(np.random.default_rng(seed), 60, dtype=dtype) for seed in (1, 2))
    want_copied, want_added = to.copy(), to.copy()
    want_copied[:count], want_added[:count] = source[:count], to[:count] + source[:count]
    added = to.copy()
    run_add(source, added, count)
    run_copy(source, to, count)
    np.testing.assert_array_equal(to, want_copied)
    np.testing.assert_array_equal(added, want_added)


@every_dtype
def test_products_of_all_sizes_from_1_to_70(dtype):
    rng = np.random.default_rng(0)
    a, b, bias = (
        eighths(rng, 70, 70, dtype=dtype),
        eighths(rng, 70, 70, dtype=dtype),
        eighths(rng, 70, dtype=dtype),
    )
    for size in range(1, 71):
        for M, K, N in [(size, 13, 33), (9, size, 17), (15, 5, size), (size, size, size)]:
            left, right = np.ascontiguousarray(a[:M, :K]), np.ascontiguousarray(b[:K, :N])
            got = matmul(left, right, bias[:N], out=np.empty((M, N), dtype))
            np.testing.assert_array_equal(got, a[:M, :K] @ b[:K, :N] + bias[:N], f"{M} {K} {N}")


@every_dtype
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 33, 70])
def test_products_of_transposed_matrices(size, dtype):
    rng = np.random.default_rng(size)
    a, b = eighths(rng, 31, size, dtype=dtype), eighths(rng, size, 47, dtype=dtype)
    for left in (a, np.asfortranarray(a)):
        for right in (b, np.asfortranarray(b)):
            got = matmul(left, right, out=np.empty((31, 47), dtype))
            np.testing.assert_array_equal(got, a @ b)


# --- Winograd's convolution ---------------------------------------------------------------------------


def test_the_transforms_make_a_convolution_of_one_tile():
    rng = np.random.default_rng(0)
    A_T, G, B_T = winograd.transforms()
    d, g = rng.standard_normal((6, 6)), rng.standard_normal((5, 5))
    products = winograd.plain_sandwich(G, g) * winograd.plain_sandwich(B_T, d)
    want = [[(d[i : i + 5, j : j + 5] * g).sum() for j in range(2)] for i in range(2)]
    np.testing.assert_allclose(winograd.plain_sandwich(A_T, products), want, rtol=1e-13)


WINOGRAD_SHAPES = [  # N, H, W, C, F, padding
    (1, 14, 14, 32, 64, "same"),
    (2, 13, 9, 17, 35, "same"),
    (1, 7, 7, 16, 1, "valid"),
    (2, 1, 2, 16, 3, "same"),
    (1, 24, 150, 16, 33, "valid"),  # more windows in a row than a block of work has
]


@every_dtype
@pytest.mark.parametrize("shape", WINOGRAD_SHAPES)
def test_winograd_rounds_no_worse_than_plain_sums(shape, dtype):
    N, H, W, C, F, padding = shape
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((N, H, W, C)), rng.standard_normal((5, 5, C, F)), rng.standard_normal(F)
    exact, _ = reference.conv_relu_pool_forward(x.astype(np.longdouble), w, b, 1, padding)
    args = (a.astype(dtype) for a in (x, w, b))
    got, _ = kernels.conv_relu_pool_forward(*args, 1, padding)
    bound = 4 * np.finfo(dtype).eps * np.sqrt(25 * C) * exact.std()
    x, w, b = (a.astype(dtype).astype(np.longdouble) for a in (x, w, b))
    exact, _ = reference.conv_relu_pool_forward(x, w, b, 1, padding)
    assert np.abs(got - exact).max() <= bound


@every_dtype
@pytest.mark.parametrize("varies", ["nowhere", "by row", "by column", "in a corner"])
def test_equal_patches_tie_under_winograd(varies, dtype):
    """The gradient of a tie goes to the first pixel, though Winograd's sums would differ by rounding."""
    rng = np.random.default_rng(0)
    N, H, W, C, F = 2, 14, 14, 32, 64
    x = np.broadcast_to(rng.random(C), (N, H, W, C)).astype(dtype)
    if varies == "by row":
        x = x * rng.random((N, H, 1, 1)).astype(dtype)
    if varies == "by column":
        x = x * rng.random((N, 1, W, 1)).astype(dtype)
    if varies == "in a corner":
        x[:, 9:, 8:] = rng.random((N, 5, 6, C))
    w, b = rng.standard_normal((5, 5, C, F)), np.full(F, 0.5)
    # Fractions whose sums are exact in float64: there the ties of the reference are ties in any order.
    x, w = np.round(x * 2**11) / 2**11, np.round(w * 2**10) / 2**10
    want, want_cache = reference.conv_relu_pool_forward(x.astype(float), w, b)
    y, cache = kernels.conv_relu_pool_forward(x.astype(dtype), w.astype(dtype), b.astype(dtype))
    dy = rng.standard_normal(y.shape).astype(dtype)
    scale = 40 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, want, rtol=scale, atol=scale * want.max())
    for got, expected in zip(
        kernels.conv_relu_pool_backward(dy, cache),
        reference.conv_relu_pool_backward(dy.astype(float), want_cache),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=0, atol=50 * scale * np.abs(expected).max())


def test_a_nan_reaches_every_window_whose_patches_hold_it():
    x = np.ones((1, 14, 14, 16), np.float32)
    x[0, 6, 7, 3] = np.nan
    w, b = np.ones((5, 5, 16, 2), np.float32), np.zeros(2, np.float32)
    got, _ = kernels.conv_relu_pool_forward(x, w, b)
    want, _ = reference.conv_relu_pool_forward(x, w, b)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


# --- narrower vectors ---------------------------------------------------------------------------------


@pytest.mark.skipif("MINICNN_VECTOR_BITS" in os.environ, reason="already a narrower one")
@pytest.mark.timeout(900)
def test_narrower_vectors():
    """All widths at once, and each on one thread, so that kernels are compiled in one variant only."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", __file__, "-p", "no:cacheprovider"]
    one_thread = os.environ | {"NUMBA_NUM_THREADS": "1"}
    generic = {"NUMBA_CPU_NAME": "generic"}  # of the narrowest ones: without fused multiply-adds
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = {
        bits: subprocess.Popen(command, env=one_thread | more | {"MINICNN_VECTOR_BITS": str(bits)}, **pipes)
        for bits, more in ((128, generic), (256, {}))
        if bits < VECTOR_BITS
    }
    outputs = {bits: process.communicate()[0] for bits, process in started.items()}
    for bits, process in started.items():
        assert process.returncode == 0, f"{bits} bits: {outputs[bits][-3000:]}"


def test_the_width_that_was_asked_for_is_used():
    assert str(vector.VECTOR_BITS) == os.environ.get("MINICNN_VECTOR_BITS", str(VECTOR_BITS))
