"""The connected pieces of ink on a coarse grid, and which of them are the digit.

    a border      lies along the edges of the image: the printed lines of a form, a shadow, a neighbour
    a frame       has another piece in its middle: a box or a circle around the digit
    an underline  is flat, and lies below the digit
    a speck       has less than a tenth of the ink of the largest piece

are none of it, as long as something else is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CELLS = 64  # of the grid along the longer side, at most
STRONG = 0.5  # the ink without which nothing is a piece
WEAK, WEAK_PIXEL = 0.3, 0.15  # the ink that belongs to a piece beside it; where a cell is a pixel
SPECK = 5  # cells: anything smaller is not a digit if there is something larger
RIM = 0.12  # of the sides of the image: where borders lie


class Pieces(NamedTuple):
    """Pieces of ink by their numbers, from 1; 0 is paper."""

    numbers: np.ndarray  # int64 [rows, columns], of the piece in each cell
    masses: np.ndarray  # [pieces + 1], the ink of each; that of paper is 0
    first: np.ndarray  # [pieces + 1, 2], the first row and column of each
    last: np.ndarray  # [pieces + 1, 2]
    cell: int  # pixels

    def box(self, piece: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last cell of a piece, each as (row, column)."""
        return self.first[piece], self.last[piece]

    def span(self, piece: int) -> np.ndarray:
        """The height and the width of a piece in cells."""
        return self.last[piece] - self.first[piece] + 1

    def on_rim(self) -> np.ndarray:
        """The numbers in the cells along the edges."""
        n = self.numbers
        return np.concatenate([n[0], n[-1], n[1:-1, 0], n[1:-1, -1]])

    def mask(self, chosen: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Whether each pixel of an image [rows, columns] belongs to a piece with `chosen`, bool by number.

        A mask is wider by a cell, because soft edges extend beyond the borders of cells.
        """
        return self.on_pixels(grown(chosen[self.numbers]), shape)

    def on_pixels(self, cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Cells of the grid, bool, as pixels of an image [rows, columns]."""
        return np.kron(cells, np.ones((self.cell, self.cell), bool))[: shape[0], : shape[1]]


def find_pieces(ink: np.ndarray) -> Pieces:
    """The connected components of the ink on a grid of at most 64 x 64 cells, which bridges small gaps."""
    cells, cell = on_grid(ink, np.max)
    inked = cells > (WEAK if cell > 1 else WEAK_PIXEL)
    strong = cells > STRONG
    numbers = np.zeros(inked.shape, np.int64)
    piece = 0
    for start in zip(*np.nonzero(strong), strict=True):
        if numbers[start]:
            continue
        piece += 1
        numbers[start] = piece
        waiting = [start]
        while waiting:
            i, j = waiting.pop()
            around = slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2)
            for di, dj in np.argwhere(inked[around] & (numbers[around] == 0)):
                neighbour = around[0].start + di, around[1].start + dj
                numbers[neighbour] = piece
                waiting.append(neighbour)
    masses = np.bincount(numbers.ravel(), on_grid(ink, np.sum)[0].ravel(), minlength=piece + 1)
    masses[0] = 0
    places = np.argwhere(numbers > 0)
    of_piece = numbers[numbers > 0]
    first = np.full((piece + 1, 2), max(numbers.shape), np.int64)
    last = np.full((piece + 1, 2), -1, np.int64)
    np.minimum.at(first, of_piece, places)
    np.maximum.at(last, of_piece, places)
    return Pieces(numbers, masses, first, last, cell)


def crop(ink: np.ndarray) -> np.ndarray:
    """The bounding box of the digit's strokes, with everything else removed."""
    pieces = find_pieces(ink)
    strokes = ink * pieces.mask(digit_of(pieces), (ink.shape[0], ink.shape[1]))
    rows = np.flatnonzero((strokes > 0.25).any(axis=1))
    columns = np.flatnonzero((strokes > 0.25).any(axis=0))
    return strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def digit_of(pieces: Pieces) -> np.ndarray:
    """Which pieces are the digit: bool by number."""
    masses = pieces.masses.copy()
    for others in (_borders, _at_the_edge, _frames, _underlines):
        rest = np.where(others(pieces, masses), 0, masses)
        if rest.any():
            masses = rest
    return masses > 0.1 * masses.max()


def _borders(pieces: Pieces, masses: np.ndarray) -> np.ndarray:
    """Pieces that touch an edge and lie along the edges, if there is another one of some size."""
    H, W = pieces.numbers.shape
    rows, columns = np.ogrid[:H, :W]
    rim = np.maximum(abs(2 * rows + 1 - H) / H, abs(2 * columns + 1 - W) / W) > 1 - 2 * RIM
    cells = np.bincount(pieces.numbers.ravel(), minlength=len(masses))
    along = np.bincount(pieces.numbers[rim], minlength=len(masses)) > 0.85 * cells
    touching = np.isin(np.arange(len(masses)), pieces.on_rim())
    found = along & touching & (masses > 0)
    left = [max(pieces.span(k)) for k in np.flatnonzero((masses > 0) & ~found).tolist()]
    return found & (max(left, default=0) >= 0.25 * max(H, W))


def _at_the_edge(pieces: Pieces, masses: np.ndarray) -> np.ndarray:
    """Pieces that touch an edge, unless there is little else."""
    touching = np.isin(np.arange(len(masses)), pieces.on_rim())
    inside = np.where(touching, 0, masses)
    return touching & (inside.max() > 0.1 * masses.max())


def _frames(pieces: Pieces, masses: np.ndarray) -> np.ndarray:
    """Pieces around another that is at least a quarter as large."""
    found = np.zeros(len(masses), bool)
    some = np.flatnonzero(masses > 0.01 * masses.max()).tolist()
    for inner in some:
        (top, left), (bottom, right) = pieces.box(inner)
        row, column = (top + bottom) // 2, (left + right) // 2
        for outer in some:
            if outer == inner or max(pieces.span(inner)) < 0.25 * max(pieces.span(outer)):
                continue
            across, down = (
                np.flatnonzero(line == outer) for line in (pieces.numbers[row], pieces.numbers[:, column])
            )
            if not (len(across) and len(down)):
                continue
            sides = across[0] < left, across[-1] > right, down[0] < top, down[-1] > bottom
            found[outer] |= all(sides)
    return found


def _underlines(pieces: Pieces, masses: np.ndarray) -> np.ndarray:
    """Flat pieces with a gap above them, below the largest of the others."""
    spans = [pieces.span(k) if masses[k] else np.array([1, 1]) for k in range(len(masses))]
    flat = np.array([masses[k] > 0 and span[0] < 0.34 * span[1] for k, span in enumerate(spans)])
    standing = np.where(flat, 0, masses)
    if not standing.any():
        return flat
    (top, _), (bottom, _) = pieces.box(int(standing.argmax()))
    for k in np.flatnonzero(flat).tolist():
        flat[k] = pieces.box(k)[0][0] > bottom + 0.04 * (bottom - top)
    return flat


def on_grid(values: np.ndarray, how: Callable) -> tuple[np.ndarray, int]:
    """Values [rows, columns] on the grid, by a function such as `np.max`; the side of a cell."""
    H, W = values.shape
    cell = -(-max(H, W) // CELLS)
    padded = np.pad(values, ((0, -H % cell), (0, -W % cell)), "edge" if how is np.mean else "constant")
    return how(padded.reshape(padded.shape[0] // cell, cell, -1, cell), axis=(1, 3)), cell


def grown(mask: np.ndarray) -> np.ndarray:
    """A mask of cells, grown by one."""
    padded = np.pad(mask, 1)
    H, W = mask.shape
    return np.any([padded[i : i + H, j : j + W] for i in range(3) for j in range(3)], axis=0)
