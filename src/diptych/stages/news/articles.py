"""The articles of every query: what captioning reads, and how well they were found."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from diptych.contracts.news import Candidate, NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import first_of_each_article, read_retrieval_of
from diptych.stages.news.retrieval_output import RESULTS, candidates_of, retrieval_record, write_records
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import write_json
from diptych.storage.record_log import RecordLog

log = logging.getLogger(__name__)


class RetrievalMetric(Protocol):
    """How well articles were found, by the queries of this process alone: the first one has all of them."""

    def reset(self) -> None:
        """Forgets everything."""

    def update(
        self, query_ids: Sequence[str], candidates: Sequence[Sequence[Candidate]], article_ids: Sequence[str | None]
    ) -> None:
        """Adds queries."""

    def compute(self) -> Any:
        """The values, under `corpus`."""


class Articles(RecordStage):
    """At most `depth` articles for every query of the split, each once, with the photo that it was found by.

    A query that `input` does not have, or has no candidates for, keeps an empty list, and is counted in the
    log. Where the annotation names the right articles, `metrics.json` says how well this ranking and those of
    `compare` (name: retrieval file) found them; a query that one of them lacks counts as not found there.
    """

    runtime_settings = ("input", "compare", "output")

    def __init__(
        self,
        input: str | Path,
        source: NewsSource,
        split: str,
        depth: int = 10,
        metric: RetrievalMetric | None = None,
        compare: Mapping[str, str | Path] | None = None,
        output: str | Path | None = None,
    ) -> None:
        self.input, self.source, self.split, self.depth, self.metric = Path(input), source, split, depth, metric
        self.compare = {name: Path(path) for name, path in (compare or {}).items()}
        self.output = None if output is None else Path(output)

    def input_files(self) -> Sequence[Path]:
        """The retrieval files."""
        return [self.input, *self.compare.values()]

    def output_files(self) -> Sequence[Path]:
        """`output`, if there is one."""
        return [] if self.output is None else [self.output]

    @cached_property
    def _ranked(self) -> dict[str, tuple[Candidate, ...]]:
        return read_retrieval_of(self.input, self.ids(), self.source.articles())

    def ids(self) -> Sequence[str]:
        """The split's queries, in its order."""
        return [query.query_id for query in self.source.queries(self.split)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The articles of each query."""
        for query_id in ids:
            yield retrieval_record(query_id, first_of_each_article(self._ranked.get(query_id, ()))[: self.depth])

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`retrieval.json`, the same as `output`, and `metrics.json` where the answers are known."""
        write_records(folder, self.output_files())
        ranked = {
            name: candidates_of(record) for name, record in RecordLog(folder / "records.jsonl").read(RESULTS).items()
        }
        without = sum(not candidates for candidates in ranked.values())
        if without:
            log.warning("%d of %d queries have no candidates; their lists are empty", without, len(ranked))
        answers = {q.query_id: q.article_id for q in self.source.queries(self.split) if q.article_id is not None}
        if self.metric is None or not answers:
            return
        rankings: dict[str, Mapping[str, Sequence[Candidate]]] = {
            **{name: read_retrieval_of(path, self.ids()) for name, path in self.compare.items()},
            "articles": ranked,
        }
        metrics = {name: self._measure(of, answers) for name, of in rankings.items()}
        for name, values in metrics.items():
            log.info("%s: %s", name, ", ".join(f"{key} {value:.4f}" for key, value in values.items()))
        record = {"split": self.split, "queries": len(answers), "no_candidates": without, "metrics": metrics}
        write_json(folder / "metrics.json", record)

    def _measure(self, ranked: Mapping[str, Sequence[Candidate]], answers: Mapping[str, str]) -> dict[str, float]:
        assert self.metric is not None
        self.metric.reset()
        self.metric.update(list(answers), [ranked.get(query_id, ()) for query_id in answers], list(answers.values()))
        return dict(self.metric.compute().corpus)
