"""What the stages that give base captions share: whose photos, which file of each, and the CSV at the end."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.contracts.news import Candidate, NewsSource
from diptych.contracts.pipelines import Failure
from diptych.data.news.retrieval_file import read_retrieval
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.record_log import RecordFile
from diptych.storage.whole import write_file

COLUMNS = ("query_id", "matched_image_id", "caption")
IMAGES = ("query", "matched")

log = logging.getLogger(__name__)


class CaptionStage(RecordStage):
    """A record for each photo of `split`, and from them `base_captions.csv` in the stage's folder and `output`."""

    def __init__(self, source: NewsSource, split: str, output: str | Path | None = None) -> None:
        self.source, self.split = source, split
        self.output = None if output is None else Path(output)

    @property
    def output_files(self) -> Sequence[Path]:
        """`output`, where it is asked for."""
        return () if self.output is None else (self.output,)

    def ids(self) -> Sequence[str]:
        """The query ids of the split, in file order."""
        return [query.query_id for query in self.source.queries(self.split)]

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Writes the captions as `read_base_captions` reads them. Photos that failed have no row."""
        text = io.StringIO(newline="")
        rows = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        rows.writerows(RecordFile(folder, self.record_key).records().values())
        for path in (folder / "base_captions.csv", *self.output_files):
            write_file(path, text.getvalue().encode())
        if failures:
            log.warning("%d photos have no base caption; their captions will be written without one", len(failures))


class PhotoStage(CaptionStage):
    """A CaptionStage that looks at photos: those of the queries, or of the database photo that retrieval puts first.

    Raises:
        ValueError: `image` is neither `query` nor `matched`, or is `matched` without `retrieval`.
    """

    def __init__(
        self, source: NewsSource, split: str, image: str, retrieval: str | Path | None, output: str | Path | None
    ) -> None:
        super().__init__(source, split, output)
        if image not in IMAGES:
            raise ValueError(f"describe.image={image!r} is not one of {', '.join(IMAGES)}")
        if image == "matched" and retrieval is None:
            raise ValueError("describe.image=matched needs describe.retrieval, the JSON file of the ranked candidates")
        self.image = image
        self.retrieval = None if retrieval is None else Path(retrieval)

    @property
    def input_files(self) -> Sequence[Path]:
        """The retrieval file, where it decides which photo is looked at."""
        return () if self.image == "query" or self.retrieval is None else (self.retrieval,)

    def photo(self, query_id: str) -> Path | Failure:
        """The file to describe for a query; it need not exist."""
        try:
            if self.image == "query":
                return self.source.image_path(self.split, query_id)
            matched = self.matched_image(query_id)
            if not matched:
                return Failure(
                    query_id, "no_match", f"{self.retrieval} has no candidate for query {query_id!r}; retrieve it first"
                )
            return self.source.database_image_path(matched)
        except ValueError as error:  # a path that leads outside the data
            return Failure(query_id, "unreadable", str(error))

    def matched_image(self, query_id: str) -> str:
        """The id of the first candidate's photo; empty where there is none, or the query's own photo is described."""
        if self.image == "query":
            return ""
        candidates = self._candidates.get(query_id, ())
        return candidates[0].image_id if candidates else ""

    @cached_property
    def _candidates(self) -> Mapping[str, tuple[Candidate, ...]]:
        assert self.retrieval is not None  # the constructor has seen to it
        return read_retrieval(self.retrieval)

    def result(self, query_id: str, text: str, stop_reason: str) -> Mapping[str, Any] | Failure:
        """The record of a caption, or a failure where it is blank."""
        if not text.strip():
            return Failure(
                query_id, "empty", f"the captioner gave no text for this photo (stop reason: {stop_reason or 'none'})"
            )
        matched = self.matched_image(query_id)
        return {"query_id": query_id, "matched_image_id": matched, "caption": text, "stop_reason": stop_reason}
