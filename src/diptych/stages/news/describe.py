"""Base captions by a model on this machine's devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure
from diptych.stages.news.caption_stage import PhotoStage


class WrittenCaption(Protocol):
    """A caption and why it ends (`stop`, `length`)."""

    @property
    def text(self) -> str:
        """Blank where the model had nothing to say."""

    @property
    def stop_reason(self) -> str:
        """A short word."""


class Captioner(Protocol):
    """Photos to captions: an nn.Module. Construction reads nothing; pickled, it leaves its weights behind."""

    def load(self) -> None:
        """Fills in the weights. ValueError says what is missing or does not fit."""

    def read(self, path: Path) -> Any:
        """A photo as `describe` takes it; ValueError where it cannot be read. Runs in workers, without weights."""

    def describe(self, photos: Sequence[Any]) -> Sequence[WrittenCaption]:
        """A caption for each of the photos, in their order."""


class Describe(PhotoStage):
    """Captions of `split`'s photos by `captioner`, `batch_size` at a time; a ModelStage.

    `image` is `query`, the photo itself, or `matched`, the database photo of the query's first candidate in the file
    `retrieval`, which is what the published base captions describe. Records have `query_id`, `matched_image_id` (empty
    with `image=query`), `caption` and `stop_reason`. Failures: `unreadable`, `no_match`, `empty`.

    `output`, a CSV file of the captions, is written beside the one in the stage's folder.

    Raises:
        ValueError: as `PhotoStage`.
    """

    runtime_settings = ("batch_size", "num_workers", "retrieval", "output")

    def __init__(
        self,
        source: NewsSource,
        split: str,
        captioner: Captioner,
        image: str = "query",
        retrieval: str | Path | None = None,
        output: str | Path | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
    ) -> None:
        super().__init__(source, split, image, retrieval, output)
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"describe.batch_size={batch_size}, num_workers={num_workers}: want at least 1 and 0")
        self.captioner, self.batch_size, self.num_workers = captioner, batch_size, num_workers

    def load_model(self) -> Captioner:
        """The captioner with its weights."""
        self.captioner.load()
        return self.captioner

    def reader(self) -> Describe:
        """The stage itself: pickled, its captioner leaves the weights behind."""
        return self

    def read(self, record_id: str) -> Any:
        """The query's photo as the captioner takes it, or a Failure."""
        path = self.photo(record_id)
        if isinstance(path, Failure):
            return path
        try:
            return self.captioner.read(path)
        except ValueError as error:
            return Failure(record_id, "unreadable", str(error))

    def collate(self, items: Sequence[Any]) -> list[Any]:
        """The photos as they are: they differ in size, and the model's processor stacks them."""
        return list(items)

    def predict(self, model: Captioner, ids: Sequence[str], batch: Any) -> list[Mapping[str, Any] | Failure]:
        """A record or failure for every query of the batch."""
        captions = model.describe(batch)
        return [
            self.result(name, caption.text, caption.stop_reason) for name, caption in zip(ids, captions, strict=True)
        ]
