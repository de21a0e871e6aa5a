"""Base captions that exist already, for where no captioner is at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.base_captions import read_base_captions
from diptych.stages.news.base_caption_output import write_base_captions
from diptych.stages.running.record_stage import RecordStage


class CopyCaptions(RecordStage):
    """The captions of `split`'s photos from the file `captions` (CSV or JSON lines, as `read_base_captions` reads it);
    `{split}` in its name stands for the split.

    Records are those of `Describe`, with `copied` as the stop reason and no matched image. Failures: `no_caption`,
    where the file has none, or a blank one. `base_captions.csv` is as that of `Describe`, and so is `output`.
    """

    runtime_settings = ("captions", "output")

    def __init__(self, source: NewsSource, split: str, captions: str | Path, output: str | Path | None = None) -> None:
        self.source, self.split = source, split
        self.captions = Path(str(captions).replace("{split}", split))
        self.output = None if output is None else Path(output)

    def input_files(self) -> Sequence[Path]:
        """The file of captions."""
        return (self.captions,)

    def output_files(self) -> Sequence[Path]:
        """`output`, if there is one."""
        return () if self.output is None else (self.output,)

    def ids(self) -> Sequence[str]:
        """The query ids of the split, in file order."""
        return [query.query_id for query in self.source.queries(self.split)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """A record or failure for each of the queries."""
        captions = read_base_captions(self.captions)
        for query_id in ids:
            if caption := captions.get(query_id):
                yield {"query_id": query_id, "matched_image_id": "", "caption": caption, "stop_reason": "copied"}
            else:
                yield Failure(query_id, "no_caption", f"{self.captions} has no caption for query {query_id!r}; add one")

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`base_captions.csv` and `output`."""
        write_base_captions(folder, self.output_files(), failures)
