"""What a test server's file is to the rest: something to write and to check, named by its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import RankedQuery, TripletSource
from diptych.submission.verdict import Verdict


class SubmissionFormat(Protocol):
    """The files of one test server."""

    def check(self, path: Path, source: Any, split: str) -> Verdict:
        """Checks a file against the data of the format's own source; every violation is listed, in file order.

        Raises:
            ValueError: the file or the annotations cannot be read.
        """


class RankingFormat(SubmissionFormat, Protocol):
    """Files of ranked images, which `evaluate.py` writes."""

    def write(self, folder: Path, ranked: Iterable[RankedQuery]) -> list[Path]:
        """Writes the server's files."""


class CaptionFormat(SubmissionFormat, Protocol):
    """Files of captions with the articles that were found."""

    def write(
        self, folder: Path, captions: Mapping[str, str], articles: Mapping[str, Sequence[str]], query_ids: Sequence[str]
    ) -> list[Path]:
        """Writes the server's files: a caption and ranked articles for every query."""


def format_of(source: TripletSource | NewsSource) -> Any:
    """The format of the source's test server, a `RankingFormat` or a `CaptionFormat` by the source's kind; None where
    there is no server.
    """
    if source.submission_format is None:
        return None
    module, _, name = source.submission_format.rpartition(".")
    return getattr(import_module(module), name)()
