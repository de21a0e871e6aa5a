"""Evaluation: the queries and the gallery of a source as its protocol says, and the batches of both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from diptych.contracts.models import Preprocessing
from diptych.contracts.retrieval import EvaluationSet, GalleryBatch, Query, QueryBatch, TripletSource
from diptych.data.triplets.presence import absent_files, complain_about
from diptych.data.triplets.sampling import ShardedBatches
from diptych.parallel.devices import on_gpu
from diptych.parallel.loader_workers import QuietLoader
from diptych.photos.images import ImageReader
from diptych.ranking.fitted_protocol import check_primary, fitted, said_of_left_out

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSettings:
    """How evaluation goes: queries or images in a batch, and the split that training is validated on."""

    batch_size: int = 256
    validation_split: str = "val"


def evaluation_set(source: TripletSource, split: str, on_missing: str) -> EvaluationSet:
    """Queries, gallery and protocol of a source's split, without the metrics whose K this data has not (said once).

    Raises:
        ValueError: there are none, or the protocol's primary metric does not fit, or images are missing: a short
            gallery inflates recall. With `on_missing=drop` what needs them is left out, and the protocol is marked
            partial.
    """
    queries, gallery, protocol = source.queries(split), source.gallery(split), source.protocol(split)
    references = {query.reference_image: source.image_path(split, query.reference_image) for query in queries}
    files: dict[str, Path] = {**references, **{image.image_id: image.path for image in gallery}}
    absent = absent_files(files)
    if absent:
        complain_about(absent, len(files), source, split, on_missing)
        num_gallery = len(gallery)
        gallery = [image for image in gallery if image.image_id not in absent]
        queries = [query for query in queries if not _images_of(query) & absent.keys()]
        protocol = replace(protocol, partial=f"{len(gallery)}/{num_gallery}")
    if not queries or not gallery:
        raise ValueError(
            f"{source.root}: split {split} of {source.name} has {len(queries)} queries, {len(gallery)} images"
        )
    protocol = fitted(protocol, queries, len(gallery))
    check_primary(protocol, len(gallery))
    if said := said_of_left_out(protocol, len(gallery)):
        log.warning("%s: %s", source.name, said)
    return EvaluationSet(source.name, queries, gallery, protocol, references)


def _images_of(query: Query) -> set[str | None]:
    return {query.reference_image, query.target_image, *query.relevant_ids, *query.group_member_ids}


class QueryDataset(Dataset[tuple[int, Tensor, str]]):
    """(position, reference pixels, text) of each query."""

    def __init__(self, evaluation: EvaluationSet, reader: ImageReader) -> None:
        self.evaluation, self.reader = evaluation, reader

    def __len__(self) -> int:
        return len(self.evaluation.queries)

    def __getitem__(self, position: int) -> tuple[int, Tensor, str]:
        query = self.evaluation.queries[position]
        return position, self.reader(self.evaluation.reference_paths[query.reference_image]), query.text


class GalleryDataset(Dataset[tuple[int, Tensor]]):
    """(position, pixels) of each gallery image."""

    def __init__(self, evaluation: EvaluationSet, reader: ImageReader) -> None:
        self.evaluation, self.reader = evaluation, reader

    def __len__(self) -> int:
        return len(self.evaluation.gallery)

    def __getitem__(self, position: int) -> tuple[int, Tensor]:
        return position, self.reader(self.evaluation.gallery[position].path)


class QueryCollator:
    """Rows to a `QueryBatch` of the evaluation set with this number."""

    def __init__(self, preprocessing: Preprocessing, set_index: int = 0) -> None:
        self.preprocessing, self.set_index = preprocessing, set_index

    def __call__(self, rows: Sequence[tuple[int, Tensor, str]]) -> QueryBatch:
        """The batch of rows of position, pixels and text."""
        positions, pixels, texts = zip(*rows, strict=True)
        tokens = self.preprocessing.tokenize(texts)
        return QueryBatch(torch.tensor(positions), torch.stack(pixels), tokens, self.set_index)


class GalleryCollator:
    """Rows to a `GalleryBatch` of the evaluation set with this number."""

    def __init__(self, set_index: int = 0) -> None:
        self.set_index = set_index

    def __call__(self, rows: Sequence[tuple[int, Tensor]]) -> GalleryBatch:
        """The batch of rows of position and pixels."""
        positions, pixels = zip(*rows, strict=True)
        return GalleryBatch(torch.tensor(positions), torch.stack(pixels), self.set_index)


def evaluation_loaders(
    evaluation: EvaluationSet,
    reader: ImageReader,
    preprocessing: Preprocessing,
    batch_size: int,
    num_workers: int,
    rank: int = 0,
    world_size: int = 1,
    set_index: int = 0,
) -> list[DataLoader]:
    """The query loader and the gallery loader of an evaluation set, for this rank; its batches say which set it is."""
    datasets: tuple[QueryDataset | GalleryDataset, ...] = (
        QueryDataset(evaluation, reader),
        GalleryDataset(evaluation, reader),
    )
    collators: tuple[QueryCollator | GalleryCollator, ...] = (
        QueryCollator(preprocessing, set_index),
        GalleryCollator(set_index),
    )
    return [
        QuietLoader(
            dataset,
            batch_sampler=ShardedBatches(len(dataset), batch_size, rank, world_size),
            collate_fn=collate,
            num_workers=num_workers,
            batch_bytes=batch_size * 3 * preprocessing.image.size**2,
            pin_memory=on_gpu(),
        )
        for dataset, collate in zip(datasets, collators, strict=True)
    ]


class SplitLoaders(L.LightningDataModule):
    """One split for `trainer.test`: its evaluation sets, and what makes their loaders once processes are there."""

    def __init__(self, split: str, sets: Sequence[EvaluationSet], loaders: Callable[[], list[DataLoader]]) -> None:
        super().__init__()
        self.split, self.sets, self._loaders = split, sets, loaders

    def test_dataloader(self) -> list[DataLoader]:
        """For every evaluation set its query loader and its gallery loader, in turn."""
        return self._loaders()
