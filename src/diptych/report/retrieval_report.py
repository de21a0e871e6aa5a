"""The report of a run from photos to articles as one HTML file: the numbers, then queries with what was found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from diptych.contracts.news import NewsSource
from diptych.report.pictures import Thumbnails
from diptych.report.rendering import Section, write_page
from diptych.report.retrieval_cards import Reported, choose_cards, read_cards
from diptych.report.retrieval_numbers import retrieval_numbers

log = logging.getLogger(__name__)

NUM_CANDIDATES = 5
MATCHES_SIZE = 960
_NUMBERS = {
    "summary": "In short",
    "metrics": "Metrics",
    "encoders": "What each encoder adds",
    "verification": "Geometric verification",
    "stages": "Stages",
}
_EXPLANATIONS = {
    "moved": ("Moved by verification", "Queries whose candidates have another order after geometric verification."),
    "wrong": ("Wrong", "Queries of an order that was kept whose first candidate is not of the right article."),
    "other": ("Others", "A draw from the other queries, with a fixed seed."),
}


def write_retrieval_report(
    folder: Path, runs: Sequence[Reported], source: NewsSource, split: str, max_queries: int = 24
) -> Path:
    """Writes `folder/index.html` and returns its path; the same run and data give the same bytes.

    What the run does not have is left out: metrics where answers are hidden, verification where there was none. A photo
    that is missing or unreadable is shown as a grey tile, and the log counts them. An article has its title beside its
    id, where it has one.

    Args:
        folder: Made if it does not exist; the page of an earlier report is replaced.
        runs: The stages of the pipeline, which has run, in their order.
        source: Where photos lie, and which articles are right.
        split: Of the source's queries.
        max_queries: Shown on the page, about 50 KB each for photographs (see `choose_cards`).

    Raises:
        ValueError: a file of a stage is damaged; names it.
    """
    folders = {run.name: run.folder for run in runs}
    cards = read_cards(runs, source, split)
    groups = choose_cards(cards, max_queries)
    shown = [card for chosen in groups.values() for card in chosen]
    named = [each.article_id for card in shown for side in (card.before, card.after) for each in side[:NUM_CANDIDATES]]
    pictures = _Pictures(source, split)
    numbers = retrieval_numbers(folders)
    lead = [f"{sum(map(len, groups.values())):,} of {len(cards):,} queries shown", *numbers.pop("headline")]
    sections = [Section(name, _NUMBERS[name]) for name, content in numbers.items() if content or name == "stages"]
    sections += [Section(name, *_EXPLANATIONS[name], chosen) for name, chosen in groups.items() if chosen]
    if not cards:
        sections.append(Section("queries", "Queries", "No query has candidates.", ()))
    page = folder / "index.html"
    write_page(
        page,
        "articles.html.jinja",
        title=f"{source.name} {split}: from photos to articles",
        lead="; ".join(lead),
        sections=sections,
        answered=any(card.article_id is not None for card in cards),
        pictures=pictures,
        titles=_titles(source, [*named, *(card.article_id for card in shown)]),
        num_candidates=NUM_CANDIDATES,
        **numbers,
    )
    if unreadable := pictures.unreadable:
        number = len(unreadable)
        log.warning("%d photos of the report are grey tiles: they cannot be read, first %s", number, unreadable[0])
    return page


def _titles(source: NewsSource, article_ids: Iterable[str | None]) -> dict[str, str]:
    """The titles of those articles that have one. A report does not need them: where data is gone, the log says so."""
    found = {}
    try:
        articles = source.articles()
        for article_id in dict.fromkeys(article_ids):
            if article_id is not None and article_id in articles and (title := articles[article_id].title.strip()):
                found[article_id] = title
    except (ValueError, OSError) as error:
        log.warning("The report has no titles of articles: %s", error)
    return found


class _Pictures:
    """The photos of the run as embedded thumbnails."""

    def __init__(self, source: NewsSource, split: str) -> None:
        self._source, self._split = source, split
        self._photos, self._matches = Thumbnails(), Thumbnails(MATCHES_SIZE)

    @property
    def unreadable(self) -> list[Path]:
        """The photos that could not be read."""
        return self._photos.unreadable

    def query(self, query_id: str) -> str | None:
        """A query's photo."""
        return self._address(lambda: self._source.image_path(self._split, query_id))

    def candidate(self, image_id: str) -> str | None:
        """A photo of the database."""
        return self._address(lambda: self._source.database_image_path(image_id))

    def matches(self, path: Path) -> str | None:
        """A picture of matches."""
        return self._matches.data_uri(path)

    def _address(self, path: Callable[[], Path]) -> str | None:
        try:
            return self._photos.data_uri(path())
        except ValueError:  # an id that leads outside the data
            return None
