"""The report of a run from photos to articles as one HTML file: the numbers, then queries with what was found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.news import NewsSource
from diptych.report.pictures import Thumbnails
from diptych.report.rendering import Section, write_page
from diptych.report.retrieval_cards import ARTICLES, VERIFICATION, Reported, choose_cards, read_cards
from diptych.storage.json_files import read_json

log = logging.getLogger(__name__)

NUM_CANDIDATES = 5
MATCHES_SIZE = 960
_NUMBERS = {"metrics": "Metrics", "stages": "Stages", "verification": "Geometric verification"}
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
    that is missing or unreadable is shown as a grey tile, and the log counts them.

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
    pictures = _Pictures(source, split)
    counts = _read_json(folders, VERIFICATION, "verification.json")
    numbers = {
        "metrics": _metrics(_read_json(folders, ARTICLES, "metrics.json")),
        "stages": [(name, _counts(_read_json(folders, name, "manifest.json") or {})) for name in folders],
        "verification": _verification(counts) if counts is not None else [],
    }
    sections = [Section(name, _NUMBERS[name]) for name, content in numbers.items() if content or name == "stages"]
    sections += [Section(name, *_EXPLANATIONS[name], chosen) for name, chosen in groups.items() if chosen]
    if not cards:
        sections.append(Section("queries", "Queries", "No query has candidates.", ()))
    page = folder / "index.html"
    write_page(
        page,
        "articles.html.jinja",
        title=f"{source.name} {split}: from photos to articles",
        lead=f"{sum(map(len, groups.values())):,} of {len(cards):,} queries shown",
        sections=sections,
        answered=any(card.article_id is not None for card in cards),
        pictures=pictures,
        num_candidates=NUM_CANDIDATES,
        **numbers,
    )
    if unreadable := pictures.unreadable:
        number = len(unreadable)
        log.warning("%d photos of the report are grey tiles: they cannot be read, first %s", number, unreadable[0])
    return page


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


def _metrics(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A row for each ranking; `articles` is the result."""
    if not record:
        return None
    names = list(dict.fromkeys(name for values in record["metrics"].values() for name in values))
    rows = [
        (name, [f"{values[key]:.4f}" if key in values else "" for key in names])
        for name, values in record["metrics"].items()
    ]
    return {"no_candidates": 0, **record, "columns": ["ranking", *names], "rows": rows}


def _counts(manifest: Mapping[str, Any]) -> list[str]:
    failed = manifest.get("failed", {})
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.items())
    return [f"{manifest.get('done', 0):,}", f"{sum(failed.values()):,}", reasons]


def _verification(counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was compared; nothing with policy=off."""
    pairs = sum(counts["outcomes"].values())
    facts = {
        "queries": counts["queries"],
        "of these with another order": counts["moved"],
        "pairs of query and candidate": pairs,
    }
    facts |= {f"of these {name.replace('_', ' ')}": number for name, number in counts["outcomes"].items()}
    return [(name, f"{number:,}") for name, number in facts.items()] if pairs else []


def _read_json(folders: Mapping[str, Path], stage: str, name: str) -> dict[str, Any] | None:
    """The object in a stage's file; None where there is no such stage or file."""
    path = folders.get(stage, Path()) / name
    if stage not in folders or not path.is_file():
        return None
    return read_json(path, "remove its folder, and run the pipeline again")
