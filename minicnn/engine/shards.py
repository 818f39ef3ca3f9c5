"""A batch in shards: fixed groups of images, whose gradients are summed apart and then added up in a tree.

A floating-point sum depends on its order. If the shards and the tree are fixed, it does not matter which
process computes which shards, nor how many processes there are: the bits are the same.

    shards of 50 images in 4: images 0..11, 12..24, 25..36, 37..49          tree: (s0 + s1) + (s2 + s3)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Terms(NamedTuple):
    """What the gradients of a layer's parameters are sums of.

    The first axis of arrays `by_image` is over images, that of arrays `by_shard` over shards. The arrays of
    several processes, one behind the other, are the terms of the whole batch.
    """

    by_image: tuple[Array, ...] = ()
    by_shard: tuple[Array, ...] = ()


@dataclass(frozen=True)
class Share:
    """The shards from `first` to before `last`, of the `shards` into which a batch is cut.

    `batch` is the number of images of the whole batch, where this share is not all of it.
    """

    shards: int = 1
    first: int = 0
    last: int | None = None
    batch: int | None = None

    def sizes(self, images: int) -> tuple[int, ...]:
        """How many images each shard of the share has, if the share has so many."""
        return shard_sizes(self.batch or images, self.shards)[self.first : self.last]

    def whole(self, images: int) -> int:
        """The number of images of the whole batch, if the share has so many."""
        return self.batch or images

    @property
    def rows(self) -> slice:
        """Which images of the batch they are."""
        if self.batch is None:
            return slice(None)
        ends = [0, *accumulate(shard_sizes(self.batch, self.shards))]
        return slice(ends[self.first], ends[-1 if self.last is None else self.last])


WHOLE = Share()


@functools.cache  # asked at every step
def shard_sizes(images: int, shards: int) -> tuple[int, ...]:
    """So many images in so many shards, as even as can be; fewer shards if there are fewer images."""
    return tuple(last - first for first, last in even_ranges(images, min(images, shards)))


def even_ranges(total: int, parts: int) -> list[tuple[int, int]]:
    """`total` things in so many parts, as even as can be: where each begins, and before what it ends."""
    return list(pairwise(total * part // parts for part in range(parts + 1)))


def pairs(count: int) -> Iterator[tuple[int, int, int]]:
    """The additions of the tree over `count` parts, in order: to i add j, which makes it the sum of i to end.

    The same tree as `minicnn.engine.reference.tree_sum`.
    """
    step = 1
    while step < count:
        for i in range(0, count - step, 2 * step):
            yield i, i + step, min(i + 2 * step, count)
        step *= 2
