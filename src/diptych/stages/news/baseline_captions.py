"""Captions that no model writes: what a captioner must beat, and how far references agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import first_of_each_article, read_retrieval_of
from diptych.stages.news.base_caption_output import write_base_captions
from diptych.stages.running.record_stage import RecordStage
from diptych.text.sentences import first_sentences

ARTICLE_LEAD, LAST_REFERENCE = BASELINES = ("article_lead", "last_reference")
LEAD_SENTENCES = 3


class BaselineCaptions(RecordStage):
    """A caption of each of `split`'s photos, by `baseline`: `article_lead` are the first three sentences of the first
    article in the file `retrieval`, or without one of the annotated article; `last_reference` is the photo's last
    reference caption, to be scored against those before it.

    Records are those of `CopyCaptions`, with the baseline as the stop reason, and so are `base_captions.csv` and
    `output`. Failures: `no_caption`, where there is no such article, or only one reference.
    """

    runtime_settings = ("retrieval", "output")

    def __init__(
        self,
        source: NewsSource,
        split: str,
        baseline: str,
        retrieval: str | Path | None = None,
        output: str | Path | None = None,
    ) -> None:
        if baseline not in BASELINES:
            raise ValueError(f"baseline={baseline!r} is not one of {', '.join(BASELINES)}")
        if baseline != ARTICLE_LEAD and retrieval is not None:
            raise ValueError(f"retrieval is for baseline={ARTICLE_LEAD}: {baseline} asks for no article")
        self.source, self.split, self.baseline = source, split, baseline
        self.retrieval = None if retrieval is None else Path(retrieval)
        self.output = None if output is None else Path(output)

    def input_files(self) -> Sequence[Path]:
        """The file of candidates, if there is one."""
        return () if self.retrieval is None else (self.retrieval,)

    def output_files(self) -> Sequence[Path]:
        """`output`, if there is one."""
        return () if self.output is None else (self.output,)

    def ids(self) -> Sequence[str]:
        """The query ids of the split, in file order."""
        return [query.query_id for query in self.source.queries(self.split)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """A record or failure for each of the queries."""
        captions = self._leads() if self.baseline == ARTICLE_LEAD else self._last_references()
        for query_id in ids:
            if caption := captions.get(query_id):
                yield {"query_id": query_id, "matched_image_id": "", "caption": caption, "stop_reason": self.baseline}
            else:
                yield Failure(query_id, "no_caption", f"there is no {self.baseline} of query {query_id!r}")

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`base_captions.csv` and `output`."""
        write_base_captions(folder, self.output_files(), failures)

    def _last_references(self) -> dict[str, str]:
        queries = self.source.queries(self.split)
        return {one.query_id: one.reference_captions[-1] for one in queries if len(one.reference_captions) > 1}

    def _leads(self) -> dict[str, str]:
        queries, articles = self.source.queries(self.split), self.source.articles()
        article_of = {query.query_id: query.article_id for query in queries}
        if self.retrieval is not None:
            found = read_retrieval_of(self.retrieval, list(article_of), articles)
            known = {name: first_of_each_article(candidates) for name, candidates in found.items()}
            article_of = {name: candidates[0].article_id for name, candidates in known.items() if candidates}
        return {
            name: first_sentences(articles[article_id].text, LEAD_SENTENCES)
            for name, article_id in article_of.items()
            if article_id is not None
        }
