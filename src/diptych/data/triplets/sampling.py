"""In which order training examples come, and which evaluation batches a rank takes: functions of seed and position."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import reduce

import torch
from torch.utils.data import Sampler


class MixingSampler(Sampler[tuple[int, int]]):
    """An endless, reproducible order over several sources, which can start at any batch.

    One pass is as long as all sources together. Without weights it holds every example once; with weights each source
    gives `weight / sum of weights` of the pass, whatever its size: a part of its examples, or, if it must give more
    than it has, all of them again in a new order. Everything is shuffled together, and passes follow each other without
    a seam. Every rank takes its own rows of each global batch, so the global batches are the same
    for any number of ranks with the same total batch size.

    With `group_size` n, up to n examples of the same group (`groups` has one per example) come side by side, so that
    look-alikes meet in a batch as each other's negatives.

    Yields (example, draw): the example's position in the concatenation of the sources, and the number of the draw
    since the start of training, from which the example's own randomness is seeded. `num_batches` is how many batches
    the run takes in all; `start_batch` how many of them are already done. With `one_batch` all are the first one.
    """

    def __init__(
        self,
        source_sizes: Sequence[int],
        weights: Sequence[float] | None,
        batch_size: int,
        num_batches: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_batch: int = 0,
        groups: Sequence[Hashable] = (),
        group_size: int = 1,
        one_batch: bool = False,
    ) -> None:
        if min(source_sizes) < 1:
            raise ValueError(f"training sources of sizes {list(source_sizes)}: an empty one cannot be drawn from")
        self.source_sizes, self.batch_size, self.seed = tuple(source_sizes), batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.num_batches, self.start_batch = num_batches, start_batch
        self.groups, self.group_size, self.one_batch = groups, group_size, one_batch
        self.shares = shares_of_pass(self.source_sizes, weights, batch_size, world_size)

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    @property
    def epoch_batches(self) -> float:
        """Batches in one pass over the data."""
        return sum(self.shares) / (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        per_pass, global_batch = sum(self.shares), self.batch_size * self.world_size
        order, order_of = torch.empty(0), -1
        for batch in range(self.start_batch, self.num_batches):
            first = (0 if self.one_batch else batch * global_batch) + self.rank * self.batch_size
            for draw in range(first, first + self.batch_size):
                number, place = divmod(draw, per_pass)
                if number != order_of:
                    order, order_of = self._order(number), number
                yield int(order[place]), draw

    def _order(self, number: int) -> torch.Tensor:
        """The examples of pass `number`, shuffled."""
        generator = torch.Generator().manual_seed(_mix(self.seed, number))
        parts, offset = [], 0
        for size, share in zip(self.source_sizes, self.shares, strict=True):
            rounds = [torch.randperm(size, generator=generator) for _ in range(-(-share // size))]
            parts.append(torch.cat(rounds)[:share] + offset if rounds else torch.empty(0, dtype=torch.long))
            offset += size
        merged = torch.cat(parts)
        order = merged[torch.randperm(len(merged), generator=generator)]
        return order if self.group_size == 1 else self._side_by_side(order)

    def _side_by_side(self, order: torch.Tensor) -> torch.Tensor:
        """The order, with examples pulled forward to the last incomplete bunch of their group."""
        bunches: list[list[int]] = []
        latest: dict[Hashable, list[int]] = {}
        for example in order.tolist():
            bunch = latest.get(self.groups[example])
            if bunch is None or len(bunch) == self.group_size:
                bunch = latest[self.groups[example]] = []
                bunches.append(bunch)
            bunch.append(example)
        return torch.tensor([example for bunch in bunches for example in bunch])


def shares_of_pass(
    source_sizes: Sequence[int], weights: Sequence[float] | None, batch_size: int, world_size: int
) -> tuple[int, ...]:
    """How many examples each source gives to one pass. ValueError where a batch of all ranks is larger than that."""
    shares = _shares(source_sizes, weights)
    if sum(shares) < batch_size * world_size:
        raise ValueError(
            f"a batch of {batch_size} on {world_size} ranks is larger than the {sum(shares)} training "
            f"examples; lower data.training.batch_size, to {sum(shares) // world_size} at most"
        )
    return shares


class ShardedBatches(Sampler[list[int]]):
    """Fixed evaluation batches of consecutive rows, dealt to the ranks in turn.

    A batch holds the same rows for any number of ranks, so that every embedding is computed in the same company and
    the numbers do not depend on the number of ranks. Ranks may get different numbers of batches. A rank that would have
    none repeats the first: Lightning skips evaluation on a rank without batches, and the others would wait for it for
    ever. Rows that are computed twice are merged when they are gathered.
    """

    def __init__(self, num_rows: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        starts = range(0, num_rows, batch_size)
        starts = starts[rank::world_size] or starts[:1]
        self.batches = [range(start, min(start + batch_size, num_rows)) for start in starts]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(batch) for batch in self.batches])


def random_generator(seed: int, *numbers: int) -> torch.Generator:
    """Randomness that is a function of the seed and of what it is for (a draw; a batch and an image)."""
    return torch.Generator().manual_seed(reduce(_mix, numbers, seed))


def _mix(seed: int, number: int) -> int:
    """A 63-bit seed in which neighbouring (seed, number) pairs have nothing in common (SplitMix64's constants)."""
    return (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % (1 << 63)


def _shares(sizes: Sequence[int], weights: Sequence[float] | None) -> tuple[int, ...]:
    """Examples that each source gives to one pass; the pass is as long as all sources together."""
    if weights is None:
        return tuple(sizes)
    if len(weights) != len(sizes) or min(weights) < 0 or sum(weights) == 0:
        raise ValueError(
            f"data.training.weights={list(weights)} must hold one weight of 0 or more for each of {len(sizes)} sources"
        )
    return tuple(round(sum(sizes) * weight / sum(weights)) for weight in weights)
