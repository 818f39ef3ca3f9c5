"""Training images that differ a little every time they are shown: moved, turned, stretched, bent.

A digit that is shifted by a pixel is the same digit, so a network that sees it in many places and
shapes learns what matters. What is drawn for a batch is computed from the seed and the step alone:
a run that is stopped and resumed goes on with the very images it would have seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minicnn.engine.reference import spline_knots

STREAM = 1  # the third number of the seed, which tells these draws from those of the batches


@dataclass(frozen=True)
class Augmentation:
    """How far images may be distorted, either way; 0 everywhere leaves them as they are.

    Source of the bending: Simard, Steinkraus, Platt: Best Practices for Convolutional Neural Networks
    Applied to Visual Document Analysis (2003), section 2, with a spline in place of a blurred field.
    """

    shift: float = 0.0  # pixels, down and right
    rotation: float = 0.0  # degrees
    scale: float = 0.0  # 0.1: each axis by a factor from 1 / 1.1 to 1.1
    shear: float = 0.0  # pixels along a row for each row
    elastic: float = 0.0  # pixels: standard deviation of the moves of a grid of points

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return any((self.shift, self.rotation, self.scale, self.shear, self.elastic))

    def displacements(self, count: int, shape: tuple[int, int], seed: int, step: int) -> np.ndarray:
        """Draw for the `count` images of a step what `warp` needs: float32 [count, Gy, Gx, 2].

        shape: (H, W) of the images.
        """
        rng = np.random.default_rng([seed, step, STREAM])
        N = count

        def either_way(most: float, *axes: int) -> np.ndarray:
            return rng.uniform(-most, most, (N, *axes))

        # An affine map is a line along each axis of the grid, which the spline follows exactly.
        angle = either_way(math.radians(self.rotation))
        stretch = np.exp(either_way(math.log1p(self.scale), 2))  # [N, 2]
        slant = either_way(self.shear)
        shift = either_way(self.shift, 2)
        cos, sin, one, zero = np.cos(angle), np.sin(angle), np.ones(N), np.zeros(N)
        turn = np.array([[cos, -sin], [sin, cos]])  # [2, 2, N], (row, column) to (row, column)
        lean = np.array([[one, zero], [slant, one]])
        matrix = np.einsum("ijn,jkn,nk->nik", turn, lean, stretch)

        knots = [spline_knots(size) - (size - 1) / 2 for size in shape]  # from the middle
        grid = np.stack(np.meshgrid(*knots, indexing="ij"), axis=-1)  # [Gy, Gx, 2]
        moves = np.einsum("nik,yxk->nyxi", matrix - np.eye(2), grid) + shift[:, None, None]
        if self.elastic:
            moves += self.elastic * rng.standard_normal(moves.shape)
        return moves.astype(np.float32)
