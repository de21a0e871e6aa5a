"""Composed image retrieval data for Lightning: sources mixed for training, evaluation sets with their protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from diptych.contracts.models import Preprocessing, TrainableSystem
from diptych.contracts.retrieval import EvaluationSet, PhraseFinder, TargetBank, TripletBatch, TripletSource
from diptych.data.triplets.concepts import ConceptReader
from diptych.data.triplets.corruption import CorruptedTriplets, Corruption
from diptych.data.triplets.evaluation_data import (
    EvaluationSettings,
    SplitLoaders,
    evaluation_loaders,
    evaluation_set,
)
from diptych.data.triplets.image_settings import ImageSettings
from diptych.data.triplets.mined_negatives import MinedNegatives
from diptych.data.triplets.resident_pictures import PLACES, ResidentPictures
from diptych.data.triplets.training_data import TrainingData, TrainingInputs, TrainingPart
from diptych.data.triplets.triplet_dataset import TripletCollator
from diptych.parallel.devices import on_gpu
from diptych.parallel.distributed import rank, world_size
from diptych.parallel.loader_workers import QuietLoader
from diptych.storage.folder_names import check_folder_name


class CIRDataModule(L.LightningDataModule):
    """Trains on the `sources` named in `train_on`, and evaluates on those in `evaluate_on`; None means all of them.

    `preprocessing` is the backbone's. `training` says what training reads, and how: `FromFiles`, `FromFeatures` or
    `FromShards`; without it there is evaluation alone. `evaluation` and `images` say how the rest is read.
    `images_on` says where the pictures of training are kept: `host`, `gpu`, or `auto`, which is the GPU if it has room
    (`resident_pictures.fits_on`). `num_workers` processes serve each loader. `noun_phrases` finds those of the texts,
    where a loss wants them. `corruption` makes training texts untrue; None, or a share of 0, leaves them all alone.
    `mined` gives training queries hard negatives in the place of their distractors; None, or no rankings, leaves those.

    The position in the training data is part of the checkpoint: a resumed run continues with the next batch.
    """

    kind = "retrieval"

    def __init__(
        self,
        sources: Mapping[str, TripletSource],
        preprocessing: Preprocessing,
        training: TrainingPart | None = None,
        evaluation: EvaluationSettings | None = None,
        images: ImageSettings | None = None,
        train_on: Sequence[str] | None = None,
        evaluate_on: Sequence[str] | None = None,
        num_workers: int = 4,
        noun_phrases: PhraseFinder | None = None,
        images_on: str = "auto",
        corruption: Corruption | None = None,
        mined: MinedNegatives | None = None,
    ) -> None:
        super().__init__()
        for name in sources:
            check_folder_name(name, "data.sources:")  # its evaluation has one
        self.sources, self.preprocessing, self.training = dict(sources), preprocessing, training
        self.evaluation, self.images = evaluation or EvaluationSettings(), images or ImageSettings()
        self.num_workers, self.noun_phrases = num_workers, noun_phrases
        if images_on not in PLACES:
            raise ValueError(f"images_on={images_on!r} is not one of {', '.join(PLACES)}")
        self.images_on, self.corruption, self.mined = images_on, corruption, mined or MinedNegatives()
        self.train_on = _known(train_on, self.sources, "data.train_on")
        self.evaluate_on = _known(evaluate_on, self.sources, "data.evaluate_on")
        self.reader = self.images.reader(preprocessing.image)
        self.start_batch = 0
        self._sets: dict[str, list[EvaluationSet]] = {}
        self._training_data: TrainingData | None = None
        self._pictures: ResidentPictures | None = None  # what the batches of the training loader name
        self._bank: TargetBank | None = None
        self._concepts: ConceptReader | None = None

    def prepare_training(self) -> None:
        """Generates what can be generated, and raises ValueError for what training and validation would miss."""
        for name in self.train_on:
            self.sources[name].prepare()
        self.prepare_evaluation(self.validation_split)
        _ = self._of_system

    def prepare_evaluation(self, split: str) -> None:
        """Generates what can be generated, and raises ValueError for what evaluating the split would miss."""
        for name in self.evaluate_on:
            self.sources[name].prepare()
        self.evaluation_sets(split)

    # ------------------------------------------------------------------------------------------------ training

    def training_inputs(self) -> TrainingInputs:
        """What `training` is given."""
        return TrainingInputs(
            {name: self._with_mined(self._corrupted.get(name, self.sources[name])) for name in self.train_on},
            self.preprocessing,
            self.reader,
            self.images.on_missing,
            self.num_workers,
            self.evaluation.batch_size,
            self.images_on,
        )

    @cached_property
    def _corrupted(self) -> dict[str, CorruptedTriplets]:
        if self.corruption is None or not self.corruption.untrue:
            return {}
        return {name: self.corruption.of(self.sources[name]) for name in self.train_on}

    def _with_mined(self, source: TripletSource) -> TripletSource:
        return source if self.mined.rankings is None else self.mined.of(source)

    def untruths(self) -> list[dict[str, Any]]:
        """The training texts that `corruption` made untrue, with what was true: the fields of `UntrueText`."""
        return [untrue.to_json() for source in self._corrupted.values() for untrue in source.untrue_texts]

    @property
    def training_batch_size(self) -> int:
        """Triplets in a batch of one process; ValueError without `training`."""
        return self._training.batch_size

    @property
    def _training(self) -> TrainingPart:
        if self.training is None:
            raise ValueError("data.training is not there: choose data/training=files, features or shards")
        return self.training

    @cached_property
    def _of_system(self) -> Callable[[TrainableSystem], TrainingData]:
        if self._corrupted and self._training.kind == "shards":
            raise ValueError(
                "data.corruption: shards hold their texts as they were written; give it to python -m diptych.shards,"
                " and train on them without it"
            )
        if self.mined.rankings is not None and self._training.kind == "shards":
            raise ValueError(
                "data.mined: shards hold their distractors as they were written; give it to python -m diptych.shards, "
                "and train on them without it"
            )
        return self._training.open(self.training_inputs())

    def prepare_for(self, system: TrainableSystem) -> None:
        """Makes the training data that of this system, which has no weights yet, and finds its texts' noun phrases if
        they are wanted; ValueError if it cannot serve the system.
        """
        if self.mined.rankings is not None and "distractors" not in system.wants:
            raise ValueError(
                "data.mined.rankings gives distractors, and no loss looks at them: set "
                "system.loss.distractor_negatives=true"
            )
        if "bank" in system.wants and self._training.kind != "features":
            raise ValueError(
                f"system/loss=info_nce_bank compares with all training images, as a frozen backbone sees them, and "
                f"data/training={self._training.kind} reads others for every step: set data/training=features "
                "data.training.feature_cache=DIR system.model.backbone.freeze=all"
            )
        self._training_data = self._of_system(system)
        if "concepts" in system.wants:
            if self.noun_phrases is None:
                raise ValueError("data.noun_phrases is not there, but the loss compares noun phrases; it finds them")
            try:
                self._concepts = ConceptReader(self.noun_phrases, self.preprocessing)
            except ValueError as error:
                raise ValueError(f"data.noun_phrases: {error}") from error
            self._concepts.remember(self._training_data.texts())

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Computes what is read in place of pictures, if something is, or loads all pictures onto the device."""
        self._opened.prepare_from_weights(system, device)

    @cached_property  # asked for at every logged step, and counting looks at all records
    def epoch_batches(self) -> float:
        """Batches of one process in one pass over the data."""
        return self._opened.batches(1, 0).epoch_batches

    def train_dataloader(self) -> DataLoader:
        """One epoch is the whole run, `trainer.max_steps` optimizer steps; passes over the data follow seamlessly."""
        assert self.trainer is not None
        batches = self._opened.batches(self.trainer.max_steps * self.trainer.accumulate_grad_batches, self.start_batch)
        self._pictures, self._bank = batches.pictures, batches.bank
        return QuietLoader(
            batches.dataset,
            batch_size=batches.batch_size,
            sampler=batches.sampler,
            collate_fn=TripletCollator(self.preprocessing, self._concepts),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            batch_bytes=batches.batch_bytes,
            pin_memory=on_gpu(),
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The batch, with the bank of its loss, and pixels in place of the rows of pictures that the device holds."""
        if not isinstance(batch, TripletBatch):
            return batch
        batch = replace(batch, bank=self._bank)
        return batch if self._pictures is None else self._pictures.in_place_of_rows(batch)

    def state_dict(self) -> dict[str, Any]:
        """How many batches are done, and of shards what their order depends on."""
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        num_batches = progress.processed  # type: ignore[attr-defined]  # Lightning types it as its parent class
        return {"batches": num_batches, **self._opened.origin}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues with the batch after the last one done; ValueError when other shards or ranks would follow."""
        saved = {key: value for key, value in state_dict.items() if key != "batches"}
        origin = dict(self._opened.origin)
        if saved != origin:
            raise ValueError(
                f"the checkpoint's position in the training data is of {saved or 'plain files'}, this run has "
                f"{origin or 'plain files'}: resume with the same shards and number of ranks"
            )
        self.start_batch = state_dict["batches"]

    @property
    def _opened(self) -> TrainingData:
        if self._training_data is None:
            raise RuntimeError("there is no training data before prepare_for(system)")
        return self._training_data

    # ------------------------------------------------------------------------------------------------ evaluation

    @property
    def validation_split(self) -> str:
        """The split that training is validated on."""
        return self.evaluation.validation_split

    def evaluation_sets(self, split: str) -> list[EvaluationSet]:
        """Queries, gallery and protocol of every source in `evaluate_on`; raises ValueError for a short gallery
        unless `images.on_missing` is `drop`, which marks the protocol partial.
        """
        if split not in self._sets:
            on_missing = self.images.on_missing
            self._sets[split] = [evaluation_set(self.sources[name], split, on_missing) for name in self.evaluate_on]
        return self._sets[split]

    def evaluation_loaders(self, split: str) -> list[DataLoader]:
        """For every evaluation set its query loader and its gallery loader, in turn."""
        return [
            loader
            for number, evaluation in enumerate(self.evaluation_sets(split))
            for loader in evaluation_loaders(
                evaluation,
                self.reader,
                self.preprocessing,
                self.evaluation.batch_size,
                self.num_workers,
                rank(),
                world_size(),
                number,
            )
        ]

    def val_dataloader(self) -> list[DataLoader]:
        """Loaders of the validation split."""
        return self.evaluation_loaders(self.validation_split)

    def to_test(self, split: str) -> SplitLoaders:
        """What `trainer.test` is given to score the split."""
        return SplitLoaders(split, self.evaluation_sets(split), partial(self.evaluation_loaders, split))


def _known(names: Sequence[str] | None, sources: Mapping[str, TripletSource], key: str) -> tuple[str, ...]:
    """The names, or all if None; ValueError for one that is no source."""
    unknown = [name for name in names or () if name not in sources]
    if unknown or (names is not None and not names):
        raise ValueError(f"{key}={list(names or [])} must name some of the sources {list(sources)}")
    return tuple(names or sources)
