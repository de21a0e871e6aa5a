"""What a report of captions shows of a query, and which queries it shows: no pictures are opened here."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from diptych.contracts.news import Article, Chunk, Evidence
from diptych.report.rendering import Section

CIDER = "cider"


@dataclass(frozen=True, slots=True)
class EntitySpan:
    """A name, date or number in a caption, `caption[start:end]`, and whether the evidence holds it."""

    start: int
    end: int
    label: str
    supported: bool


@dataclass(frozen=True, slots=True)
class CaptionCard:
    """One query of the report.

    `article` is the one that the evidence comes from, None when there was none; the evidence's chunks are spans of its
    text. `base_caption` and `stop_reason` are empty, `image_path` and `prompt_tokens` None where nothing is known.
    `entities` are those of the fused caption; none where the evidence is not known. `metrics` are the query's own
    values by name.

    Raises:
        ValueError: an entity or a chunk lies outside its text, entities overlap, or the article is not the evidence's.
    """

    query_id: str
    image_path: Path | None
    fused_caption: str
    base_caption: str = ""
    reference_captions: tuple[str, ...] = ()
    article: Article | None = None
    evidence: Evidence = field(default_factory=Evidence)
    entities: tuple[EntitySpan, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    stop_reason: str = ""
    prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        where = f"query {self.query_id!r}"
        article_id = None if self.article is None else self.article.article_id
        if article_id != self.evidence.article_id:
            raise ValueError(f"{where}: the evidence is of article {self.evidence.article_id!r}, not of {article_id!r}")
        text = "" if self.article is None else self.article.text
        _check_spans(self.evidence.chunks, len(text), f"{where}: a chunk of the evidence")
        _check_spans(self.entities, len(self.fused_caption), f"{where}: an entity of the caption")
        for before, after in pairwise(sorted(self.entities, key=lambda entity: entity.start)):
            if after.start < before.end:
                raise ValueError(f"{where}: two entities of the caption overlap at character {after.start}")

    @property
    def num_unsupported(self) -> int:
        """How many entities of the caption the evidence does not hold."""
        return sum(not entity.supported for entity in self.entities)

    @property
    def pieces(self) -> list[tuple[str, EntitySpan | None]]:
        """The fused caption in order, cut at its entities: each piece with its entity, if it is one. None of a blank
        caption.
        """
        if not self.fused_caption.strip():
            return []
        pieces: list[tuple[str, EntitySpan | None]] = []
        position = 0
        for entity in sorted(self.entities, key=lambda entity: entity.start):
            pieces.append((self.fused_caption[position : entity.start], None))
            pieces.append((self.fused_caption[entity.start : entity.end], entity))
            position = entity.end
        return [*pieces, (self.fused_caption[position:], None)]

    @property
    def passages(self) -> list[Passage]:
        """The article's text; none without an article."""
        return [] if self.article is None else list(split_passages(self.article.text, self.evidence.chunks))

    @property
    def key_facts(self) -> dict[str, tuple[str, ...]]:
        """The evidence's facts by kind, without the kinds of which there are none."""
        return {name: values for name, values in asdict(self.evidence.facts).items() if values}


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of an article: chosen as evidence, with its best score (None: taken whatever it says), or not."""

    text: str
    chosen: bool
    score: float | None = None


def split_passages(text: str, chunks: Sequence[Chunk]) -> Iterator[Passage]:
    """The whole text in order, chosen stretches and the rest; chunks that overlap or touch become one stretch."""
    merged: list[Chunk] = []
    for chunk in sorted(chunks, key=lambda chunk: chunk.start):
        if merged and chunk.start <= merged[-1].end:
            last = merged.pop()
            scores = [score for score in (last.score, chunk.score) if score is not None]
            merged.append(Chunk(last.start, max(last.end, chunk.end), max(scores, default=None)))
        else:
            merged.append(chunk)
    place = 0
    for chunk in merged:
        if chunk.start > place:
            yield Passage(text[place : chunk.start], chosen=False)
        yield Passage(text[chunk.start : chunk.end], True, chunk.score)
        place = chunk.end
    if place < len(text):
        yield Passage(text[place:], chosen=False)


def choose_cards(cards: Sequence[CaptionCard], max_cards: int, seed: int = 0) -> list[Section]:
    """Which cards are shown, each once: the worst, those with the most unsupported names, the best, a random draw.

    The worst has the lowest CIDEr; where a card has none, as on splits with hidden answers, unsupported names decide
    alone. Ties keep the order of `cards`. At most `max_cards`; if that is all of them, they are one section.
    """
    scored = all(CIDER in card.metrics for card in cards)
    if len(cards) <= max_cards:
        order = sorted(cards, key=_cider if scored else lambda card: -card.num_unsupported)
        words = "those with the lowest CIDEr first" if scored else "those with the most unsupported names first"
        return [Section("all", "All queries", f"All {len(cards):,} queries, {words}.", tuple(order))]
    left = list(cards)
    sections: list[Section] = []

    def add(anchor: str, heading: str, order: Sequence[CaptionCard], number: int, words: str) -> None:
        chosen = tuple(order[:number])
        for card in chosen:
            left.remove(card)
        of = "of the other queries" if sections else f"of {len(cards):,} queries"
        if chosen:
            sections.append(Section(anchor, heading, f"{len(chosen)} {of}, {words}.", chosen))

    if scored:
        add("worst", "Lowest CIDEr", sorted(left, key=_cider), max(1, max_cards // 3), "the lowest CIDEr first")
    names = sorted((card for card in left if card.num_unsupported), key=lambda card: -card.num_unsupported)
    words = "those first whose caption has the most names that are not in the evidence"
    add("unsupported", "Most unsupported names", names, max_cards // (4 if scored else 2), words)
    if scored:
        best = sorted(left, key=_cider, reverse=True)
        add("best", "Highest CIDEr", best, max_cards // 6, "the highest CIDEr first")
    room = max_cards - (len(cards) - len(left))
    places = sorted(random.Random(seed).sample(range(len(left)), min(room, len(left))))
    words = "drawn with a fixed seed: how the captions are on an ordinary one"
    add("random", "A random draw from the others", [left[place] for place in places], room, words)
    return sections


def _cider(card: CaptionCard) -> float:
    value = card.metrics[CIDER]
    return -math.inf if value is None or math.isnan(value) else value


def _check_spans(spans: Sequence[Chunk] | Sequence[EntitySpan], length: int, what: str) -> None:
    for span in spans:
        if not 0 <= span.start < span.end <= length:
            raise ValueError(f"{what} is characters {span.start} to {span.end} of a text of {length}")
