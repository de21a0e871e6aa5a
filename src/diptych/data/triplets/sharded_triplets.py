"""Training batches out of shards: in which order, and from any position.

Shards follow each other in an endless sequence, pass after pass, each pass a new permutation. The sequence is dealt in
turn to the streams of all ranks; stream number s of rank r takes the shards at the places s * world_size + r, and then
every (streams * world_size)-th. Batch b of a rank comes out of its stream b % streams, so workers can serve a stream
each without changing the order. Within a shard, blocks of triplets are read and shuffled. Everything is a function of
the seed and the batch's number: any batch can be asked for, and the next ones follow without reading anything twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice

import torch
from torch.utils.data import Dataset, Sampler

from diptych.data.triplets.captions import choose_text, expand
from diptych.data.triplets.sampling import MixingSampler, random_generator
from diptych.data.triplets.shards import ShardFolder, StoredTriplet
from diptych.data.triplets.triplet_dataset import Augmentation, TripletExample, augmented, key_of_name
from diptych.photos.images import ImageReader

_SHARDS, _BLOCK = 1, 2  # what randomness is for, beside a draw's


@dataclass(frozen=True)
class ShardOrder:
    """Which shards a rank's batches come out of; `counts` are the triplets of each shard.

    Every shard is in every pass once, each position of the sequence belongs to one stream of one rank. `shuffle_block`
    triplets are shuffled together (1: they come as they were written).

    Raises:
        ValueError: fewer shards than streams, or fewer triplets than a global batch takes.
    """

    counts: Sequence[int]
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    streams: int = 1
    shuffle_block: int = 1

    def __post_init__(self) -> None:
        if self.streams < 1 or self.shuffle_block < 1:
            raise ValueError(
                f"data.training.shard_streams={self.streams} and data.training.shuffle_block={self.shuffle_block} "
                "must be 1 or more"
            )
        if len(self.counts) < self.streams * self.world_size:
            raise ValueError(
                f"{len(self.counts)} shards cannot be dealt to {self.streams} streams on {self.world_size} ranks: "
                "lower data.training.shard_streams, or write the shards with a smaller per_shard"
            )
        if sum(self.counts) < self.global_batch:
            raise ValueError(
                f"a batch of {self.batch_size} on {self.world_size} ranks is larger than the {sum(self.counts)} "
                f"training examples; lower data.training.batch_size, to {sum(self.counts) // self.world_size} at most"
            )

    @property
    def global_batch(self) -> int:
        """Triplets in a batch of all ranks together."""
        return self.batch_size * self.world_size

    @property
    def epoch_batches(self) -> float:
        """Batches in one pass over the data."""
        return sum(self.counts) / self.global_batch

    def reads(self, stream: int, position: int) -> Iterator[tuple[int, int, int]]:
        """The shards of this rank's stream without its first `position` triplets: (place in the sequence, shard,
        first triplet to take), without an end.
        """
        for place in count(stream * self.world_size + self.rank, self.streams * self.world_size):
            number, index = divmod(place, len(self.counts))
            shard = _permutation(len(self.counts), self.seed, number)[index]
            if position < self.counts[shard]:
                yield place, shard, position
            position = max(position - self.counts[shard], 0)


@lru_cache(maxsize=8)
def _permutation(num_shards: int, seed: int, number: int) -> list[int]:
    """The shards in the order of pass `number`."""
    return torch.randperm(num_shards, generator=random_generator(seed, _SHARDS, number)).tolist()


class ShardedTriplets(Dataset[list[TripletExample]]):
    """The training batches of one rank; indexed by the batch's number, as `BatchNumbers` gives them.

    Going on from batch to batch reads on; a jump reads at most one block of a shard again. An example is what
    `TripletDataset` makes of the same triplet and draw, image keys aside: they are other numbers, and equal for the
    same images. A shard or image that cannot be read raises ValueError naming it.
    """

    def __init__(
        self,
        shards: ShardFolder,
        order: ShardOrder,
        reader: ImageReader,
        caption_policy: str = "random",
        augmentation: Augmentation | None = None,
        with_distractors: bool = False,
    ) -> None:
        self.shards, self.order, self.reader = shards, order, reader
        self.caption_policy, self.augmentation, self.with_distractors = caption_policy, augmentation, with_distractors
        self._streams: dict[int, tuple[int, Iterator[StoredTriplet]]] = {}  # by stream: the turn it is ready for

    def __getitem__(self, batch: int) -> list[TripletExample]:
        return [self._example(stored, draw) for stored, draw in self.stored(batch)]

    def stored(self, batch: int) -> list[tuple[StoredTriplet, int]]:
        """The triplets of the batch, each with its draw: its number since the start of training, over all ranks."""
        order = self.order
        turn, stream = divmod(batch, order.streams)
        ready_for, triplets = self._streams.pop(stream, (None, iter(())))
        if ready_for != turn:
            triplets = self._triplets(stream, turn * order.batch_size)
        taken = list(islice(triplets, order.batch_size))
        self._streams[stream] = (turn + 1, triplets)
        first = batch * order.global_batch + order.rank * order.batch_size
        return list(zip(taken, range(first, first + order.batch_size), strict=True))

    def _triplets(self, stream: int, position: int) -> Iterator[StoredTriplet]:
        """The stream without its first `position` triplets."""
        size = self.order.shuffle_block
        for place, shard, first in self.order.reads(stream, position):
            skip = first % size
            rest = self.shards.read(shard, first - skip)
            for number in count(first // size):
                block = list(islice(rest, size))
                if not block:
                    break
                yield from self._shuffled(block, place, number)[skip:]
                skip = 0

    def _shuffled(self, block: list[StoredTriplet], place: int, number: int) -> list[StoredTriplet]:
        """The block in a new order for each position of its shard in the sequence, groups side by side."""
        if len(block) == 1:
            return block
        sampler = MixingSampler(
            [len(block)],
            None,
            batch_size=1,
            num_batches=len(block),
            seed=random_generator(self.order.seed, _BLOCK, place, number).initial_seed(),
            groups=[(stored.source, stored.triplet.group or stored.triplet.query_id) for stored in block],
            group_size=self.shards.settings["group_size"],
        )
        return [block[index] for index, _ in sampler]

    def _example(self, stored: StoredTriplet, draw: int) -> TripletExample:
        seed, batch = self.order.seed, draw // self.order.global_batch
        (triplet,) = expand([stored.triplet], self.caption_policy)
        images = stored.images if self.with_distractors else stored.images[:2]
        try:
            pixels = [
                augmented(self.reader.decode(image.data, image.origin), self.augmentation, seed, batch, image.name)
                for image in images
            ]
        except ValueError as error:
            raise ValueError(f"{error} (query {triplet.query_id} of {stored.source})") from error
        keys = [key_of_name(image.path) for image in images]
        text = choose_text(triplet, random_generator(seed, draw))
        return TripletExample(
            triplet.query_id, pixels[0], pixels[1], text, keys[0], keys[1], tuple(pixels[2:]), tuple(keys[2:])
        )


class BatchNumbers(Sampler[int]):
    """The batches of a run that are still to do; its length counts those done too, as `MixingSampler`'s does."""

    def __init__(self, num_batches: int, start_batch: int = 0) -> None:
        self.num_batches, self.start_batch = num_batches, start_batch

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start_batch, self.num_batches))
