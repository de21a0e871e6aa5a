"""The report as one HTML file: no other file, no network, no framework; everything that is not ours is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

from diptych.report.cards import QueryCard, Tile
from diptych.report.charts import Bar, bar_chart, line_chart
from diptych.report.pictures import Thumbnails
from diptych.report.style import SCRIPT, STYLE
from diptych.results.results_table import (
    MODEL,
    MetricRow,
    aspect_label,
    format_interval,
    format_value,
    is_fraction,
    metric_rows,
    protocol_facts,
    protocol_line,
    title_line,
    variants,
)

# The policy lets the page load nothing at all, and run only the one script that we wrote, by its hash.
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '$script_hash'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="soft">$lead</p>
$navigation</header>
$body
<script>$script</script>
</body>
</html>
""")


@dataclass(frozen=True, slots=True)
class CardSection:
    """A heading, a sentence that says how its queries were chosen, and their cards."""

    anchor: str
    heading: str
    explanation: str
    cards: Sequence[QueryCard]


def render_page(
    result: Mapping[str, Any],
    card_sections: Sequence[CardSection],
    thumbnails: Thumbnails,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    aspect_counts: Mapping[str, int],
) -> str:
    """The whole page: numbers, the aspects' bars, training curves if there are any, then the queries.

    `aspect_counts` are the numbers of queries behind each aspect's figures.
    """
    rows = metric_rows(result)
    sections = [("metrics", "Metrics", _metrics(result, rows)), *_aspect_sections(rows, aspect_counts)]
    if curves:
        charts = "".join(line_chart(name, points) for name, points in curves.items())
        sections.append(("training", "Training", f'<div class="side">{charts}</div>'))
    for place, part in enumerate(card_sections):
        intro = _intro(part.cards) if place == 0 else ""
        cards = "\n".join(_card(card, thumbnails) for card in part.cards)
        sections.append((part.anchor, part.heading, f'<p class="soft">{escape(part.explanation)}</p>{intro}\n{cards}'))
    return render_frame(title_line(result), f"Protocol {protocol_line(result)}", sections)


def render_frame(title: str, lead: str, sections: Sequence[tuple[str, str, str]], more_style: str = "") -> str:
    """A page of sections (anchor, heading, body), with links to them on top.

    Title, lead and headings are escaped here; a body is HTML already. One body holds the `filter_box`.
    `more_style` is added to the style sheet.
    """
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections)
    parts = "\n".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(heading)}</h2>\n{body}</section>'
        for anchor, heading, body in sections
    )
    navigation = f'<nav aria-label="Sections">{links}</nav>\n'
    return render_document(title, lead, f"<main>\n{parts}\n</main>", STYLE + more_style, SCRIPT, navigation)


def render_document(title: str, lead: str, body: str, style: str, script: str, navigation: str = "") -> str:
    """A whole HTML file that loads nothing and runs `script` alone. Title and lead are escaped here; body and
    navigation are HTML already.
    """
    return _PAGE.substitute(
        title=escape(title),
        lead=escape(lead),
        navigation=navigation,
        body=body,
        style=style,
        script=script,
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


_FRAME_NAMES = {
    "reference": "reference image",
    "target": "target image",
    "relevant": "another accepted answer",
    "was-reference": "the reference among the results",
}


def _intro(cards: Sequence[QueryCard]) -> str:
    """What the frames mean, and the filter box."""
    answered = any(card.target is not None for card in cards)
    frames = [frame for frame in _FRAME_NAMES if answered or frame == "reference"]
    items = "".join(f'<li><i class="{frame}"></i>{_FRAME_NAMES[frame]}</li>' for frame in frames)
    return f'<ul class="legend">{items}</ul>\n{filter_box("words of the text, a query id, an aspect")}'


def filter_box(hint: str) -> str:
    """The box that the page's script needs: it hides the queries whose heads do not hold all of its words."""
    return (
        '<p hidden><label for="filter">Show only queries with </label><input id="filter" type="search" '
        f'placeholder="{escape(hint)}"> <span id="shown" role="status"></span></p>'
    )


def _metrics(result: Mapping[str, Any], rows: Sequence[MetricRow]) -> str:
    overall = [row for row in rows if row.aspect is None]
    facts = [*protocol_facts(result), *_run_facts(result)]
    described = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    if not overall:
        return f"<p>No metrics: the answers of this split are hidden.</p><dl>{described}</dl>"
    table = _table("metric", [(row.key, row, []) for row in overall], [])
    note = "Recall and mAP in percent, with 95 % bootstrap intervals; ranks start at 1."
    if len(variants(overall)) > 1:
        note += " The baselines search with the same encoders: a model that is no better than “image only” or"
        note += " “text only” ignores half of the query."
    return f'<p class="soft">{note}</p>{table}<dl>{described}</dl>'


def _run_facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items())
    facts = {"checkpoint": result.get("checkpoint"), "seed": result.get("seed"), "processes": result.get("world_size")}
    return [(name, str(value)) for name, value in {**facts, "versions": versions}.items() if value not in (None, "")]


def _aspect_sections(rows: Sequence[MetricRow], counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    by_metric: dict[str, list[MetricRow]] = {}
    for row in rows:
        if row.aspect is not None:
            name = row.metric if row.set_name is None else f"{row.set_name}/{row.metric}"
            by_metric.setdefault(name, []).append(row)
    if not by_metric:
        return []
    by_changes = all(str(row.aspect).startswith("changes_") for group in by_metric.values() for row in group)
    heading = "Recall by number of changes" if by_changes else "By aspect"
    body = []
    for name, group in by_metric.items():
        lines = [(aspect_label(str(row.aspect)), row, [f"{counts.get(str(row.aspect), 0):,}"]) for row in group]
        chart = _aspect_chart(name, group) if is_fraction(group[0].metric) else ""
        body.append(f'<div class="side">{_table(name, lines, ["queries"])}<div>{chart}</div></div>')
    return [("aspects", heading, "\n".join(body))]


def _aspect_chart(title: str, group: Sequence[MetricRow]) -> str:
    names = variants(list(group))
    bars = []
    for row in group:
        cells = [(name, row.cells[name]) for name in names if name in row.cells]
        bars.append(
            (
                aspect_label(str(row.aspect)),
                [Bar(name, 100 * cell.value, _percent(cell.interval)) for name, cell in cells],
            )
        )
    legend = "".join(f'<li><i class="{name}"></i>{name.replace("_", " ")}</li>' for name in names)
    return f'{bar_chart(f"{title} per aspect, in percent", bars)}<ul class="legend">{legend}</ul>'


def _percent(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def _table(first: str, lines: Sequence[tuple[str, MetricRow, list[str]]], extra: Sequence[str]) -> str:
    """Rows of (label, metric, further cells that stand before the numbers)."""
    names = variants([row for _, row, _ in lines])
    head = "".join(
        f'<th scope="col">{escape(name)}</th>' for name in [first, *extra, *(n.replace("_", " ") for n in names)]
    )
    body = []
    for label, row, more in lines:
        cells = "".join(f"<td>{escape(text)}</td>" for text in more)
        for name in names:
            cell = row.cells.get(name)
            value = format_value(row.metric, cell.value) if cell else ""
            interval = format_interval(row.metric, cell.interval) if cell else ""
            small = f"<small>{interval}</small>" if interval else ""
            cells += f'<td class="{MODEL}">{value}{small}</td>' if name == MODEL else f"<td>{value}{small}</td>"
        body.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="group" aria-label="Table of {escape(first)}">{table}</div>'


def _card(card: QueryCard, thumbnails: Thumbnails) -> str:
    facts = [f'<span class="rank">{card.rank_text}</span>', f"<span>query {escape(card.query_id)}</span>"]
    if card.subset_rank is not None:
        facts.append(f"<span>rank {card.subset_rank} in its group</span>")
    facts += [f"<span>{escape(aspect_label(aspect))}</span>" for aspect in card.aspects]
    figures = [_figure(card.reference, "reference-image", "reference", "reference image", thumbnails)]
    figures += [_result(tile, thumbnails, framed=card.target is not None) for tile in card.results]
    if card.target is not None and not card.target_is_among_results:
        rank = "not in the list" if card.rank is None else f"rank {card.rank:,}"
        figures.append(_figure(card.target, "target answer", f"target, {rank}", f"target image, {rank}", thumbnails))
    return (
        f'<article><div class="head"><h3>{escape(card.text.strip() or "(no text)")}</h3>'
        f'<div class="facts">{"".join(facts)}</div></div>\n'
        f'<div class="strip" tabindex="0" role="group" aria-label="Pictures of query {escape(card.query_id)}">'
        f"{''.join(figures)}</div></article>"
    )


def _result(tile: Tile, thumbnails: Thumbnails, framed: bool) -> str:
    """One result; on splits with hidden answers nothing is framed, not even the reference."""
    role = tile.role if framed and tile.role != "other" else ""
    style = {"reference": "was-reference"}.get(role, role)
    words = f"{tile.position} {role}".strip()
    described = f"result {tile.position}" + (
        f", {role} image" if role in ("reference", "target") else ", accepted" if role else ""
    )
    return _figure(tile, f"result {style}".strip(), words, described, thumbnails)


def _figure(tile: Tile, css: str, words: str, described: str, thumbnails: Thumbnails) -> str:
    name, described = escape(tile.image_id), escape(f"{described}: {tile.image_id}")
    score = "" if tile.score is None else f" {tile.score:.3f}"
    address = thumbnails.data_uri(tile.path)
    if address is None:
        file_name = escape(tile.path.name if tile.path is not None else tile.image_id)
        picture = f'<div class="missing" role="img" aria-label="no picture, {described}">{file_name}</div>'
    else:
        picture = f'<img src="{address}" alt="{described}" width="122" height="122">'
    return (
        f'<figure class="{css}">{picture}<figcaption><b>{escape(words)}</b>{score} '
        f'<span class="id" title="{name}">{name}</span></figcaption></figure>'
    )
