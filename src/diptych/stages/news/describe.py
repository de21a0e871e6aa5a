"""Base captions by a model: on this machine's devices, or behind a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure, Result, SharedWork
from diptych.stages.news.base_caption_output import write_base_captions
from diptych.stages.news.query_photos import QueryPhotos
from diptych.stages.running.prediction import Prediction
from diptych.stages.running.record_stage import RecordStage


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


@runtime_checkable
class FileCaptioner(Protocol):
    """Photo files to captions: one that makes batches, or sends requests, by itself. Construction does no I/O."""

    def describe_files(self, photos: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, WrittenCaption | Failure]]:
        """A caption or failure for each (id, file), in any order, each as soon as it is there."""


class Describe(RecordStage):
    """Captions of `split`'s photos by `captioner`: one that describes files gets them all, in the first process; any
    other gets `batch_size` photos at a time, on the trainer's devices.

    `image` is `query`, the photo itself, or `matched`, the database photo of the query's first candidate in the file
    `retrieval`, which is what the published base captions describe. Records have `query_id`, `matched_image_id` (empty
    with `image=query`), `caption` and `stop_reason`. Failures: `unreadable`, `no_match`, `empty`, and the words by
    which a captioner of files names its own.

    From the records `base_captions.csv` is written in the stage's folder, and `output`, if it is named.

    Raises:
        ValueError: as `QueryPhotos`, or a number makes no sense.
    """

    runtime_settings = (
        *("batch_size", "num_workers", "retrieval", "output"),
        *("captioner.client.base_url", "captioner.client.api_key_env", "captioner.client.concurrency"),
        *("captioner.client.timeout_s", "captioner.client.max_retries"),
    )

    def __init__(
        self,
        source: NewsSource,
        split: str,
        captioner: Captioner | FileCaptioner,
        image: str = "query",
        retrieval: str | Path | None = None,
        output: str | Path | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
    ) -> None:
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"describe.batch_size={batch_size}, num_workers={num_workers}: want at least 1 and 0")
        self.photos, self.captioner = QueryPhotos(source, split, image, retrieval), captioner
        self.output = None if output is None else Path(output)
        self.batch_size, self.num_workers = batch_size, num_workers

    def input_files(self) -> Sequence[Path]:
        """The retrieval file, where it decides which photo is described."""
        return self.photos.input_files()

    def output_files(self) -> Sequence[Path]:
        """`output`, if there is one."""
        return () if self.output is None else (self.output,)

    def ids(self) -> Sequence[str]:
        """The query ids of the split, in file order."""
        return self.photos.ids()

    def shared_work(self) -> SharedWork | None:
        """A captioner that is given photos works on the trainer's devices."""
        if isinstance(self.captioner, FileCaptioner):
            return None
        return Prediction(DescribeBatches(self.photos, self.captioner, self.batch_size, self.num_workers))

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The results of a captioner of files, as they come."""
        assert isinstance(self.captioner, FileCaptioner)
        paths = [(query_id, self.photos.path(query_id)) for query_id in ids]
        yield from (path for _, path in paths if isinstance(path, Failure))
        files = ((query_id, path) for query_id, path in paths if not isinstance(path, Failure))
        for query_id, caption in self.captioner.describe_files(files):
            yield caption if isinstance(caption, Failure) else _result(self.photos, query_id, caption)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`base_captions.csv` and `output`."""
        write_base_captions(folder, self.output_files(), failures)


class DescribeBatches:
    """The Predictor of a captioner that is given photos, and their reader: pickled, the captioner leaves its weights
    behind.
    """

    def __init__(self, photos: QueryPhotos, captioner: Captioner, batch_size: int, num_workers: int) -> None:
        self.photos, self.captioner, self.batch_size, self.num_workers = photos, captioner, batch_size, num_workers

    def load_model(self) -> Captioner:
        """The captioner with its weights."""
        self.captioner.load()
        return self.captioner

    def reader(self) -> DescribeBatches:
        """Itself."""
        return self

    def read(self, record_id: str) -> Any:
        """The query's photo as the captioner takes it, or a Failure."""
        path = self.photos.path(record_id)
        if isinstance(path, Failure):
            return path
        try:
            return self.captioner.read(path)
        except ValueError as error:
            return Failure(record_id, "unreadable", str(error))

    def collate(self, items: Sequence[Any]) -> list[Any]:
        """The photos as they are: they differ in size, and the model's processor stacks them."""
        return list(items)

    def predict(self, model: Captioner, ids: Sequence[str], batch: Any) -> list[Result]:
        """A record or failure for every query of the batch."""
        return [_result(self.photos, name, caption) for name, caption in zip(ids, model.describe(batch), strict=True)]


def _result(photos: QueryPhotos, query_id: str, caption: WrittenCaption) -> Result:
    """The record of a caption, or a failure where it is blank."""
    if not caption.text.strip():
        reason = caption.stop_reason or "none"
        return Failure(query_id, "empty", f"the captioner gave no text for this photo (stop reason: {reason})")
    matched = photos.matched_image(query_id)
    return {
        "query_id": query_id,
        "matched_image_id": matched,
        "caption": caption.text,
        "stop_reason": caption.stop_reason,
    }
