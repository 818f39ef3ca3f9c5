"""Which process computes which shards of a batch, and which sums of the tree it can make by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicnn.engine.shards import Share, even_ranges, pairs, shard_sizes

Array = np.ndarray


@dataclass(frozen=True)
class Split:
    """A batch of so many images, in so many shards, among so many processes: to each, neighbours.

    Raises ValueError if there are more processes than shards.
    """

    batch: int
    shards: int
    processes: int

    def __post_init__(self) -> None:
        if self.processes > len(self.sizes):
            limit = (
                f"a batch of {self.batch} images in {len(self.sizes)} shards is enough for {len(self.sizes)}"
            )
            raise ValueError(f"{self.processes} processes: {limit}; use fewer, or more --shards")

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many images are in each shard."""
        return shard_sizes(self.batch, self.shards)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The shards of each process: from the first to before the last."""
        return even_ranges(len(self.sizes), self.processes)

    @property
    def images(self) -> list[int]:
        """How many images each process has."""
        return [sum(self.sizes[first:last]) for first, last in self.ranges]

    def share(self, process: int) -> Share:
        """The share of a process."""
        return Share(self.shards, *self.ranges[process], self.batch)

    def kept(self, process: int) -> list[int]:
        """The shards whose places still hold sums when `add_own` has added up what it can."""
        first, last = self.ranges[process]
        gone = {j for i, j, end in pairs(len(self.sizes)) if first <= i and end <= last}
        return [shard for shard in range(first, last) if shard not in gone]

    def add_own(self, process: int, parts: Array) -> Array:
        """The sums of the tree over the shards of one process, parts [own shards, ...], as far as they go.

        Returns one for each of `kept`. Changes parts.
        """
        first, last = self.ranges[process]
        for i, j, end in pairs(len(self.sizes)):
            if first <= i and end <= last:
                parts[i - first] += parts[j - first]
        return parts[[shard - first for shard in self.kept(process)]]

    def add_all(self, sums: Array) -> Array:
        """The sum of the whole tree, [1, ...], from what `add_own` returned to each process. Changes sums."""
        kept = [shard for process in range(self.processes) for shard in self.kept(process)]
        place = {shard: index for index, shard in enumerate(kept)}
        for i, j, _ in pairs(len(self.sizes)):
            if j in place:
                sums[place[i]] += sums[place[j]]
        return sums[:1]
