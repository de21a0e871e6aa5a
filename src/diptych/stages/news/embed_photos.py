"""Photos to embeddings, into a store on disk: the database's photos, or the queries of a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate

from diptych.contracts.models import PhotoEncoder
from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure, SharedWork
from diptych.index.embedding_store import EmbeddingStore
from diptych.parallel.devices import fetched
from diptych.photos.images import read_image
from diptych.stages.running.prediction import Prediction
from diptych.stages.running.record_stage import RecordStage


class EmbedPhotos(RecordStage):
    """Embeds the photos of `source`: those of its articles, or with `split` the query photos of that split.

    The folder becomes an embedding store of `dtype` (`float16` or `float32`). Every batch is filled up to `batch_size`
    by repetition, so that an embedding depends neither on what else was missing nor on the number of processes. A photo
    that cannot be read fails as `unreadable`.
    """

    runtime_settings = ("num_workers",)

    def __init__(
        self,
        source: NewsSource,
        encoder: PhotoEncoder,
        split: str | None = None,
        dtype: str = "float16",
        batch_size: int = 64,
        num_workers: int = 8,
    ) -> None:
        self.source, self.encoder, self.split = source, encoder, split
        self.dtype, self.batch_size, self.num_workers = dtype, batch_size, num_workers
        self.record_key = "image_id" if split is None else "query_id"

    def input_files(self) -> Sequence[Path]:
        """The encoder's, where it has some: a checkpoint that may be trained anew."""
        return tuple(getattr(self.encoder, "input_files", ()))

    def open_sink(self, folder: Path, part: int | None) -> EmbeddingStore:
        """The store in the stage's folder."""
        return EmbeddingStore(folder, self.record_key, self.dtype, part)

    def ids(self) -> Sequence[str]:
        """The database's photos in its order, or the split's queries."""
        return list(self._paths())

    def shared_work(self) -> SharedWork:
        """The encoder embeds."""
        return Prediction(self)

    def reader(self) -> PhotoReader:
        """Decodes and transforms in worker processes."""
        return PhotoReader(self._paths(), self.encoder.transform, self.batch_size)

    def load_model(self) -> PhotoEncoder:
        """The encoder with its weights."""
        self.encoder.load()
        return self.encoder

    def predict(self, model: PhotoEncoder, ids: Sequence[str], batch: Any) -> Callable[[], Sequence[Mapping[str, Any]]]:
        """What waits for a record with its embedding for each photo."""
        embeddings = fetched(model.embed_images(batch)[: len(ids)].float())

        def records() -> Sequence[Mapping[str, Any]]:
            rows = embeddings().numpy()
            return [{self.record_key: name, "embedding": row} for name, row in zip(ids, rows, strict=True)]

        return records

    def _paths(self) -> dict[str, Path]:
        if self.split is None:
            return {image.image_id: image.path for image in self.source.gallery()}
        return {q.query_id: self.source.image_path(self.split, q.query_id) for q in self.source.queries(self.split)}


class PhotoReader:
    """A RecordReader: files to transformed photos."""

    def __init__(self, paths: Mapping[str, Path], transform: Callable[[torch.Tensor], Any], batch_size: int) -> None:
        self.paths, self.transform, self.batch_size = paths, transform, batch_size

    def read(self, record_id: str) -> Any:
        """The transformed photo, or why it cannot be read."""
        try:
            return self.transform(read_image(self.paths[record_id]))
        except ValueError as error:
            return Failure(record_id, "unreadable", str(error))

    def collate(self, items: Sequence[Any]) -> Any:
        """The photos stacked, the last one repeated up to the batch size."""
        return default_collate(filled_up(items, self.batch_size))


def filled_up(items: Sequence[Any], batch_size: int) -> list[Any]:
    """The items, the last one repeated up to the batch size: in batches of one size an embedding does not depend on
    what else was missing.
    """
    return [*items, *[items[-1]] * (batch_size - len(items))]
