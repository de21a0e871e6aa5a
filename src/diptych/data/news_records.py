"""The words of event-enriched captioning: what its parts hand to each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Article:
    """One news article as published: its text may hold line breaks and other control characters.

    `url`, `title`, `text` and `date` (ISO 8601, UTC) are empty where the publication has none. `image_ids` are the
    photos printed with it, in its order.
    """

    article_id: str
    url: str
    title: str
    text: str
    date: str
    image_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewsQuery:
    """A news photo that is to be captioned. The photo's own id is the query id.

    `reference_captions` holds every ground truth in file order, and is empty on splits whose answers are hidden.
    `article_id` and `image_id` are the annotated article and the database photo printed with it; None where the
    annotation names none, and on hidden splits.
    """

    query_id: str
    reference_captions: tuple[str, ...] = ()
    article_id: str | None = None
    image_id: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A database photo proposed for a query, with the article it was printed with (None: not known)."""

    image_id: str
    article_id: str | None
    score: float
