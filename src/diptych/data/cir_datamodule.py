"""Composed image retrieval data for Lightning: sources mixed for training, evaluation sets with their protocols."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from diptych.contracts import EvaluationSet, Preprocessing, Query, Triplet, TripletSource
from diptych.data.captions import expand
from diptych.data.evaluation_data import evaluation_loaders
from diptych.data.feature_cache import FeatureCache
from diptych.data.images import ImageReader
from diptych.data.presence import absent_files, complain_about
from diptych.data.sampling import MixingSampler
from diptych.data.triplet_dataset import Augmentation, TripletCollator, TripletDataset
from diptych.distributed import rank, world_size

log = logging.getLogger(__name__)


class CIRDataModule(L.LightningDataModule):
    """Trains on the `sources` named in `train_on`, mixed by `weights`, and evaluates on those in `evaluate_on`.

    None means all of them; without weights every source counts by its size.

    `preprocessing` is the backbone's. `caption_policy` chooses among a record's wordings (`random`, `join`, `explode`,
    `first`). `group_size` brings that many triplets of look-alikes (a hotel, a CIRR set) side by side into a batch, as
    hard negatives. `image_cache` is a folder for images prepared once, `decoder` is `fast` or `exact` (`ImageReader`).
    `on_missing` says what a missing image does: `error` refuses to start, `drop` leaves out what cannot be read and
    marks the protocol partial. `root` is the folder of one of the sources, already applied by the config.

    `feature_cache` is a folder for the features of a frozen backbone, stored as `feature_dtype`; `train.py` computes
    those that are missing and hands them to `read_features`. Training then reads no images; evaluation still does.

    The position in the training data is part of the checkpoint: a resumed run continues with the next batch.
    """

    def __init__(
        self,
        sources: Mapping[str, TripletSource],
        preprocessing: Preprocessing,
        batch_size: int = 256,
        evaluation_batch_size: int = 256,
        num_workers: int = 4,
        train_on: Sequence[str] | None = None,
        evaluate_on: Sequence[str] | None = None,
        weights: Mapping[str, float] | None = None,
        caption_policy: str = "random",
        group_size: int = 1,
        augmentation: Augmentation | None = None,
        with_distractors: bool = False,
        validation_split: str = "val",
        test_split: str = "test",
        on_missing: str = "error",
        image_cache: str | None = None,
        decoder: str = "fast",
        feature_cache: str | None = None,
        feature_dtype: str = "float16",
        seed: int = 0,
        root: str | None = None,
    ) -> None:
        super().__init__()
        if on_missing not in ("error", "drop"):
            raise ValueError(f"data.on_missing={on_missing!r} is not one of error, drop")
        if feature_dtype not in ("float16", "float32"):
            raise ValueError(f"data.feature_dtype={feature_dtype!r} is not one of float16, float32")
        if feature_cache and augmentation is not None:
            raise ValueError(
                "data.feature_cache holds features of the images as they are, which data.augmentation would change; "
                "set one of them to null"
            )
        having_it = [name for name, source in sources.items() if root is not None and source.root == Path(root)]
        if root is not None and len(sources) > 1 and len(having_it) != 1:
            raise ValueError(
                "data.root names one dataset's folder; in a mix set data.sources.<name>.root for each source"
            )
        self.sources, self.preprocessing = dict(sources), preprocessing
        self.batch_size, self.evaluation_batch_size, self.num_workers = batch_size, evaluation_batch_size, num_workers
        self.train_on = _known(train_on, self.sources, "data.train_on")
        self.evaluate_on = _known(evaluate_on, self.sources, "data.evaluate_on")
        if weights is not None and set(weights) != set(self.train_on):
            raise ValueError(f"data.weights names {sorted(weights)}, but training is on {sorted(self.train_on)}")
        self.weights = None if weights is None else [weights[name] for name in self.train_on]
        self.caption_policy, self.augmentation, self.with_distractors = caption_policy, augmentation, with_distractors
        if group_size < 1:
            raise ValueError(f"data.group_size={group_size} must be 1 (no grouping) or more")
        self.group_size = group_size
        self.validation_split, self.test_split = validation_split, test_split
        self.on_missing, self.seed = on_missing, seed
        self.reader = ImageReader(preprocessing.image, decoder=decoder, cache_dir=image_cache)
        self.feature_cache, self.feature_dtype = feature_cache, feature_dtype
        self.start_batch = 0
        self._sets: dict[str, list[EvaluationSet]] = {}
        self._dataset: TripletDataset | None = None

    def prepare_training(self) -> None:
        """Generates what can be generated, and raises ValueError for what training and validation would miss."""
        self.prepare_evaluation(self.validation_split)
        self.training_dataset()

    def prepare_evaluation(self, split: str) -> None:
        """Generates what can be generated, and raises ValueError for what evaluating the split would miss."""
        for source in self.sources.values():
            if hasattr(source, "prepare"):
                source.prepare()
        self.evaluation_sets(split)

    # ------------------------------------------------------------------------------------------------ training

    def training_dataset(self) -> TripletDataset:
        """The triplets of all sources, after the caption policy; raises ValueError when images are missing."""
        if self._dataset is None:
            sources = [self.sources[name] for name in self.train_on]
            parts = [(source, expand(self._complete(source), self.caption_policy)) for source in sources]
            self._dataset = TripletDataset(
                parts, "train", self.reader, self.augmentation, self.with_distractors, self.seed
            )
            self._sizes = [len(triplets) for _, triplets in parts]
        return self._dataset

    def read_features(self, features: FeatureCache) -> None:
        """Trains on these features instead of images and texts."""
        self.training_dataset().features = features

    def train_dataloader(self) -> DataLoader:
        """One epoch is the whole run, `trainer.max_steps` optimizer steps; passes over the data follow seamlessly."""
        dataset = self.training_dataset()
        assert self.trainer is not None
        # Not before: the dataset is looked at while there is only one process.
        dataset.draws_per_batch = self.batch_size * world_size()
        sampler = MixingSampler(
            self._sizes,
            self.weights,
            self.batch_size,
            num_batches=self.trainer.max_steps * self.trainer.accumulate_grad_batches,
            seed=self.seed,
            rank=rank(),
            world_size=world_size(),
            start_batch=self.start_batch,
            groups=[(source.name, triplet.group or triplet.query_id) for source, triplet in dataset.records],
            group_size=self.group_size,
        )
        self.epoch_batches = sampler.epoch_batches
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=TripletCollator(self.preprocessing),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            drop_last=True,
        )

    def state_dict(self) -> dict[str, Any]:
        """How many batches are done."""
        assert self.trainer is not None
        return {"batches": self.trainer.fit_loop.epoch_loop.batch_progress.current.processed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues with the batch after the last one done."""
        self.start_batch = state_dict["batches"]

    def _complete(self, source: TripletSource) -> list[Triplet]:
        """The source's training triplets whose images are all there."""
        triplets = source.triplets("train")
        names = {
            name: source.image_path("train", name)
            for triplet in triplets
            for name in (triplet.reference_image, triplet.target_image, *triplet.distractors)
        }
        absent = absent_files(names)
        if not absent:
            return list(triplets)
        complain_about(absent, len(names), source, "train", self.on_missing)
        kept = [
            replace(triplet, distractors=tuple(name for name in triplet.distractors if name not in absent))
            for triplet in triplets
            if not {triplet.reference_image, triplet.target_image} & absent.keys()
        ]
        if not kept:
            raise ValueError(f"{source.root}: no training triplet of {source.name} has all its images")
        log.warning("%s: %d of %d training triplets kept", source.name, len(kept), len(triplets))
        return kept

    # ------------------------------------------------------------------------------------------------ evaluation

    def evaluation_sets(self, split: str) -> list[EvaluationSet]:
        """Queries, gallery and protocol of every source in `evaluate_on`; raises ValueError for a short gallery
        unless `on_missing` is `drop`, which marks the protocol partial.
        """
        if split not in self._sets:
            self._sets[split] = [self._evaluation_set(self.sources[name], split) for name in self.evaluate_on]
        return self._sets[split]

    def evaluation_loaders(self, split: str) -> list[DataLoader]:
        """For every evaluation set its query loader and its gallery loader, in turn."""
        return [
            loader
            for evaluation in self.evaluation_sets(split)
            for loader in evaluation_loaders(
                evaluation,
                self.reader,
                self.preprocessing,
                self.evaluation_batch_size,
                self.num_workers,
                rank(),
                world_size(),
            )
        ]

    def val_dataloader(self) -> list[DataLoader]:
        """Loaders of the validation split."""
        return self.evaluation_loaders(self.validation_split)

    def test_dataloader(self) -> list[DataLoader]:
        """Loaders of the split that `evaluate.py` scores."""
        return self.evaluation_loaders(self.test_split)

    def _evaluation_set(self, source: TripletSource, split: str) -> EvaluationSet:
        queries, gallery, protocol = source.queries(split), source.gallery(split), source.protocol(split)
        references = {query.reference_image: source.image_path(split, query.reference_image) for query in queries}
        files: dict[str, Path] = {**references, **{image.image_id: image.path for image in gallery}}
        absent = absent_files(files)
        if absent:
            complain_about(absent, len(files), source, split, self.on_missing)
            num_gallery = len(gallery)
            gallery = [image for image in gallery if image.image_id not in absent]
            queries = [query for query in queries if not _images_of(query) & absent.keys()]
            protocol = replace(protocol, partial=f"{len(gallery)}/{num_gallery}")
        if not queries or not gallery:
            raise ValueError(
                f"{source.root}: split {split} of {source.name} has {len(queries)} queries, {len(gallery)} images"
            )
        return EvaluationSet(source.name, queries, gallery, protocol, references)


def _images_of(query: Query) -> set[str | None]:
    return {query.reference_image, query.target_image, *query.relevant_ids, *query.group_member_ids}


def _known(names: Sequence[str] | None, sources: Mapping[str, TripletSource], key: str) -> tuple[str, ...]:
    """The names, or all if None; ValueError for one that is no source."""
    unknown = [name for name in names or () if name not in sources]
    if unknown or (names is not None and not names):
        raise ValueError(f"{key}={list(names or [])} must name some of the sources {list(sources)}")
    return tuple(names or sources)
