"""Data augmentation: training images are shifted, rotated, stretched and bent at random.

A digit that is shifted by a pixel is the same digit, so a network that sees it in many places and
shapes learns what matters. The random numbers of a batch depend on the seed and the step alone: a run
that is stopped and resumed sees exactly the images it would have seen without the stop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minicnn.engine.reference import spline_knots

STREAM = 1  # third number of the seed: keeps these draws independent of those of the batches


@dataclass(frozen=True)
class Augmentation:
    """The largest distortion of an image in either direction; 0 everywhere leaves it unchanged.

    Source of the elastic part: Simard, Steinkraus, Platt: Best Practices for Convolutional Neural Networks
    Applied to Visual Document Analysis (2003), section 2, with a spline in place of a blurred field.
    """

    shift: float = 0.0  # pixels, along each axis
    rotation: float = 0.0  # degrees
    scale: float = 0.0  # 0.1 scales each axis by a factor from 1 / 1.1 to 1.1
    shear: float = 0.0  # pixels that each row slides against the next
    elastic: float = 0.0  # pixels: standard deviation of the displacements of a grid of points

    def __bool__(self) -> bool:
        """Whether any distortion is possible."""
        return any((self.shift, self.rotation, self.scale, self.shear, self.elastic))

    def displacements(self, count: int, shape: tuple[int, int], seed: int, step: int) -> np.ndarray:
        """Draw the displacements that `warp` applies to the images of a step: float32 [count, Gy, Gx, 2].

        shape: (H, W) of the images.
        """
        rng = np.random.default_rng([seed, step, STREAM])
        N = count

        def uniform(limit: float, *axes: int) -> np.ndarray:
            return rng.uniform(-limit, limit, (N, *axes))

        # An affine map is linear along each axis of the grid, so the spline reproduces it exactly.
        angle = uniform(math.radians(self.rotation))
        stretch = np.exp(uniform(math.log1p(self.scale), 2))  # [N, 2]
        slant = uniform(self.shear)
        shift = uniform(self.shift, 2)
        cos, sin, one, zero = np.cos(angle), np.sin(angle), np.ones(N), np.zeros(N)
        turn = np.array([[cos, -sin], [sin, cos]])  # [2, 2, N], (row, column) to (row, column)
        lean = np.array([[one, zero], [slant, one]])
        matrix = np.einsum("ijn,jkn,nk->nik", turn, lean, stretch)

        knots = [spline_knots(size) - (size - 1) / 2 for size in shape]  # relative to the centre
        grid = np.stack(np.meshgrid(*knots, indexing="ij"), axis=-1)  # [Gy, Gx, 2]
        displacements = np.einsum("nik,yxk->nyxi", matrix - np.eye(2), grid) + shift[:, None, None]
        if self.elastic:
            displacements += self.elastic * rng.standard_normal(displacements.shape)
        return displacements.astype(np.float32)
