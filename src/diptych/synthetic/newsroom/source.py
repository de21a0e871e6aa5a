"""Newsroom as a source of news photos: OpenEvents' reader over the generated set, which is made on first use."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from diptych.contracts.news import Article, ArticleFact, NewsQuery
from diptych.data.annotations import check_split
from diptych.data.news.openevents import OpenEvents
from diptych.storage.json_files import as_written, read_json
from diptych.storage.json_shapes import Count
from diptych.synthetic.newsroom import layout
from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom
from diptych.synthetic.newsroom.kinds import KINDS
from diptych.synthetic.newsroom.untruths import ARTICLE_KINDS, WRONG_OBJECTS, misdescription, with_facts_of_another

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
    untrue_article_kinds = ARTICLE_KINDS
    untrue_caption_kinds = (WRONG_OBJECTS,)

    def __init__(
        self,
        root: str | Path,
        settings: NewsroomSettings | None = None,
        kinds: Sequence[str] | None = None,
        photos: str | Path | None = None,
    ) -> None:
        """`kinds` are the kinds of event whose photos are to be captioned, in all splits; None: all. `photos` is a file
        that names some of them (see `OpenEvents`).
        """
        if kinds is not None and not kinds:
            raise ValueError("kinds is empty: name some kinds of event, or null for all")
        if unknown := sorted(set(kinds or ()) - set(KINDS)):
            raise ValueError(f"kinds: there is no kind of event {unknown[0]!r}; there are {', '.join(KINDS)}")
        self._kinds = None if kinds is None else frozenset(kinds)
        folders = {"database": layout.DATABASE_IMAGES, **layout.QUERY_IMAGES}
        super().__init__(
            root, files={"database": layout.DATABASE, **layout.ANSWERS}, image_folders=folders, photos=photos
        )
        self._settings = settings or NewsroomSettings()

    def prepare(self) -> None:
        """Generates the set (half a minute at full size, with a progress bar) unless it is there, complete."""
        generate_newsroom(self.root, self._settings, show_progress=True)

    def queries(self, split: str) -> list[NewsQuery]:
        """The photos to caption, in file order; of the chosen kinds."""
        queries = super().queries(split)
        if self._kinds is None:
            return queries
        kinds = self._kinds_of_all
        return [query for query in queries if kinds.get(query.query_id) in self._kinds]

    def kinds_of_event(self, split: str) -> dict[str, str]:
        """The kind of event of each photo, by query id: those of `facts.json`; empty where that file is not."""
        ids, kinds = [query.query_id for query in self.queries(split)], self._kinds_of_all
        return {query_id: kinds[query_id] for query_id in ids if query_id in kinds}

    def facts(self, split: str) -> dict[str, list[ArticleFact]]:
        """The facts that a reference caption of each photo states, by query id: those of `facts.json`; empty where that
        file is not.

        Raises:
            ValueError: the file breaks the format, or its sentences are not those of the articles.
        """
        check_split(split, self.splits, "newsroom")
        articles, found = self.articles(), {}
        captions = {query.query_id: query.reference_captions for query in self.queries(split)}
        for event in self._events:
            if event["split"] == split and event["query_id"] in captions:
                told = " ".join(" ".join(captions[event["query_id"]]).split()).lower()
                with as_written(self._facts_file, _MAKE_AGAIN):
                    all_facts = _facts(event, articles[event["article_id"]], self._facts_file)
                    found[event["query_id"]] = [fact for fact in all_facts if _words(event, fact.name) in told]
        return found

    def untrue_article(self, article: Article, kind: str, rng: random.Random) -> tuple[Article, dict[str, str]] | None:
        """The article with names, places, or dates and numbers of an event of another family."""
        with as_written(self._facts_file, _MAKE_AGAIN):
            event = next((one for one in self._events if one["article_id"] == article.article_id), None)
            if event is None:
                return None
            others = [one for one in self._events if one["family"] != event["family"]]
            return with_facts_of_another(article, event, others, kind, rng)

    def untrue_base_caption(self, split: str, query_id: str, kind: str, rng: random.Random) -> str | None:
        """What is visible, a third of it wrong."""
        with as_written(self._facts_file, _MAKE_AGAIN):
            event = next((one for one in self._events if one["query_id"] == query_id), None)
            return None if event is None else misdescription(event, rng)

    @property
    def _facts_file(self) -> Path:
        return self.root / layout.FACTS

    @cached_property
    def _kinds_of_all(self) -> dict[str, str]:
        with as_written(self._facts_file, _MAKE_AGAIN):
            return {event["query_id"]: event["kind"] for event in self._events}

    @cached_property
    def _events(self) -> list[Mapping[str, Any]]:
        if not self._facts_file.is_file():
            return []
        events: list[Mapping[str, Any]] = read_json(self._facts_file, _MAKE_AGAIN, shape=_FACTS)["events"]
        return events


def _facts(event: Mapping[str, Any], article: Article, path: Path) -> Iterator[ArticleFact]:
    spans = _spans(event["sentences"], article, path)
    for name, sentence in event["fact_sentences"].items():
        start, end = spans[sentence]
        words = " ".join(article.text[start:end].split())
        yield ArticleFact(name, article.article_id, start, end, start / len(article.text), words)


def _words(event: Mapping[str, Any], fact: str) -> str:
    """The words without which a caption does not state a fact, in lower case; every caption says what happened."""
    (main, second), numbers = event["who"], [number["text"] for number in event["numbers"]]
    words = {
        "what": "",
        "when": event["when"]["text"],
        "country": event["where"]["country"],
        "who": main["name"],
        "second": second["name"],
        "organisation": event["organisation"],
        "first_number": numbers[0],
        "second_number": numbers[1],
        "why": event["why"],
    }
    return words[fact].lower()


def _spans(sentences: Sequence[str], article: Article, path: Path) -> list[tuple[int, int]]:
    spans, position = [], 0
    for sentence in sentences:
        start = article.text.find(sentence, position)
        if start < 0:
            raise ValueError(f"{path}: article {article.article_id} of the database does not say {sentence!r}")
        position = start + len(sentence)
        spans.append((start, position))
    return spans
