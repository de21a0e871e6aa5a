"""The report of an evaluation of captions as one HTML file: the numbers, then photos with their captions and evidence.

No other file, no network, no framework; everything that is not ours is escaped.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from diptych.report.caption_cards import CaptionCard, EntitySpan, Passage, choose_cards, split_passages
from diptych.report.page import filter_box, render_frame
from diptych.report.pictures import Thumbnails
from diptych.results.results_table import MODEL, NO_VALUE, title_line

logger = logging.getLogger(__name__)

PHOTO_SIZE = 320
_PREVIEW_LENGTH = 70
_KNOWN_KEYS = ("experiment", "data", "split", "metrics", "queries", "references_per_item", "lines")
# Controls that a browser would swallow; texts of articles may hold them.
_VISIBLE_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), "\N{REPLACEMENT CHARACTER}")
_FILTER = filter_box("words of the caption, a query id, a stop reason")

_STYLE = """
:root { --bad: #c62828; --chosen: #fff3bf; --chosen-line: #e0a32e; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --chosen: #4a3f14; --chosen-line: #e9b95a; } }
.photo { display: grid; grid-template-columns: 320px minmax(0, 1fr); gap: 6px 24px; align-items: start; }
@media (max-width: 800px) { .photo { grid-template-columns: minmax(0, 1fr); } }
.photo > img, .photo > .missing { width: 100%; max-width: 320px; height: auto; border-radius: 6px;
  background: var(--tile); }
.photo > .missing { min-height: 160px; display: flex; align-items: center; justify-content: center; padding: 8px;
  color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.photo h3 { margin: 10px 0 2px; font-size: 13px; font-weight: 600; color: var(--soft); }
.photo h3:first-child, .photo .head > h3 { margin-top: 0; }
.photo p { margin: 0 0 6px; white-space: pre-line; overflow-wrap: anywhere; }
.photo p.fused { font-size: 17px; }
.entity { border-radius: 3px; padding: 0 2px; text-decoration-thickness: 2px; text-underline-offset: 3px; }
.supported { color: var(--right); text-decoration: underline solid; }
.unsupported { color: var(--bad); text-decoration: underline wavy; font-weight: 650; }
@media (prefers-color-scheme: light) { .supported { color: #0b7a35; } }
.text { margin: 4px 0 8px; max-width: 95ch; overflow-wrap: anywhere; white-space: pre-line; }
mark { background: var(--chosen); color: inherit; border-left: 3px solid var(--chosen-line); padding: 1px 3px 1px 5px;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.text > mark { display: block; margin: 3px 0; }
details { margin: 3px 0; }
details.rest, summary { color: var(--soft); font-size: 13px; }
details.rest > div { padding: 2px 0 4px 16px; font-size: 14px; }
summary { cursor: pointer; }
summary:focus-visible { outline: 3px solid var(--reference); outline-offset: 2px; }
.legend mark { padding: 1px 8px; }
"""


def write_caption_report(
    folder: Path, record: Mapping[str, Any], cards: Sequence[CaptionCard], max_cards: int = 60
) -> Path:
    """Writes `folder/index.html` and returns its path; the same arguments and files give the same bytes.

    Args:
        folder: Made if it does not exist; the page of an earlier report is replaced.
        record: The content of `metrics.json`. A metric `prefix/name` stands in the column `prefix` beside `name`.
        cards: Every scored query, in file order; what is shown of them is chosen by `choose_cards`. A photo that is
            missing or unreadable is shown as a grey tile, and the log counts them.
        max_cards: Shown on the page: 30 KB each for photographs and articles of 5,000 characters.
    """
    if max_cards < 1:
        raise ValueError(f"max_cards must be at least 1, got {max_cards}")
    thumbnails = Thumbnails(PHOTO_SIZE)
    sections = [("metrics", "Metrics", _metrics(record))]
    for place, part in enumerate(choose_cards(cards, max_cards)):
        intro = _intro(part.cards) if place == 0 else ""
        body = "\n".join(_card(card, thumbnails) for card in part.cards)
        sections.append((part.anchor, part.heading, f'<p class="soft">{escape(part.explanation)}</p>{intro}\n{body}'))
    if not cards:
        sections.append(("all", "All queries", f'<p class="soft">No query was scored.</p>{_FILTER}'))
    queries = record["queries"]
    lead = f"{queries['scored']:,} of {queries['expected']:,} queries scored"
    page = folder / "index.html"
    folder.mkdir(parents=True, exist_ok=True)
    text = render_frame(title_line(record), lead, sections, _STYLE)
    page.write_text(text, encoding="utf-8", errors="replace")  # a caption may hold half a surrogate pair
    if thumbnails.unreadable:
        number, first = len(thumbnails.unreadable), thumbnails.unreadable[0]
        logger.warning("%d photos of the report are grey tiles: they cannot be read, the first is %s", number, first)
    return page


# ---------------------------------------------------------------------------------------------------- numbers


def _metrics(record: Mapping[str, Any]) -> str:
    rows: dict[str, dict[str, float]] = {}
    for key, value in record["metrics"].items():
        prefix, _, name = key.rpartition("/")
        rows.setdefault(name, {})[prefix or MODEL] = math.nan if value is None else float(value)
    columns = list(dict.fromkeys([MODEL, *(column for row in rows.values() for column in row)]))
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in _facts(record))
    if not rows:
        return f"<p>No metrics: the answers of this split are hidden.</p><dl>{facts}</dl>"
    head = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in ["metric", *columns])
    body = "".join(f'<tr><th scope="row">{escape(name)}</th>{_cells(row, columns)}</tr>' for name, row in rows.items())
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="group" aria-label="Table of metrics">{table}</div><dl>{facts}</dl>'


def _cells(row: Mapping[str, float], columns: Sequence[str]) -> str:
    """A row's numbers: counts without decimals, everything else with four, or with one from ten on."""
    known = [value for value in row.values() if not math.isnan(value)]
    whole = bool(known) and all(value.is_integer() for value in known)
    cells = ""
    for column in columns:
        value = row.get(column)
        if value is None:
            text = ""
        elif math.isnan(value):
            text = NO_VALUE
        else:
            text = f"{value:,.0f}" if whole else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
        cells += f'<td class="{MODEL}">{text}</td>' if column == MODEL else f"<td>{text}</td>"
    return cells


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the numbers rest on, then everything else that the record holds."""
    facts = [(f"{name} rests on", str(line)) for name, line in (record.get("lines") or {}).items()]
    others = [(key.replace("_", " "), value) for key, value in record.items() if key not in _KNOWN_KEYS]
    return facts + [(name, _in_words(value)) for name, value in others if value not in (None, "", {}, [])]


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_in_words, value))
    return str(value)


# ---------------------------------------------------------------------------------------------------- queries


def _intro(cards: Sequence[CaptionCard]) -> str:
    """What the marks mean, and the filter box."""
    items = []
    if any(card.entities for card in cards):
        items.append('<li><span class="entity supported">name</span> in the evidence</li>')
        items.append('<li><span class="entity unsupported">name</span> not in the evidence</li>')
    if any(card.evidence.chunks for card in cards):
        items.append("<li><mark>text</mark> chosen from the article as evidence</li>")
    legend = f'<ul class="legend">{"".join(items)}</ul>' if items else ""
    return f"{legend}\n{_FILTER}"


def _card(card: CaptionCard, thumbnails: Thumbnails) -> str:
    facts = [f"<span>query {_text(card.query_id)}</span>"]
    facts += [f"<span>{_text(name)} {_number(value)}</span>" for name, value in card.metrics.items()]
    if card.entities:
        facts.append(f"<span>{card.num_unsupported} of {len(card.entities)} names unsupported</span>")
    if card.stop_reason:
        facts.append(f"<span>stopped: {_text(card.stop_reason)}</span>")
    if card.prompt_tokens is not None:
        facts.append(f"<span>prompt of {card.prompt_tokens:,} tokens</span>")
    texts = ""
    for number, caption in enumerate(card.reference_captions, start=1):
        which = f" {number}" if len(card.reference_captions) > 1 else ""
        texts += f"<h3>Reference caption{which}</h3><p>{_text(caption)}</p>"
    if card.base_caption:
        texts += f"<h3>Base caption</h3><p>{_text(card.base_caption)}</p>"
    return (
        f'<article><div class="photo">{_photo(card, thumbnails)}<div>'
        f'<div class="head"><h3>Fused caption</h3><p class="fused">{_fused_caption(card)}</p>'
        f'<div class="facts">{"".join(facts)}</div></div>{texts}{_evidence(card)}</div></div></article>'
    )


def _photo(card: CaptionCard, thumbnails: Thumbnails) -> str:
    query_id = _text(card.query_id)
    address = thumbnails.data_uri(card.image_path)
    if address is not None:
        return f'<img src="{address}" alt="photo of query {query_id}">'
    name = query_id if card.image_path is None else escape(card.image_path.name)
    return f'<div class="missing" role="img" aria-label="no photo, query {query_id}">no photo: {name}</div>'


def _fused_caption(card: CaptionCard) -> str:
    if not card.fused_caption.strip():
        return '<span class="soft">(empty)</span>'
    parts, place = [], 0
    for entity in sorted(card.entities, key=lambda entity: entity.start):
        parts.append(_text(card.fused_caption[place : entity.start]))
        parts.append(_entity(entity, card.fused_caption))
        place = entity.end
    return "".join(parts) + _text(card.fused_caption[place:])


def _entity(entity: EntitySpan, caption: str) -> str:
    kind, words = ("supported", "in the evidence") if entity.supported else ("unsupported", "not in the evidence")
    name = _text(caption[entity.start : entity.end])
    return f'<span class="entity {kind}" title="{_text(entity.label)}, {words}">{name}</span>'


def _evidence(card: CaptionCard) -> str:
    """The whole article with the chosen stretches marked, and the key facts."""
    if card.article is None:
        return '<h3>Evidence</h3><p class="soft">No article: the caption rests on the base caption alone.</p>'
    article = card.article
    source = ", ".join(_text(part) for part in (article.date, f"article {article.article_id}") if part)
    title = _text(article.title) or "(no title)"
    passages = "".join(map(_passage, split_passages(article.text, card.evidence.chunks)))
    if not article.text.strip():
        passages = '<span class="soft">(the article has no text)</span>'
    return f'<h3>Evidence: {title} ({source})</h3>{_key_facts(card)}<div class="text">{passages}</div>'


def _key_facts(card: CaptionCard) -> str:
    facts = card.evidence.facts
    groups = {name: getattr(facts, name) for name in facts.__slots__}
    listed = "; ".join(f"{name}: {', '.join(map(_text, values))}" for name, values in groups.items() if values)
    return f'<p class="soft">Key facts: {listed}</p>' if listed else ""


def _passage(passage: Passage) -> str:
    text = _text(passage.text.strip())
    if not text:
        return ""
    if passage.chosen:
        why = "taken whatever it says" if passage.score is None else f"similarity {passage.score:.3f}"
        return f'<mark title="chosen, {why}">{text}</mark>'
    preview = " ".join(passage.text.split())
    if len(preview) > _PREVIEW_LENGTH:
        preview = preview[: _PREVIEW_LENGTH - 1] + "…"
    summary = f"not chosen, {len(passage.text.strip()):,} characters: {_text(preview)}"
    return f'<details class="rest"><summary>{summary}</summary><div>{text}</div></details>'


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return NO_VALUE
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def _text(text: str) -> str:
    return escape(text.translate(_VISIBLE_CONTROLS))
