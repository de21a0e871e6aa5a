"""The predictions that stages of reranking are given, with the queries that they are of."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import Query, TripletSource
from diptych.ranking.predictions_file import read_rankings


class GivenRanking:
    """The file of rankings at `path`, of the `source`'s split. It is read when it is asked for.

    Raises:
        ValueError: `source` is None: the data has several, and none is named.
    """

    def __init__(self, path: str | Path, source: TripletSource | None, split: str) -> None:
        if source is None:
            raise ValueError("source=null: the data has several sets; name one of them, source=${data.sources.NAME}")
        self.path, self.source, self.split = Path(path), source, split

    @cached_property
    def lines(self) -> dict[str, dict[str, Any]]:
        """The lines by query, in file order; ValueError as `read_rankings`."""
        return read_rankings(self.path).lines

    def query(self, query_id: str) -> Query:
        """The query of a line.

        Raises:
            ValueError: it is no query of the split.
        """
        if query_id not in self._queries:
            raise ValueError(
                f"{self.path}: {query_id!r} is no query of {self.source.name} {self.split} (there is"
                f" {next(iter(self._queries), None)!r}, for example); name the data and the split that were evaluated"
            )
        return self._queries[query_id]

    def removed(self, query_id: str) -> str | None:
        """The image that the protocol takes out of the query's ranking, its reference; None where it takes none."""
        return self.query(query_id).reference_image if self._removes else None

    @cached_property
    def _queries(self) -> dict[str, Query]:
        return {query.query_id: query for query in self.source.queries(self.split)}

    @cached_property
    def _removes(self) -> bool:
        return self.source.protocol(self.split).exclude_reference
