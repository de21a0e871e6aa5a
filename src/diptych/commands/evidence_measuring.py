"""The stage that measures evidence alone: what prompts hold of what captions should say, without writing any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.contracts.news import CaptionData, CaptionItem
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.fusion_cache import PreparedQuery
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.evidence_recall import ABOUT
from diptych.results.caption_evaluation import captions_record
from diptych.results.evidence_evaluation import evidence_scores, of_queries, reference_claims
from diptych.results.record import METRICS
from diptych.stages.running.record_stage import RecordStage


class MeasureEvidence(RecordStage):
    """Chooses the evidence of `split` as `data` says, and measures how much of the references it holds: `fact_recall`
    where the source knows facts, `evidence_recall` and `article_recall` where one of `metrics` looks for claims, of all
    facts and claims together; `mean_fact_recall` and so on, the means over photos that have some, which can be compared
    photo by photo; and `prompt_tokens`. All with values per query, in metrics.json and scores.jsonl of the folder
    `output`, as an evaluation leaves them; `name` stands there as the experiment.

    A record holds the query's article and chunks, as that of a caption does.
    """

    runtime_settings = ("name", "output")

    def __init__(
        self, data: CaptionData, split: str, metrics: Mapping[str, CaptionMetric], name: str, output: str | Path
    ) -> None:
        self.data, self.split, self.metrics = data, split, dict(metrics)
        self.name, self.output = name, Path(output)

    def output_files(self) -> Sequence[Path]:
        """metrics.json, which comes last."""
        return [self.output / METRICS]

    def ids(self) -> Sequence[str]:
        """The split's photos, in file order; ValueError where their references are not published."""
        self.data.source.prepare()
        if self.data.source.answers_hidden(self.split):
            raise ValueError(f"{self.data.name} {self.split} has no reference captions to hold evidence against")
        return [query.query_id for query in self.data.source.queries(self.split)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The evidence of these photos."""
        wanted = set(ids)
        for query in self._prepared():
            if query.query_id in wanted:
                chunks = [[chunk.start, chunk.end, chunk.score] for chunk in query.evidence.chunks]
                yield {"query_id": query.query_id, "article_id": query.evidence.article_id, "chunks": chunks}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """metrics.json and scores.jsonl, into `output`."""
        source, prepared = self.data.source, self._prepared()
        references = {query.query_id: query.reference_captions for query in prepared}
        claims = reference_claims(self.metrics, references)
        scores = evidence_scores(prepared, source.articles(), claims, source.facts(self.split))
        means = {name: values for one in scores.values() for name, values in one.per_item.items()}
        scores["per_photo"] = _means(prepared, means)
        items = [CaptionItem(query.query_id, "", query.reference_captions) for query in prepared]
        about: dict[str, Any] = {"experiment": self.name, "data": [self.data.name], "split": self.split}
        record = captions_record(
            scores, items, with_predictions=False, **about, checkpoint=None, seed=None, world_size=1
        )
        record.write(self.output)
        record.print(self.output)

    def _prepared(self) -> list[PreparedQuery]:
        return list(self.data.split_data(self.split).queries())


def _means(queries: Sequence[PreparedQuery], recalls: Mapping[str, np.ndarray]) -> CaptionScores:
    per_item = {f"mean_{name}": values for name, values in recalls.items()}
    about = {f"mean_{name}": ABOUT[name] for name in recalls}
    per_item["prompt_tokens"] = np.array([len(query.prompt_ids) for query in queries], dtype=float)
    corpus = {name: float(np.nanmean(values)) for name, values in per_item.items() if not np.isnan(values).all()}
    return of_queries(queries, corpus, per_item, "", {**about, "prompt_tokens": ("count", "lower")})
