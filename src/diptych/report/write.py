"""Writes a retrieval report: `index.html`, which needs no network, and `sheet.jpg`, one picture.

All queries are on the page. It has pictures of its own while it is of a size that opens at once: a run of some hundred
queries is one file that can be sent. The other pictures are shown from where they lie, and are grey where that is not
at hand.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import Query, RankedQuery
from diptych.report.cards import Pair, QueryCard, build_card, choose_queries, pair_with_queries, shown_frames
from diptych.report.charts import read_curves
from diptych.report.page import number_sections
from diptych.report.pictures import Thumbnails
from diptych.report.query_table import QueryTable
from diptych.report.rendering import Section, write_page
from diptych.report.sheet import NUM_RESULTS as SHEET_RESULTS
from diptych.report.sheet import draw_sheet, headline, save_sheet
from diptych.results.results_table import aspect_label, protocol_line, title_line

log = logging.getLogger(__name__)

SHEET = "sheet.jpg"
PAGE_RESULTS = 8
SHEET_WORST, SHEET_RANDOM = 6, 6
PAGE_SIZE = 10_000_000  # characters, up to which a page takes pictures in


def write_report(
    folder: Path,
    result: Mapping[str, Any],
    ranked: Sequence[RankedQuery],
    queries: Sequence[Query],
    image_paths: Mapping[str, Path] | Callable[[str], Path],
    training_curve: Path | None = None,
    max_queries: int = 60,
) -> Path:
    """Writes `folder/index.html` and `folder/sheet.jpg` and returns the page's path.

    Args:
        folder: Made if it does not exist; files of an earlier report are replaced.
        result: The content of `metrics.json`.
        ranked: The rankings; their query ids are among those of `queries` (ValueError otherwise).
        queries: The split's queries, in file order.
        image_paths: The file of each image id. One that is missing, refused or unreadable is shown as a grey tile.
        training_curve: The training run's `metrics.csv`; its loss and the primary metric by step are drawn.
        max_queries: Written out, for readers without scripts, with pictures of their own (65 KB each for photographs):
            two thirds worst ones, one third a random draw. The page's script shows all, 200 bytes each.

    The same arguments and files give the same bytes.
    """
    if max_queries < 1:
        raise ValueError(f"max_queries must be at least 1, got {max_queries}")
    folder.mkdir(parents=True, exist_ok=True)
    pairs = pair_with_queries(ranked, queries)
    unknown: list[str] = []
    find = _path_finder(image_paths, unknown)
    thumbnails = Thumbnails()

    def cards(chosen: Sequence[Pair], num_results: int) -> list[QueryCard]:
        return [build_card(pair, find, num_results) for pair in chosen]

    hidden = all(query.target_image is None for _, query in pairs)
    num_worst = max_queries if len(pairs) <= max_queries else max(1, max_queries * 2 // 3)
    worst, drawn = choose_queries(pairs, num_worst, max_queries - num_worst)
    curves = read_curves(training_curve, _curve_columns(result)) if training_curve is not None else {}
    aspect_counts = Counter(aspect for _, query in pairs for aspect in query.aspects)
    aspect_counts |= Counter(result.get("aspect_queries") or {})  # parts that the queries themselves do not name
    sections, numbers = number_sections(result, aspect_counts, curves)
    written = cards([*worst, *drawn], PAGE_RESULTS)
    explanation = _explanation(len(worst), len(drawn), hidden, len(pairs))
    table = QueryTable(pairs, find, PAGE_RESULTS)
    page = folder / "index.html"
    write_page(
        page,
        "evaluation.html.jinja",
        title=title_line(result),
        lead=f"Protocol {protocol_line(result)}",
        headline=headline(result),
        sections=[Section("queries", "Queries", explanation, written), *sections],
        frames=shown_frames(answered=not hidden),
        picture=thumbnails.data_uri,
        aspect_label=aspect_label,
        table=table,
        content=_content(table, pairs, written, thumbnails, folder),
        **numbers,
    )

    worst, drawn = choose_queries(pairs, SHEET_WORST, SHEET_RANDOM)
    first = "First queries of the split (answers hidden)" if hidden else "Worst queries"
    groups = [(first, cards(worst, SHEET_RESULTS)), ("A random draw from the others", cards(drawn, SHEET_RESULTS))]
    save_sheet(draw_sheet(result, groups, thumbnails), folder / SHEET)
    missing = [*map(str, thumbnails.unreadable), *dict.fromkeys(unknown)]
    if missing:
        log.warning(
            "%d pictures of the report are grey tiles: they cannot be read, the first is %s", len(missing), missing[0]
        )
    return page


def _explanation(num_worst: int, num_drawn: int, hidden: bool, num_queries: int) -> str:
    """How the queries that are written out were chosen."""
    if hidden:
        chosen = f"{num_worst} of {num_queries:,} queries, in file order. The answers of this split are hidden: "
        chosen += "no result is framed."
    else:
        chosen = f"{num_worst} of {num_queries:,} queries, those first whose target stands last in the ranking."
    drawn = f" Then {num_drawn} of the others, drawn with a fixed seed: how the model does on an ordinary one."
    return f"{chosen}{drawn * bool(num_drawn)}"


def _content(
    table: QueryTable, pairs: Sequence[Pair], written: Sequence[QueryCard], thumbnails: Thumbnails, folder: Path
) -> dict[str, Any]:
    """What the page's script reads, with pictures as far as the page has room for them."""
    tiles = [tile for card in written for tile in (card.reference, card.target, *card.results) if tile is not None]
    used = sum(len(thumbnails.data_uri(tile.path) or "") for tile in tiles)
    used += len(repr(table.content(folder, {})))  # about as long as what is written of it
    worst_first, _ = choose_queries(pairs, len(pairs), 0)
    pictures = table.pictures(
        (query.query_id for _, query in worst_first),
        (card.query_id for card in written),
        thumbnails.data_uri,
        PAGE_SIZE - used,
    )
    return table.content(folder, pictures)


def _curve_columns(result: Mapping[str, Any]) -> list[str]:
    """Loss per step or per epoch, whichever was logged, and the metric that chooses the best checkpoint."""
    columns = ["train/loss", "train/loss_step", "train/loss_epoch"]
    primary = result["protocol"].get("primary_metric")
    return [*columns, f"val/{primary}"] if primary else columns


def _path_finder(
    image_paths: Mapping[str, Path] | Callable[[str], Path], unknown: list[str]
) -> Callable[[str], Path | None]:
    """A lookup that gives None, and notes the id in `unknown`, where the source has no file for it or refuses it."""
    find = image_paths.__getitem__ if isinstance(image_paths, Mapping) else image_paths

    def path_or_none(image_id: str) -> Path | None:
        try:
            return Path(find(image_id))
        except (KeyError, ValueError) as error:
            log.debug("A grey tile in the report for image %r: %s", image_id, error)
            unknown.append(image_id)
            return None

    return path_or_none
