"""Photos to the database's most similar ones, each with its article: a query's first candidates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from diptych.contracts.models import ImageIndex
from diptych.contracts.news import Candidate, NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import first_of_each_article
from diptych.index.embedding_store import FACTS, IDS, StoredEmbeddings, open_embeddings
from diptych.stages.news.retrieval_output import retrieval_record, write_records
from diptych.stages.running.record_stage import RecordStage

log = logging.getLogger(__name__)

_QUERIES_AT_ONCE = 2048  # one pass over the gallery each; a killed run does at most so many again
_FIRST_SEARCH = 2  # times `depth`: photos of one article are near each other
_NEXT_SEARCH = 4  # times as many for the queries that still lack articles


class RetrieveImages(RecordStage):
    """For each query of a split, the `depth` articles whose photos are most similar, each with its best photo.

    `queries` and `gallery` are folders of embeddings under query ids and image ids. An article comes once; photos are
    searched until `depth` different articles are found or the gallery has no more. A photo that several articles
    are printed with counts for the first of them. `retrieval.json` in the stage's folder, and `output` if it is named,
    hold the result.

    A query without an embedding fails as `no_embedding`.
    """

    record_key = "query_id"
    runtime_settings = ("queries", "gallery", "output")  # what lies in the folders decides, not where they are

    def __init__(
        self,
        queries: str,
        gallery: str,
        source: NewsSource,
        split: str,
        index: ImageIndex,
        depth: int = 10,
        output: str | None = None,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth={depth} must be at least 1")
        self.queries, self.gallery = Path(queries), Path(gallery)
        self.source, self.split = source, split
        self.index, self.depth = index, depth
        self.output = None if output is None else Path(output)

    def input_files(self) -> Sequence[Path]:
        """The small files of both stores, which hold a hash of the vectors."""
        return [folder / name for folder in (self.queries, self.gallery) for name in (IDS, FACTS)]

    def output_files(self) -> Sequence[Path]:
        """`output`."""
        return [] if self.output is None else [self.output]

    def ids(self) -> Sequence[str]:
        """The split's queries, in file order."""
        return [query.query_id for query in self.source.queries(self.split)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """`{"query_id", "results": [{"image_id", "article_id", "score"}, ...]}` for each query.

        Raises:
            ValueError: a store is missing or damaged, the two differ in width, the gallery is empty, or one of its
                photos belongs to no article.
        """
        queries, gallery = open_embeddings(self.queries), open_embeddings(self.gallery)
        if not gallery.ids:
            raise ValueError(f"{self.gallery} holds no embedding to search")
        places = {name: place for place, name in enumerate(queries.ids)}
        for name in ids:
            if name not in places:
                message = f"{self.queries} has no embedding of the photo; see why in the failures.jsonl of its stage"
                yield Failure(name, "no_embedding", message)
        found = [name for name in ids if name in places]
        if found and queries.vectors.shape[1] != gallery.vectors.shape[1]:
            raise ValueError(
                f"{self.queries} holds embeddings of width {queries.vectors.shape[1]}, {self.gallery} of"
                f" {gallery.vectors.shape[1]}; both must be made by the same encoder"
            )
        article_of = _ArticleOfImage(self.source)
        for start in range(0, len(found), _QUERIES_AT_ONCE):
            names = found[start : start + _QUERIES_AT_ONCE]
            vectors = np.array(queries.vectors[[places[name] for name in names]], np.float32)
            for row, candidates in self._candidates(vectors, gallery, article_of):
                yield retrieval_record(names[row], candidates)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Writes the retrieval file; queries that failed are not in it.

        Raises:
            ValueError: no query has a record.
        """
        write_records(folder, self.output_files())

    def _candidates(
        self, vectors: np.ndarray, gallery: StoredEmbeddings, article_of: _ArticleOfImage
    ) -> Iterator[tuple[int, tuple[Candidate, ...]]]:
        """(row, candidates) of queries (Q, E), as soon as a row has enough of them."""
        missing = np.arange(len(vectors))
        k, num_short = self.depth * _FIRST_SEARCH, 0
        while len(missing):
            positions, scores = self.index.search(vectors[missing], gallery.vectors, k)
            exhausted = (positions[:, -1] < 0) | (k >= len(gallery.ids))
            again = []
            for row, row_positions, row_scores, no_more in zip(missing, positions, scores, exhausted, strict=True):
                images = [gallery.ids[position] for position in row_positions if position >= 0]
                candidates = first_of_each_article(
                    Candidate(image, article_of(image), float(score))
                    for image, score in zip(images, row_scores, strict=False)
                )[: self.depth]
                if len(candidates) < self.depth and not no_more:
                    again.append(row)
                    continue
                num_short += len(candidates) < self.depth
                yield int(row), candidates
            missing, k = np.array(again, np.int64), k * _NEXT_SEARCH
        if num_short:
            log.warning(
                "%d of %d queries have fewer than %d articles: no more were found", num_short, len(vectors), self.depth
            )


class _ArticleOfImage:
    """The article of a database photo, each looked up once."""

    def __init__(self, source: NewsSource) -> None:
        self._articles = source.articles()
        self._known: dict[str, str] = {}

    def __call__(self, image_id: str) -> str:
        if image_id not in self._known:
            self._known[image_id] = self._articles.article_ids_of_image(image_id)[0]
        return self._known[image_id]
