"""What a report of a retrieval run shows of a query, and which queries it shows: no pictures are opened here."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from diptych.contracts.news import Candidate, NewsSource
from diptych.data.news.retrieval_file import first_of_each_article, read_retrieval
from diptych.storage.record_log import RecordLog

VERIFICATION, ARTICLES = "verify_geometry", "articles"  # the names of the stages in the pipelines


class Reported(Protocol):
    """A stage that has run: its name, its folder, and its settings (of verification `input`, what it was given)."""

    @property
    def name(self) -> str:
        """Its name in the pipeline."""

    @property
    def folder(self) -> Path:
        """Where its records lie."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings."""


@dataclass(frozen=True, slots=True)
class RetrievalCard:
    """One query of the report.

    `before` and `after` are its candidates, best first, without and with geometric verification; `before` is empty
    where there was none. `findings` are what verification found of a candidate, by image id. `article_id` is the right
    article, None where it is not known; `matches` the picture of matches with the first candidate, if one was drawn.
    """

    query_id: str
    article_id: str | None
    after: tuple[Candidate, ...]
    before: tuple[Candidate, ...] = ()
    findings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    matches: Path | None = None

    @property
    def moved(self) -> bool:
        """Whether verification changed the order."""
        return bool(self.before) and self.before != self.after

    @property
    def first_changed(self) -> bool:
        """Whether another candidate comes first than before."""
        return self.moved and self.before[:1] != self.after[:1]

    @property
    def wrong(self) -> bool:
        """Whether the right article is known, and does not come first."""
        return self.article_id is not None and self.rank != 1

    @property
    def rank(self) -> int | None:
        """The place of the right article; None if it was not found, or is not known."""
        return None if self.article_id is None else rank_of(self.article_id, self.after)

    @property
    def rank_before(self) -> int | None:
        """Its place before verification."""
        return None if self.article_id is None else rank_of(self.article_id, self.before)

    @property
    def gained(self) -> bool:
        """Whether verification brought the right article forward."""
        return self.moved and self.rank is not None and (self.rank_before is None or self.rank < self.rank_before)


def rank_of(article_id: str, candidates: Sequence[Candidate]) -> int | None:
    """The place of an article among the articles of the candidates, from 1; None if it is not there."""
    articles = [candidate.article_id for candidate in first_of_each_article(candidates)]
    return articles.index(article_id) + 1 if article_id in articles else None


def read_cards(runs: Sequence[Reported], source: NewsSource, split: str) -> list[RetrievalCard]:
    """A card for every query of the split that the run has candidates of, in the split's order.

    With verification in the run its candidates are shown, else those of the articles; neither: no cards.

    Raises:
        ValueError: a file of a stage is damaged; names it.
    """
    by_name = {run.name: run for run in runs}
    queries = source.queries(split)
    if VERIFICATION not in by_name:
        ranked = read_retrieval(by_name[ARTICLES].folder / "retrieval.json") if ARTICLES in by_name else {}
        return [RetrievalCard(q.query_id, q.article_id, ranked[q.query_id]) for q in queries if q.query_id in ranked]
    folder = by_name[VERIFICATION].folder
    before, after = read_retrieval(by_name[VERIFICATION].settings["input"]), read_retrieval(folder / "retrieval.json")
    records = RecordLog(folder / "records.jsonl").read()
    return [
        RetrievalCard(
            query.query_id,
            query.article_id,
            after[query.query_id],
            before.get(query.query_id, ()),
            _findings(records.get(query.query_id)),
            _drawing(folder / "matches", query.query_id, after[query.query_id]),
        )
        for query in queries
        if query.query_id in after
    ]


def choose_cards(cards: Sequence[RetrievalCard], max_cards: int, seed: int = 0) -> dict[str, list[RetrievalCard]]:
    """Which cards are shown: at most `max_cards`, by group: `moved`, `wrong` of the others, and `other`.

    The groups take turns, so that each that has queries is shown; in a group those with a picture of matches come
    first, then those whose first candidate is a new one, then the seed decides. Each group stands in the order of
    `cards`.
    """
    groups: dict[str, list[RetrievalCard]] = {"moved": [], "wrong": [], "other": []}
    for card in cards:
        groups["moved" if card.moved else "wrong" if card.wrong else "other"].append(card)
    draw = random.Random(seed)
    drawn = []
    for name, members in groups.items():
        order = draw.sample(members, len(members))
        order.sort(key=lambda card: (card.matches is None, not card.first_changed))
        drawn.append([(name, card.query_id) for card in order])
    turns = [pick for turn in zip_longest(*drawn) for pick in turn if pick is not None]
    chosen = set(turns[:max_cards])
    return {name: [card for card in members if (name, card.query_id) in chosen] for name, members in groups.items()}


def _findings(record: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    results = [] if record is None else record["results"]
    return {result["image_id"]: result["verification"] for result in results if "verification" in result}


def _drawing(folder: Path, query_id: str, candidates: Sequence[Candidate]) -> Path | None:
    """The picture that the stage drew of the query and its first candidate."""
    if not candidates:
        return None
    paths = [folder / f"{group}_{query_id}_{candidates[0].image_id}.png" for group in ("moved", "kept")]
    return next((path for path in paths if path.is_file()), None)
