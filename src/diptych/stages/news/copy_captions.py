"""Base captions that exist already, for where no captioner is at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure
from diptych.data.news.base_captions import read_base_captions
from diptych.stages.news.caption_stage import CaptionStage


class CopyCaptions(CaptionStage):
    """The captions of `split`'s photos from the file `captions` (CSV or JSON lines, as `read_base_captions` reads it);
    `{split}` in its name stands for the split.

    Records are those of `Describe`, with `copied` as the stop reason and no matched image. Failures: `no_caption`,
    where the file has none, or a blank one.
    """

    runtime_settings = ("captions", "output")

    def __init__(self, source: NewsSource, split: str, captions: str | Path, output: str | Path | None = None) -> None:
        super().__init__(source, split, output)
        self.captions = Path(str(captions).replace("{split}", split))

    @property
    def input_files(self) -> Sequence[Path]:
        """The file of captions."""
        return (self.captions,)

    def process(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any] | Failure]:
        """A record or failure for each of the queries."""
        captions = read_base_captions(self.captions)
        for query_id in ids:
            if caption := captions.get(query_id):
                yield {"query_id": query_id, "matched_image_id": "", "caption": caption, "stop_reason": "copied"}
            else:
                yield Failure(query_id, "no_caption", f"{self.captions} has no caption for query {query_id!r}; add one")
