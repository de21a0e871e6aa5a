"""Which photo of each query a stage looks at: the query's own, or the database photo that retrieval puts first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from diptych.contracts.news import Candidate, NewsSource
from diptych.contracts.pipelines import Failure
from diptych.data.news.retrieval_file import read_retrieval_of

IMAGES = ("query", "matched")


class QueryPhotos:
    """The photos of `split`'s queries, or with `image=matched` of their first candidates in the file `retrieval`.

    Raises:
        ValueError: `image` is neither `query` nor `matched`, or is `matched` without `retrieval`.
    """

    def __init__(self, source: NewsSource, split: str, image: str, retrieval: str | Path | None) -> None:
        if image not in IMAGES:
            raise ValueError(f"describe.image={image!r} is not one of {', '.join(IMAGES)}")
        if image == "matched" and retrieval is None:
            raise ValueError("describe.image=matched needs describe.retrieval, the JSON file of the ranked candidates")
        self.source, self.split, self.image = source, split, image
        self.retrieval = None if retrieval is None else Path(retrieval)

    def input_files(self) -> Sequence[Path]:
        """The retrieval file, where it decides which photo is looked at."""
        return () if self.image == "query" or self.retrieval is None else (self.retrieval,)

    def ids(self) -> Sequence[str]:
        """The query ids of the split, in file order."""
        return [query.query_id for query in self.source.queries(self.split)]

    def path(self, query_id: str) -> Path | Failure:
        """The file of a query's photo; it need not exist."""
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
        """The id of the first candidate's photo; empty where there is none, or the query's own photo is looked at."""
        if self.image == "query":
            return ""
        candidates = self._candidates.get(query_id, ())
        return candidates[0].image_id if candidates else ""

    @cached_property
    def _candidates(self) -> Mapping[str, tuple[Candidate, ...]]:
        assert self.retrieval is not None  # the constructor has seen to it
        return read_retrieval_of(self.retrieval, self.ids())
