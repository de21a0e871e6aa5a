"""Evaluation batches: the queries and the gallery of an evaluation set, each row with its position."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from diptych.contracts.models import Preprocessing
from diptych.contracts.retrieval import EvaluationSet, GalleryBatch, QueryBatch
from diptych.data.triplets.loader_workers import leave_signals_to_main
from diptych.data.triplets.sampling import ShardedBatches
from diptych.photos.images import ImageReader


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
    """Rows to a `QueryBatch`."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, rows: Sequence[tuple[int, Tensor, str]]) -> QueryBatch:
        """The batch of rows of position, pixels and text."""
        positions, pixels, texts = zip(*rows, strict=True)
        return QueryBatch(torch.tensor(positions), torch.stack(pixels), self.preprocessing.tokenize(texts))


def collate_gallery(rows: Sequence[tuple[int, Tensor]]) -> GalleryBatch:
    """Rows to a `GalleryBatch`."""
    positions, pixels = zip(*rows, strict=True)
    return GalleryBatch(torch.tensor(positions), torch.stack(pixels))


def evaluation_loaders(
    evaluation: EvaluationSet,
    reader: ImageReader,
    preprocessing: Preprocessing,
    batch_size: int,
    num_workers: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[DataLoader]:
    """The query loader and the gallery loader of an evaluation set, for this rank."""
    datasets = (QueryDataset(evaluation, reader), GalleryDataset(evaluation, reader))
    collators = (QueryCollator(preprocessing), collate_gallery)
    return [
        DataLoader(
            dataset,
            batch_sampler=ShardedBatches(len(dataset), batch_size, rank, world_size),
            collate_fn=collate,
            num_workers=num_workers,
            worker_init_fn=leave_signals_to_main,
            pin_memory=torch.cuda.is_available(),
        )
        for dataset, collate in zip(datasets, collators, strict=True)
    ]
