"""Composed image retrieval data for Lightning: sources mixed for training, evaluation sets with their protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from diptych.contracts.models import Preprocessing
from diptych.contracts.retrieval import EvaluationSet, Query, TripletSource
from diptych.data.triplets.captions import expand
from diptych.data.triplets.evaluation_data import evaluation_loaders
from diptych.data.triplets.feature_cache import BackboneFeatures
from diptych.data.triplets.loader_workers import leave_signals_to_main
from diptych.data.triplets.presence import absent_files, complain_about
from diptych.data.triplets.sampling import MixingSampler
from diptych.data.triplets.sharded_triplets import BatchNumbers, ShardedTriplets, ShardOrder
from diptych.data.triplets.shards import ShardFolder
from diptych.data.triplets.triplet_dataset import Augmentation, TripletCollator, TripletDataset, complete_triplets
from diptych.parallel.distributed import rank, world_size
from diptych.photos.images import ImageReader


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

    `shards` is a folder of tar files written by `python -m diptych.shards`: training reads these in sequence, and of
    the sources only evaluation's files (`image_cache` and `on_missing` then concern these alone). Each rank has
    `shard_streams` streams of shards, of which its workers serve equal numbers; `shuffle_block` triplets of a stream
    are held in memory, as compressed images, and shuffled together.

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
        shards: str | None = None,
        shard_streams: int = 8,
        shuffle_block: int = 1000,
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
        if shards and (feature_cache or weights):
            raise ValueError(
                "data.shards hold images, every triplet once: data.feature_cache and data.weights must be null with it"
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
        self.shards, self.shard_streams, self.shuffle_block = shards, shard_streams, shuffle_block
        self.start_batch = 0
        self._sets: dict[str, list[EvaluationSet]] = {}
        self._dataset: TripletDataset | None = None
        self._shards: ShardFolder | None = None

    def prepare_training(self) -> None:
        """Generates what can be generated, and raises ValueError for what training and validation would miss."""
        self.prepare_evaluation(self.validation_split)
        if self.shards:
            self.training_shards()
        else:
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
            parts = [
                (source, expand(complete_triplets(source, self.on_missing), self.caption_policy)) for source in sources
            ]
            self._dataset = TripletDataset(
                parts, "train", self.reader, self.augmentation, self.with_distractors, self.seed
            )
            self._sizes = [len(triplets) for _, triplets in parts]
        return self._dataset

    def read_features(self, features: BackboneFeatures) -> None:
        """Trains on these features instead of images and texts."""
        self.training_dataset().features = features

    def training_shards(self) -> ShardFolder:
        """The folder `shards`; ValueError when it is not whole, or does not fit the settings."""
        if self._shards is None:
            assert self.shards is not None
            if self.num_workers and self.shard_streams % self.num_workers:
                raise ValueError(
                    f"data.shard_streams={self.shard_streams} cannot be shared out among data.num_workers="
                    f"{self.num_workers}: set data.num_workers to 0 or a divisor (the order does not depend on it)"
                )
            shards = ShardFolder(self.shards)
            shards.check_fits(self.train_on, self.group_size, self.caption_policy, self.with_distractors)
            self._shards = shards
        return self._shards

    def train_dataloader(self) -> DataLoader:
        """One epoch is the whole run, `trainer.max_steps` optimizer steps; passes over the data follow seamlessly."""
        assert self.trainer is not None
        num_batches = self.trainer.max_steps * self.trainer.accumulate_grad_batches
        dataset, sampler = self._sharded(num_batches) if self.shards else self._from_files(num_batches)
        return DataLoader(
            dataset,
            batch_size=None if self.shards else self.batch_size,  # out of shards come whole batches
            sampler=sampler,
            collate_fn=TripletCollator(self.preprocessing),
            num_workers=self.num_workers,
            worker_init_fn=leave_signals_to_main,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _from_files(self, num_batches: int) -> tuple[Dataset, Sampler]:
        dataset = self.training_dataset()
        # Not before: the dataset is looked at while there is only one process.
        dataset.draws_per_batch = self.batch_size * world_size()
        sampler = MixingSampler(
            self._sizes,
            self.weights,
            self.batch_size,
            num_batches,
            seed=self.seed,
            rank=rank(),
            world_size=world_size(),
            start_batch=self.start_batch,
            groups=[(source.name, triplet.group or triplet.query_id) for source, triplet in dataset.records],
            group_size=self.group_size,
        )
        self.epoch_batches = sampler.epoch_batches
        return dataset, sampler

    def _sharded(self, num_batches: int) -> tuple[Dataset, Sampler]:
        shards = self.training_shards()
        order = ShardOrder(
            [shard.triplets for shard in shards.shards],
            self.batch_size,
            self.seed,
            rank(),
            world_size(),
            self.shard_streams,
            self.shuffle_block,
        )
        self.epoch_batches = order.epoch_batches
        dataset = ShardedTriplets(
            shards, order, self.reader, self.caption_policy, self.augmentation, self.with_distractors
        )
        return dataset, BatchNumbers(num_batches, self.start_batch)

    def state_dict(self) -> dict[str, Any]:
        """How many batches are done, and of shards what their order depends on."""
        assert self.trainer is not None
        return {"batches": self.trainer.fit_loop.epoch_loop.batch_progress.current.processed, **self._dealt()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues with the batch after the last one done; ValueError when other shards or ranks would follow."""
        saved = {key: value for key, value in state_dict.items() if key != "batches"}
        if saved != self._dealt():
            raise ValueError(
                f"the checkpoint's position in the training data is of {saved or 'plain files'}, this run has "
                f"{self._dealt() or 'plain files'}: resume with the same shards and number of ranks"
            )
        self.start_batch = state_dict["batches"]

    def _dealt(self) -> dict[str, Any]:
        return {"shards": self.training_shards().key, "world_size": world_size()} if self.shards else {}

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
