"""Distorted training images: what is drawn, and what becomes of an image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import affine_moves, affine_warp

from minicnn import load_mnist
from minicnn.data import to_float
from minicnn.data.augmentation import Augmentation
from minicnn.engine import kernels, reference

SHAPE = (28, 28)
both = pytest.mark.parametrize("ops", [reference, kernels], ids=["reference", "kernels"])
sizes = st.integers(1, 60)


@pytest.fixture(scope="module")
def digits():
    return load_mnist().test.images[:20]


def draw(count=20, seed=0, step=0, **how):
    return Augmentation(**how).displacements(count, SHAPE, seed, step)


# --- the spline ---


@given(size=sizes, spacing=st.integers(1, 20))
def test_the_spline_follows_straight_lines(size, spacing):
    basis, knots = reference.spline_basis(size, spacing), reference.spline_knots(size, spacing)
    np.testing.assert_allclose(basis.sum(axis=1), 1)
    np.testing.assert_allclose(basis @ knots, np.arange(size), atol=1e-9)


def test_the_spline_is_smooth():
    displacements = np.random.default_rng(0).standard_normal(len(reference.spline_knots(280, 70)))
    surface = reference.spline_basis(280, 70) @ displacements
    assert np.abs(np.diff(surface, n=2)).max() < 3 / 70**2 * np.abs(np.diff(displacements, n=2)).max()


# --- the image ---


@both
def test_no_displacement_leaves_the_image(ops, digits):
    displacements = np.zeros((20, 7, 7, 2), np.float32)
    np.testing.assert_array_equal(ops.warp(digits, displacements), to_float(digits))


@both
@pytest.mark.parametrize(("down", "right"), [(0, 3), (-2, 0), (5, -4), (40, 0), (0, -40)])
def test_whole_pixels_move_the_image_and_bring_in_zeros(ops, digits, down, right):
    displacements = np.full((20, 7, 7, 2), [-down, -right], np.float64)
    expected = np.zeros((20, 28, 28))
    for y in range(28):
        for x in range(28):
            if 0 <= y - down < 28 and 0 <= x - right < 28:
                expected[:, y, x] = digits[:, y - down, x - right] / 255
    np.testing.assert_allclose(ops.warp(digits, displacements)[..., 0], expected, atol=1e-12)


@both
@given(H=st.integers(1, 20), W=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_a_pixel_comes_from_where_the_loops_take_it(ops, H, W, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, H, W), np.uint8)
    ways = [(rng.uniform(-0.5, 0.5, (2, 2)), rng.uniform(-3, 3, 2)) for _ in images]
    displacements = np.array([affine_moves(H, W, *way) for way in ways])
    expected = [affine_warp(image, *way) for image, way in zip(images, ways, strict=True)]
    np.testing.assert_allclose(ops.warp(images, displacements)[..., 0], expected, atol=1e-12)


@both
def test_a_warp_is_scipys(ops, digits):
    ndimage = pytest.importorskip("scipy.ndimage")
    displacements = draw(shift=3, rotation=30, scale=0.3, shear=0.3, elastic=2).astype(np.float64)
    basis = reference.spline_basis(28)
    for image, move, result in zip(digits, displacements, ops.warp(digits, displacements), strict=True):
        y, x = (basis @ move[..., k] @ basis.T for k in (0, 1))
        where = np.arange(28)[:, None] + y, np.arange(28) + x
        padded = np.pad(image, 30).astype(float)  # scipy's "constant" does not fade at the border
        expected = ndimage.map_coordinates(padded, [c + 30 for c in where], order=1)
        np.testing.assert_allclose(result[..., 0], expected / 255, atol=1e-12)


@pytest.mark.parametrize("far", [np.nan, np.inf, -np.inf, 1e30])
def test_a_point_that_is_nowhere_shows_nothing(digits, far):
    displacements = np.full((20, 7, 7, 2), far, np.float32)
    np.testing.assert_array_equal(kernels.warp(digits, displacements), 0)


def test_displacements_of_the_wrong_shape_are_refused(digits):
    with pytest.raises(ValueError, match=r"displacements: expected \[20, 7, 7, 2\]"):
        kernels.warp(digits, np.zeros((20, 6, 7, 2), np.float32))


# --- what is drawn ---


def test_nothing_asked_for_is_nothing_drawn():
    assert not Augmentation()
    np.testing.assert_array_equal(draw(), 0)
    assert all(Augmentation(**{name: 1}) for name in ("shift", "rotation", "scale", "shear", "elastic"))


@pytest.mark.parametrize("other", [{"seed": 1}, {"step": 1}])
def test_displacements_depend_on_seed_and_step_and_on_nothing_else(other):
    how = {"shift": 1, "rotation": 5, "scale": 0.1, "shear": 0.1, "elastic": 1}
    np.random.default_rng(0).random(10)
    np.testing.assert_array_equal(draw(**how), draw(**how))
    assert (draw(**how) != draw(**how, **other)).mean() > 0.9


def affine_of(displacements):
    """The matrix [N, 2, 2] and the shift [N, 2] of displacements that are an affine map."""
    knots = reference.spline_knots(28) - 13.5
    grid = np.stack(np.meshgrid(knots, knots, indexing="ij"), axis=-1).reshape(-1, 2)
    lines = np.column_stack([grid, np.ones(len(grid))])
    flat = displacements.reshape(len(displacements), -1, 2).astype(np.float64)
    solution = np.array([np.linalg.lstsq(lines, move, rcond=None)[0] for move in flat])  # [N, 3, 2]
    np.testing.assert_allclose(lines @ solution, flat, atol=1e-4)
    return solution[:, :2].transpose(0, 2, 1) + np.eye(2), solution[:, 2]


def fills(values, low, high):
    """Whether the values lie in a range and come near both its ends."""
    near = 0.05 * (high - low)
    return low <= values.min() < low + near and high - near < values.max() <= high


def test_shifts_are_up_to_as_many_pixels():
    matrix, shift = affine_of(draw(1000, shift=3))
    np.testing.assert_allclose(matrix, np.broadcast_to(np.eye(2), matrix.shape), atol=1e-5)
    assert fills(shift[:, 0], -3, 3)
    assert fills(shift[:, 1], -3, 3)


def test_rotations_are_up_to_as_many_degrees():
    matrix, shift = affine_of(draw(1000, rotation=20))
    np.testing.assert_allclose(matrix @ matrix.transpose(0, 2, 1), np.eye(2)[None].repeat(1000, 0), atol=1e-5)
    np.testing.assert_allclose(shift, 0, atol=1e-4)
    assert fills(np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])), -20, 20)


def test_scales_are_factors_of_each_axis_on_its_own():
    matrix, _ = affine_of(draw(1000, scale=0.25))
    rows, columns = matrix[:, 0, 0], matrix[:, 1, 1]
    np.testing.assert_allclose(matrix[:, [0, 1], [1, 0]], 0, atol=1e-5)
    assert fills(rows, 0.8, 1.25)
    assert fills(columns, 0.8, 1.25)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.2


def test_shears_slide_the_rows():
    matrix, _ = affine_of(draw(1000, shear=0.3))
    np.testing.assert_allclose(matrix[:, 0], np.broadcast_to([1, 0], (1000, 2)), atol=1e-5)
    np.testing.assert_allclose(matrix[:, 1, 1], 1, atol=1e-5)
    assert fills(matrix[:, 1, 0], -0.3, 0.3)


def test_elastic_displacements_have_the_standard_deviation():
    displacements = draw(1000, elastic=2)
    assert displacements.std() == pytest.approx(2, rel=0.02)
    assert abs(displacements.mean()) < 0.05
