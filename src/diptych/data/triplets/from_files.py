"""Training from image files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from diptych.contracts.models import TrainableSystem
from diptych.data.triplets.listed_triplets import DrawingSettings, ListedTriplets
from diptych.data.triplets.training_data import TrainingBatches, TrainingInputs
from diptych.data.triplets.triplet_dataset import Augmentation, TripletDataset


class FromFiles:
    """Reads and decodes the image files of every batch.

    `caption_policy` chooses among a record's wordings (`random`, `join`, `explode`, `first`); the other settings are
    those of `DrawingSettings`, and what is done to each picture.
    """

    kind = "files"

    def __init__(
        self,
        batch_size: int = 256,
        caption_policy: str = "random",
        group_size: int = 1,
        weights: Mapping[str, float] | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self.drawing = DrawingSettings(batch_size, group_size, weights, seed)
        self.caption_policy, self.augmentation = caption_policy, augmentation

    def open(self, inputs: TrainingInputs) -> Callable[[TrainableSystem], FileTraining]:
        """The triplets, whose images are all there; distractors are loaded when the system wants them."""
        triplets = ListedTriplets(inputs, self.caption_policy, self.drawing)
        return lambda system: FileTraining(triplets, inputs, self.augmentation, "distractors" in system.wants)


class FileTraining:
    """Triplets whose images are read from their files."""

    origin: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        triplets: ListedTriplets,
        inputs: TrainingInputs,
        augmentation: Augmentation | None,
        with_distractors: bool,
    ) -> None:
        self.triplets, self.inputs = triplets, inputs
        self.augmentation, self.with_distractors = augmentation, with_distractors

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Nothing: pictures need no weights."""

    def texts(self) -> Sequence[str]:
        """All wordings."""
        return self.triplets.texts()

    def batches(self, num_batches: int, start_batch: int) -> TrainingBatches:
        """This process's batches."""
        dataset = TripletDataset(
            self.triplets.records,
            "train",
            self.inputs.reader,
            self.augmentation,
            self.with_distractors,
            self.triplets.drawing.seed,
            self.triplets.draws_per_batch,
        )
        return self.triplets.batches(dataset, num_batches, start_batch)
