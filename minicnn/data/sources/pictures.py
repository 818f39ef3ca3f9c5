"""Pictures that become one array: all of one size, and in one channel unless one of them is in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minicnn.data.idx import DataError
from minicnn.data.image_file import Encoded, ImageError, pixels_of
from minicnn.data.room import expect_room
from minicnn.data.sources.found import LARGEST, SMALLEST, Found, Part
from minicnn.storage.files import PathLike

ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
COLOURED = 8  # the difference between two channels that a grey picture does not have, even as a JPEG


class Pictures:
    """Decodes pictures one by one; `stacked` is all of them.

    With `size`, each is brought to so many pixels a side; without, all must have the size of the first. As
    soon as that is known, `count` of them, those at `path`, must fit into memory.
    """

    def __init__(self, path: Path, size: int | None, count: int) -> None:
        self._path, self._size, self._count = path, size, count
        self._images: list[np.ndarray] = []  # [H, W] where the three channels are the same, else [H, W, 3]
        self._shape: tuple[int, int] | None = None
        self._coloured = False

    def add(self, source: PathLike | Encoded) -> None:
        """Decode a picture. Raises DataError, naming it, if it cannot be read or has another size."""
        try:
            image = pixels_of(source, self._size)
        except ImageError as error:
            raise DataError(str(error)) from None
        H, W = image.shape[:2]
        name = source.name if isinstance(source, Encoded) else source
        if self._shape is not None and self._shape != (H, W):
            first = f"{self._shape[0]} x {self._shape[1]}"
            expected = f"{first}, as the first; --size 28 would bring all to one size"
            raise DataError.about(name, "another size", expected, f"{H} x {W}")
        if not (SMALLEST <= H <= LARGEST and SMALLEST <= W <= LARGEST):
            expected = f"{SMALLEST} to {LARGEST} pixels a side; --size 28 would scale all to that"
            raise DataError.about(name, "wrong size", expected, f"{H} x {W}")
        red, green, blue = np.moveaxis(image, 2, 0)
        grey = np.array_equal(red, green) and np.array_equal(red, blue)
        spread = 0 if grey else int(np.ptp(image, axis=2).max())
        if self._shape is None:
            self._shape = H, W
            expect_room(self._path, self._count * H * W * (3 if spread > COLOURED else 1))
        self._coloured |= spread > COLOURED
        self._images.append(red.copy() if grey else image)

    def stacked(self) -> np.ndarray:
        """All pictures: uint8 [N, H, W], or [N, H, W, 3] if one of them is in colour."""
        assert self._shape is not None
        C = (3,) if self._coloured else ()
        images = np.empty((len(self._images), *self._shape, *C), np.uint8)
        for place, image in zip(images, self._images, strict=True):
            if self._coloured:
                place[...] = image if image.ndim == 3 else image[..., None]
            else:
                place[...] = image if image.ndim == 2 else image[..., 0]
        self._images.clear()
        return images


def found_of(kind: str, parts: dict[str, Part], names: dict[int, str]) -> Found:
    """A data set of these parts, one of them "train"; all have three channels if one of them has three."""
    if any(part.images.ndim == 4 for part in parts.values()):
        parts = {which: _coloured(part) for which, part in parts.items()}
    return Found(kind, parts["train"], parts.get("validation"), parts.get("test"), names)


def _coloured(part: Part) -> Part:
    if part.images.ndim == 4:
        return part
    return part._replace(images=np.repeat(part.images[..., None], 3, axis=3))
