"""Whether images fit into memory, which is said before they are read."""

from __future__ import annotations

from minicnn.data.idx import DataError
from minicnn.storage.files import PathLike
from minicnn.storage.memory import available_memory

COPIES = 2  # of the pixels, at the most: as they are read, and as they are split
SMALL = 64 << 20  # bytes: so much is always tried, since the estimate is rough


def expect_room(path: PathLike, pixels: int) -> None:
    """Raise DataError if reading so many bytes of pixels takes more memory than this process can have."""
    needed, there = COPIES * pixels, available_memory()
    if there is not None and needed > max(there, SMALL):
        expected = f"{needed / 1e6:,.0f} MB to be free"
        raise DataError.about(path, "too large for this memory", expected, f"{there / 1e6:,.0f} MB")
