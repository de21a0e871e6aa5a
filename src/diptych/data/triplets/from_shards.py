"""Training from tar files, read in sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from diptych.contracts.models import TrainableSystem
from diptych.data.triplets.resident_pictures import check_no_pictures_on_gpu
from diptych.data.triplets.sharded_triplets import BatchNumbers, ShardedTriplets, ShardOrder
from diptych.data.triplets.shards import ShardFolder
from diptych.data.triplets.training_data import TrainingBatches, TrainingInputs
from diptych.data.triplets.triplet_dataset import Augmentation
from diptych.parallel.distributed import rank, world_size


class FromShards:
    """Reads the tar files that `python -m diptych.shards` has written into the folder `shards`; the sources are for
    evaluation only.

    Each process has `shard_streams` streams of shards, of which its workers serve equal numbers. `shuffle_block`
    triplets of a stream are held in memory, as compressed images, and shuffled together. `group_size` and whether
    wordings were exploded must be as they were written; `caption_policy` chooses among a record's wordings.
    """

    kind = "shards"

    def __init__(
        self,
        shards: str,
        shard_streams: int = 8,
        shuffle_block: int = 1000,
        batch_size: int = 256,
        caption_policy: str = "random",
        group_size: int = 1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.shards, self.shard_streams, self.shuffle_block = shards, shard_streams, shuffle_block
        self.batch_size, self.caption_policy, self.group_size = batch_size, caption_policy, group_size
        self.augmentation, self.seed = augmentation, seed

    def open(self, inputs: TrainingInputs) -> Callable[[TrainableSystem], ShardTraining]:
        """The folder's shards; ValueError when it is not whole, or does not fit the settings. A system is refused that
        wants distractors where none were written.
        """
        check_no_pictures_on_gpu(inputs.images_on, "shards are read as a stream, for sets of any size")
        if inputs.num_workers and self.shard_streams % inputs.num_workers:
            raise ValueError(
                f"data.training.shard_streams={self.shard_streams} cannot be shared out among data.num_workers="
                f"{inputs.num_workers}: set data.num_workers to 0 or a divisor (the order does not depend on it)"
            )
        folder = ShardFolder(self.shards)
        self._check_fits(folder, list(inputs.sources))

        def of_system(system: TrainableSystem) -> ShardTraining:
            with_distractors = "distractors" in system.wants
            if with_distractors and not folder.settings["distractors"]:
                raise _unfit(folder, "no distractors, but the loss wants them (system.loss.distractor_negatives)")
            return ShardTraining(self, folder, inputs, with_distractors)

        return of_system

    def _check_fits(self, folder: ShardFolder, sources: list[str]) -> None:
        written = folder.settings
        if sorted(sources) != sorted(written["sources"]):
            raise _unfit(folder, f"sources {written['sources']}, but training is on {sources}")
        if self.group_size != written["group_size"]:
            problem = f"group_size={written['group_size']}, but data.training.group_size is {self.group_size}"
            raise _unfit(folder, problem)
        if (self.caption_policy == "explode") != written["exploded"]:
            form = "a record per wording" if written["exploded"] else "all wordings of a triplet in one record"
            raise _unfit(folder, f"{form}, but training has data.training.caption_policy={self.caption_policy}")


def _unfit(folder: ShardFolder, problem: str) -> ValueError:
    return ValueError(
        f"data.training.shards={folder.folder} was written with {problem}; change the setting, or write shards with it:"
        " python -m diptych.shards (docs/shards.md)"
    )


class ShardTraining:
    """Triplets out of a folder of shards."""

    def __init__(
        self, settings: FromShards, shards: ShardFolder, inputs: TrainingInputs, with_distractors: bool
    ) -> None:
        self.settings, self.shards, self.inputs = settings, shards, inputs
        self.with_distractors = with_distractors

    @property
    def origin(self) -> Mapping[str, Any]:
        """The shards and the number of processes that they are dealt to."""
        return {"shards": self.shards.key, "world_size": world_size()}

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Nothing: pictures need no weights."""

    def texts(self) -> Sequence[str]:
        """None: they are read with their pictures."""
        return ()

    def batches(self, num_batches: int, start_batch: int) -> TrainingBatches:
        """This process's batches; out of shards they come whole."""
        settings = self.settings
        order = ShardOrder(
            [shard.triplets for shard in self.shards.shards],
            settings.batch_size,
            settings.seed,
            rank(),
            world_size(),
            settings.shard_streams,
            settings.shuffle_block,
        )
        dataset = ShardedTriplets(
            self.shards,
            order,
            self.inputs.reader,
            settings.caption_policy,
            settings.augmentation,
            self.with_distractors,
        )
        batch_bytes = settings.batch_size * 2 * 3 * self.inputs.reader.spec.size**2
        return TrainingBatches(dataset, BatchNumbers(num_batches, start_batch), None, order.epoch_batches, batch_bytes)
