"""Training from image files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from diptych.contracts.models import TrainableSystem
from diptych.data.triplets.listed_triplets import DrawingSettings, ListedTriplets
from diptych.data.triplets.resident_pictures import (
    ResidentPictures,
    check_place,
    fits_on,
    load_pictures,
    wanted_on,
)
from diptych.data.triplets.training_data import TrainingBatches, TrainingInputs
from diptych.data.triplets.triplet_dataset import Augmentation, TripletDataset


class FromFiles:
    """Reads and decodes the image files of every batch, or of all of them once, where a GPU has room for them
    (`data.images_on`).

    `caption_policy` chooses among a record's wordings (`random`, `join`, `explode`, `first`); the other settings are
    those of `DrawingSettings`, and what is done to each picture. `one_batch` is of debug=overfit.
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
        one_batch: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self.drawing = DrawingSettings(batch_size, group_size, weights, seed, one_batch)
        self.caption_policy, self.augmentation = caption_policy, augmentation

    def open(self, inputs: TrainingInputs) -> Callable[[TrainableSystem], FileTraining]:
        """The triplets, whose images are all there; distractors are loaded when the system wants them. ValueError where
        images cannot be on a GPU and `images_on` wants them there.
        """
        check_place(inputs.images_on, self.augmentation)
        triplets = ListedTriplets(inputs, self.caption_policy, self.drawing)
        triplets.check_batch()
        return lambda system: FileTraining(triplets, inputs, self.augmentation, "distractors" in system.wants)


class FileTraining:
    """Triplets whose images are read from their files, for every batch, or once into `pictures`."""

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
        self.pictures: ResidentPictures | None = None

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Loads all pictures onto the device, once, if `images_on` wants them there and they fit beside the system.

        Raises:
            ValueError: it must be there, and they do not fit; or one cannot be read.
        """
        inputs = self.inputs
        if self.pictures is None and wanted_on(device, inputs.images_on, self.augmentation):
            paths = self.dataset().image_paths()
            if fits_on(device, len(paths), inputs.reader.spec.size, system.parameters(), inputs.images_on):
                self.pictures = load_pictures(paths, inputs.reader, self.augmentation, device, inputs.num_workers)

    def texts(self) -> Sequence[str]:
        """All wordings."""
        return self.triplets.texts()

    def batches(self, num_batches: int, start_batch: int) -> TrainingBatches:
        """This process's batches."""
        batches = self.triplets.batches(self.dataset(), num_batches, start_batch)
        return replace(batches, pictures=self.pictures)

    def dataset(self) -> TripletDataset:
        """The triplets with their images, or with these images' rows in `pictures`."""
        return TripletDataset(
            self.triplets.records,
            "train",
            self.inputs.reader,
            self.augmentation,
            self.with_distractors,
            self.triplets.drawing.seed,
            self.triplets.draws_per_batch,
            pictures=self.pictures,
        )
