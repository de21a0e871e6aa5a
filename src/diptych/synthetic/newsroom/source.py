"""Newsroom as a source of news photos: OpenEvents' reader over the generated set, which is made on first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from diptych.contracts.news import Article, ArticleFact
from diptych.data.annotations import check_split
from diptych.data.news.openevents import OpenEvents
from diptych.storage.json_files import as_written, read_json
from diptych.storage.json_shapes import Count
from diptych.synthetic.newsroom import layout
from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom

_MAKE_AGAIN = "generate the set again"
_FACTS = {
    "events": [{"split": str, "query_id": str, "article_id": str, "sentences": [str], "fact_sentences": {str: Count}}]
}


class Newsroom(OpenEvents):
    """The generated news events in OpenEvents' layout; unlike there, `val` and `test` have their answers."""

    name = "newsroom"
    docs_page = "docs/newsroom.md"
    writes: ClassVar[Mapping[str, str]] = {"root": "*"}  # it is made where there is nothing
    published_counts: Mapping[str, int] = MappingProxyType({})

    def __init__(self, root: str | Path, settings: NewsroomSettings | None = None) -> None:
        folders = {"database": layout.DATABASE_IMAGES, **layout.QUERY_IMAGES}
        super().__init__(root, files={"database": layout.DATABASE, **layout.ANSWERS}, image_folders=folders)
        self._settings = settings or NewsroomSettings()

    def prepare(self) -> None:
        """Generates the set (half a minute at full size, with a progress bar) unless it is there, complete."""
        generate_newsroom(self.root, self._settings, show_progress=True)

    def facts(self, split: str) -> dict[str, list[ArticleFact]]:
        """The facts that each photo's caption needs, by query id: those of `facts.json`; empty where that file is not.

        Raises:
            ValueError: the file breaks the format, or its sentences are not those of the articles.
        """
        check_split(split, self.splits, "newsroom")
        path = self.root / layout.FACTS
        if not path.is_file():
            return {}
        articles, found = self.articles(), {}
        for event in read_json(path, _MAKE_AGAIN, shape=_FACTS)["events"]:
            if event["split"] == split:
                with as_written(path, _MAKE_AGAIN):
                    found[event["query_id"]] = list(_facts(event, articles[event["article_id"]], path))
        return found


def _facts(event: Mapping[str, Any], article: Article, path: Path) -> Iterator[ArticleFact]:
    spans = _spans(event["sentences"], article, path)
    for name, sentence in event["fact_sentences"].items():
        start, end = spans[sentence]
        yield ArticleFact(name, article.article_id, start, end, start / len(article.text))


def _spans(sentences: Sequence[str], article: Article, path: Path) -> list[tuple[int, int]]:
    spans, position = [], 0
    for sentence in sentences:
        start = article.text.find(sentence, position)
        if start < 0:
            raise ValueError(f"{path}: article {article.article_id} of the database does not say {sentence!r}")
        position = start + len(sentence)
        spans.append((start, position))
    return spans
