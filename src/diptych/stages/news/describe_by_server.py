"""Base captions by a model behind a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure
from diptych.stages.news.caption_stage import PhotoStage
from diptych.stages.news.describe import WrittenCaption


class FileCaptioner(Protocol):
    """Photo files to captions, many at a time. Construction does no I/O."""

    def describe_files(self, photos: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, WrittenCaption | Failure]]:
        """A caption or failure for each (id, file), in any order, each as soon as it is there."""


class DescribeByServer(PhotoStage):
    """Captions of `split`'s photos by a server; arguments, records and failures are those of `Describe`, and the words
    by which the captioner names failures.

    Raises:
        ValueError: as `PhotoStage`.
    """

    runtime_settings = (
        "retrieval",
        "output",
        "captioner.client.base_url",
        "captioner.client.api_key_env",
        "captioner.client.concurrency",
        "captioner.client.timeout_s",
        "captioner.client.max_retries",
    )

    def __init__(
        self,
        source: NewsSource,
        split: str,
        captioner: FileCaptioner,
        image: str = "query",
        retrieval: str | Path | None = None,
        output: str | Path | None = None,
    ) -> None:
        super().__init__(source, split, image, retrieval, output)
        self.captioner = captioner

    def process(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any] | Failure]:
        """A record or failure for each of the queries, as the server answers."""
        photos = [(query_id, self.photo(query_id)) for query_id in ids]
        yield from (path for _, path in photos if isinstance(path, Failure))
        files = ((query_id, path) for query_id, path in photos if not isinstance(path, Failure))
        for query_id, caption in self.captioner.describe_files(files):
            if isinstance(caption, Failure):
                yield caption
            else:
                yield self.result(query_id, caption.text, caption.stop_reason)
