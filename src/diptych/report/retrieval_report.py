"""The report of a run from photos to articles as one HTML file: the numbers, then queries with what was found.

No other file, no network, no framework; everything that is not ours is escaped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from diptych.contracts.news import Candidate, NewsSource
from diptych.report.page import filter_box, render_frame
from diptych.report.pictures import Thumbnails
from diptych.report.retrieval_cards import ARTICLES, VERIFICATION, RetrievalCard, choose_cards, rank_of, read_cards
from diptych.stages.running.runner import StageRun

logger = logging.getLogger(__name__)

NUM_CANDIDATES = 5
MATCHES_SIZE = 960
_EXPLANATIONS = {
    "moved": ("Moved by verification", "Queries whose candidates have another order after geometric verification."),
    "wrong": ("Wrong", "Queries of an order that was kept whose first candidate is not of the right article."),
    "other": ("Others", "A draw from the other queries, with a fixed seed."),
}

_STYLE = """
.strip h4 { flex: 0 0 84px; width: 84px; margin: 0; font-size: 13px; font-weight: 600; color: var(--soft); }
figure figcaption .found { display: block; }
img.matches { display: block; max-width: 100%; height: auto; margin: 6px 0; border-radius: 6px; }
.facts .better { color: var(--right); font-weight: 600; }
"""


def write_retrieval_report(
    folder: Path, runs: Sequence[StageRun], source: NewsSource, split: str, max_queries: int = 24
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
    sections = [("stages", "Stages", _stages(folders))]
    if metrics := _read_json(folders, ARTICLES, "metrics.json"):
        sections.insert(0, ("metrics", "Metrics", _metrics(metrics)))
    counts = _read_json(folders, VERIFICATION, "verification.json")
    if counts is not None and any(counts["outcomes"].values()):  # policy=off compares nothing
        sections.append(("verification", "Geometric verification", _verification(counts)))
    cards = read_cards(runs, source, split)
    pictures = _Pictures(source, split)
    groups = choose_cards(cards, max_queries)
    for place, (name, chosen) in enumerate((name, chosen) for name, chosen in groups.items() if chosen):
        heading, explanation = _EXPLANATIONS[name]
        intro = _intro(cards) if place == 0 else ""
        body = "\n".join(_card(card, pictures) for card in chosen)
        sections.append((name, heading, f'<p class="soft">{escape(explanation)}</p>{intro}\n{body}'))
    if not cards:
        sections.append(("queries", "Queries", f'<p class="soft">No query has candidates.</p>{_FILTER}'))
    page = folder / "index.html"
    folder.mkdir(parents=True, exist_ok=True)
    shown = sum(map(len, groups.values()))
    lead = f"{shown:,} of {len(cards):,} queries shown"
    page.write_text(render_frame(f"{source.name} {split}: from photos to articles", lead, sections, _STYLE), "utf-8")
    if unreadable := pictures.unreadable:
        number = len(unreadable)
        logger.warning("%d photos of the report are grey tiles: they cannot be read, first %s", number, unreadable[0])
    return page


_FILTER = filter_box("a query id, an article id")


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


# ---------------------------------------------------------------------------------------------------- numbers


def _metrics(record: Mapping[str, Any]) -> str:
    """A row for each ranking; `articles` is the result."""
    names = list(dict.fromkeys(name for values in record["metrics"].values() for name in values))
    rows = [
        (name, [f"{values[key]:.4f}" if key in values else "" for key in names])
        for name, values in record["metrics"].items()
    ]
    note = f"How well the right article was found, over {record['queries']:,} queries of {record['split']}"
    note += f", {record['no_candidates']:,} of them without any candidate." if record.get("no_candidates") else "."
    return f'<p class="soft">{escape(note)}</p>{_table("ranking", names, rows)}'


def _stages(folders: Mapping[str, Path]) -> str:
    rows = []
    for name in folders:
        manifest = _read_json(folders, name, "manifest.json") or {}
        failed = manifest.get("failed", {})
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.items())
        rows.append((name, [f"{manifest.get('done', 0):,}", f"{sum(failed.values()):,}", reasons]))
    return _table("stage", ["done", "failed", "reasons"], rows)


def _verification(counts: Mapping[str, Any]) -> str:
    pairs = sum(counts["outcomes"].values())
    facts = {
        "queries": counts["queries"],
        "of these with another order": counts["moved"],
        "pairs of query and candidate": pairs,
    }
    facts |= {f"of these {name.replace('_', ' ')}": number for name, number in counts["outcomes"].items()}
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{value:,}</dd>" for name, value in facts.items()) + "</dl>"


def _table(first: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    head = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in (first, *columns))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, cells in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="group" aria-label="Table by {escape(first)}">{table}</div>'


# ---------------------------------------------------------------------------------------------------- queries


def _intro(cards: Sequence[RetrievalCard]) -> str:
    """What the frames mean, and the filter box."""
    items = '<li><i class="reference"></i>query photo</li>'
    if any(card.article_id is not None for card in cards):
        items += '<li><i class="target"></i>a photo of the right article</li>'
    return f'<ul class="legend">{items}</ul>\n{_FILTER}'


def _card(card: RetrievalCard, pictures: _Pictures) -> str:
    query_id = escape(card.query_id)
    photo = _figure("reference-image", pictures.query(card.query_id), "query photo", "", card.query_id)
    if card.moved:
        strips = _strip(card, "before", card.before, photo, pictures)
        strips += _strip(card, "after", card.after, photo, pictures)
    else:
        strips = _strip(card, "", card.after, photo, pictures)
    address = None if card.matches is None else pictures.matches(card.matches)
    if address is not None:
        words = f"matches of query {query_id} and its first candidate"
        strips += f'<img class="matches" src="{address}" alt="{words}">'
    return (
        f'<article><div class="head"><h3>Query {query_id}</h3><div class="facts">{_facts(card)}</div></div>\n'
        f"{strips}</article>"
    )


def _facts(card: RetrievalCard) -> str:
    if card.article_id is None:
        return "<span>answer not known</span>"
    rank = rank_of(card.article_id, card.after)
    facts = f'<span class="rank">right article {_in_words(rank)}</span><span>article {escape(card.article_id)}</span>'
    if card.moved:
        earlier = rank_of(card.article_id, card.before)
        gained = rank is not None and (earlier is None or rank < earlier)
        css = ' class="better"' if gained else ""
        facts += f"<span{css}>before verification {_in_words(earlier)}</span>"
    return facts


def _in_words(rank: int | None) -> str:
    return "not found" if rank is None else f"at rank {rank}"


def _strip(card: RetrievalCard, heading: str, candidates: Sequence[Candidate], photo: str, pictures: _Pictures) -> str:
    figures = ""
    for position, candidate in enumerate(candidates[:NUM_CANDIDATES], start=1):
        right = card.article_id is not None and candidate.article_id == card.article_id
        words = f"{position} right" if right else str(position)
        more = f"{candidate.score:.3f}{_found(card.findings.get(candidate.image_id))}"
        address = pictures.candidate(candidate.image_id)
        figures += _figure("target" if right else "", address, words, more, candidate.image_id, candidate.article_id)
    if not candidates:
        figures = '<p class="soft">no candidates</p>'
    label = f"{heading or 'candidates'} of query {escape(card.query_id)}"
    title = f"<h4>{heading}<br>verification</h4>" if heading else ""
    return f'<div class="strip" tabindex="0" role="group" aria-label="{label}">{title}{photo}{figures}</div>'


def _found(finding: Mapping[str, Any] | None) -> str:
    """What verification found, on a line of its own: the inliers, or why there are none."""
    if finding is None:
        return ""
    inliers = finding.get("inliers")
    words = finding["outcome"].replace("_", " ") if inliers is None else f"{inliers:,.0f} inliers"
    return f'<span class="found">{escape(words)}</span>'


def _figure(css: str, address: str | None, words: str, more: str, image_id: str, article_id: str | None = None) -> str:
    """A photo and what is said of it; `more` is HTML already."""
    name, described = escape(image_id), escape(f"{words}: {image_id}")
    if address is None:
        picture = f'<div class="missing" role="img" aria-label="no picture, {described}">{name}</div>'
    else:
        picture = f'<img src="{address}" alt="{described}" width="122" height="122">'
    source = "" if article_id is None else f'<span class="id">article {escape(article_id)}</span>'
    return (
        f'<figure class="{css}">{picture}<figcaption><b>{escape(words)}</b> {more}'
        f'<span class="id" title="{name}">{name}</span>{source}</figcaption></figure>'
    )


def _read_json(folders: Mapping[str, Path], stage: str, name: str) -> dict[str, Any] | None:
    """The object in a stage's file; None where there is no such stage or file."""
    path = folders.get(stage, Path()) / name
    if stage not in folders or not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); remove its folder, and run the pipeline again") from None
