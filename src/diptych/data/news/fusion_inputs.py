"""Which article and which base caption belong to a photo: from retrieval, from the annotation, or a mix of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.news import Article, ArticleLookup, Candidate, NewsQuery, NewsSource
from diptych.data.news.base_captions import read_base_captions
from diptych.data.news.corruption import CorruptedInputs, NewsCorruption
from diptych.data.news.fusion_preparation import FusionInput
from diptych.data.news.retrieval_file import first_of_each_article, read_retrieval
from diptych.ranking.known_ids import Value, with_known_keys

_SHOWN = 5


class FusionInputs:
    """The inputs of a source's photos; arguments as in `NewsDataModule`. Every method may raise ValueError."""

    def __init__(
        self,
        source: NewsSource,
        retrieval: str | None,
        base_captions: str | None,
        mixed_share: float,
        seed: int,
        corruption: NewsCorruption | None = None,
    ) -> None:
        self.source, self.retrieval, self.base_captions = source, retrieval, base_captions
        self.mixed_share, self.seed, self.corruption = mixed_share, seed, corruption or NewsCorruption()

    def reader(self, split: str, evidence_source: str) -> Callable[[NewsQuery], FusionInput]:
        """Reads the split's files, and gives what turns a photo of it into its input, corrupted where it is to be."""
        read = self._reader(split, evidence_source)
        if not self.corruption.touches(split):
            return read
        corrupted = self._corrupted(split)
        return lambda query: corrupted(read(query))[0]

    def untruths(self, split: str, evidence_source: str) -> list[dict[str, Any]]:
        """What was made untrue in the split's inputs, with what was true, an object each."""
        if not self.corruption.touches(split):
            return []
        read, corrupted = self._reader(split, evidence_source), self._corrupted(split)
        return [untruth for query in self.source.queries(split) for untruth in corrupted(read(query))[1]]

    def _corrupted(self, split: str) -> CorruptedInputs:
        return CorruptedInputs(self.corruption, self.source, split, self._captions(split))

    def _reader(self, split: str, evidence_source: str) -> Callable[[NewsQuery], FusionInput]:
        candidates = {} if evidence_source == "annotated" else self.candidates(split)
        queries = self.source.queries(split)
        if evidence_source == "annotated" and not any(query.article_id for query in queries):
            raise ValueError(f"{self.source.name} {split} has no annotated articles; set evaluation_source=retrieved")
        captions, articles = self._captions(split), self.source.articles()
        described = self.base_captions is not None or bool(captions)

        def read(query: NewsQuery) -> FusionInput:
            article_id = query.article_id
            if evidence_source == "retrieved" or (evidence_source == "mixed" and not self._takes_annotated(query)):
                ranked = candidates[query.query_id]
                article_id = ranked[0].article_id if ranked else None
            article, gaps = _look_up(article_id, articles)
            base_caption = captions.get(query.query_id, "")
            if described and not base_caption:
                gaps = [*gaps, "no_base_caption"]
            return FusionInput(query, base_caption, article, tuple(gaps))

        return read

    def candidates(self, split: str) -> Mapping[str, Sequence[Candidate]]:
        """The retrieved candidates of every photo of the split, best first, each article once."""
        if self.retrieval is None:
            raise ValueError(
                "data.retrieval names no file of retrieved articles, which data.evidence_source and"
                " data.evaluation_source need unless both are annotated; name one, or set them"
                f" ({self.source.docs_page})"
            )
        path = _file(self.retrieval, split)
        candidates = self._of_split(read_retrieval(path, self.source.articles()), split, path)
        return {query_id: first_of_each_article(found) for query_id, found in candidates.items()}

    def settings(self, split: str, evidence_source: str) -> dict[str, Any]:
        """What decides the inputs, and the state of the files they come from, as JSON can hold it."""
        mixing = {"mixed_share": self.mixed_share, "seed": self.seed} if evidence_source == "mixed" else {}
        retrieved = None if evidence_source == "annotated" else self.retrieval
        files = [_stamp(path) for path in self.source.article_files()]
        corrupted = {"corruption": self.corruption.settings(self.source)} if self.corruption.touches(split) else {}
        return {
            "source": self.source.name,
            "split": split,
            "queries": hashlib.sha256(repr(self.source.queries(split)).encode()).hexdigest(),
            "articles": _stamp(self.source.articles().source),
            **({"article_files": hashlib.sha256(repr(files).encode()).hexdigest()} if files else {}),
            "evidence_source": evidence_source,
            **mixing,
            "retrieval": _stamp(_file(retrieved, split)) if retrieved is not None else None,
            "base_captions": _stamp(_file(self.base_captions, split)) if self.base_captions else None,
            **corrupted,
        }

    def _captions(self, split: str) -> Mapping[str, str]:
        if self.base_captions is None:
            return self.source.base_captions(split)
        path = _file(self.base_captions, split)
        return self._of_split(read_base_captions(path), split, path)

    def _of_split(self, given: Mapping[str, Value], split: str, path: Path) -> dict[str, Value]:
        query_ids = [query.query_id for query in self.source.queries(split)]
        found = with_known_keys(given, query_ids, f"entries of {path}", others=True)
        absent = [query_id for query_id in query_ids if query_id not in found]
        if absent:
            more = ", ..." if len(absent) > _SHOWN else ""
            raise ValueError(
                f"{path}: {len(absent)} photos of {self.source.name} {split} are not in it:"
                f" {', '.join(absent[:_SHOWN])}{more}"
            )
        return found

    def _takes_annotated(self, query: NewsQuery) -> bool:
        digest = hashlib.sha256(f"{self.seed}/{query.query_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.mixed_share * 2**64


def _look_up(article_id: str | None, articles: ArticleLookup) -> tuple[Article | None, list[str]]:
    """The article, and what is missing."""
    if article_id is None:
        return None, ["no_article"]
    if article_id not in articles:
        return None, ["article_not_in_database"]
    article = articles[article_id]
    return article, [] if article.text.strip() else ["empty_article"]


def _file(pattern: str, split: str) -> Path:
    return Path(pattern.replace("{split}", split))


def _stamp(path: Path) -> list[Any]:
    """A file's name, size and time of change."""
    try:
        found = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return [path.name, found.st_size, found.st_mtime_ns]
