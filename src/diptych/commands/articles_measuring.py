"""The stage that measures which articles were found, with values per photo, as an evaluation leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.news import CaptionItem, NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import read_retrieval_of
from diptych.metrics.captions.article_retrieval import ABOUT, article_retrieval
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.results.caption_evaluation import captions_record
from diptych.results.record import METRICS
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json


class MeasureArticles(RecordStage):
    """How well `retrieval`, a file of ranked candidates, found the articles of `split`: `recall_at_1`, `recall_at_10`
    and `average_precision`, into metrics.json and scores.jsonl of the folder `output`; and of `verification`, the
    counts that `verify_geometry` left, `fell_back`, the share of photos whose order is that of the embeddings for want
    of anything better. `name` stands there as the experiment.
    """

    runtime_settings = ("retrieval", "verification", "name", "output")

    def __init__(
        self,
        source: NewsSource,
        split: str,
        retrieval: str | Path,
        name: str,
        output: str | Path,
        verification: str | Path | None = None,
    ) -> None:
        self.source, self.split, self.name = source, split, name
        self.retrieval, self.output = Path(retrieval), Path(output)
        self.verification = None if verification is None else Path(verification)

    def input_files(self) -> Sequence[Path]:
        """The ranking, and the counts."""
        return [self.retrieval, *([] if self.verification is None else [self.verification])]

    def output_files(self) -> Sequence[Path]:
        """metrics.json, which comes last."""
        return [self.output / METRICS]

    def ids(self) -> Sequence[str]:
        """The split's photos whose article is known; ValueError where none is."""
        known = [query.query_id for query in self.source.queries(self.split) if query.article_id is not None]
        if not known:
            raise ValueError(f"{self.source.name} {self.split} does not say which articles are right")
        return known

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """Nothing but their names: what is measured lies in `output`."""
        yield from ({"query_id": query_id} for query_id in ids)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """metrics.json and scores.jsonl, into `output`."""
        ids = self.ids()
        answers = {query.query_id: query.article_id or "" for query in self.source.queries(self.split)}
        ranked = read_retrieval_of(self.retrieval, list(answers), self.source.articles())
        corpus, per_item = article_retrieval([ranked.get(name, ()) for name in ids], [answers[name] for name in ids])
        scores = CaptionScores(corpus, per_item, about=dict(ABOUT), num_items=len(ids))
        scores.query_ids = tuple(ids)
        about: dict[str, Any] = {"experiment": self.name, "data": [self.source.name], "split": self.split}
        about |= {"checkpoint": None, "seed": None, "world_size": 1}
        items = [CaptionItem(name, "") for name in ids]
        record = captions_record({"articles": scores}, items, with_predictions=False, **about)
        if self.verification is not None:
            counts = read_json(self.verification, "run the retrieval again", shape={"queries": int, "fell_back": int})
            record.metrics["fell_back"] = counts["fell_back"] / counts["queries"]
        record.write(self.output)
        record.print(self.output)
