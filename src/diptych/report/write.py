"""Writes a retrieval report: `index.html`, which needs no other file and no network, and `sheet.png`, one picture."""

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
from diptych.report.rendering import Section, write_page
from diptych.report.sheet import NUM_RESULTS as SHEET_RESULTS
from diptych.report.sheet import draw_sheet
from diptych.results.results_table import aspect_label, protocol_line, title_line
from diptych.storage.whole import whole_file

log = logging.getLogger(__name__)

PAGE_RESULTS = 8
SHEET_WORST, SHEET_RANDOM = 6, 6


def write_report(
    folder: Path,
    result: Mapping[str, Any],
    ranked: Sequence[RankedQuery],
    queries: Sequence[Query],
    image_paths: Mapping[str, Path] | Callable[[str], Path],
    training_curve: Path | None = None,
    max_queries: int = 60,
) -> Path:
    """Writes `folder/index.html` and `folder/sheet.png` and returns the page's path.

    Args:
        folder: Made if it does not exist; files of an earlier report are replaced.
        result: The content of `metrics.json`.
        ranked: The rankings; their query ids are among those of `queries` (ValueError otherwise).
        queries: The split's queries, in file order.
        image_paths: The file of each image id. One that is missing, refused or unreadable is shown as a grey tile.
        training_curve: The training run's `metrics.csv`; its loss and the primary metric by step are drawn.
        max_queries: Shown on the page: two thirds worst ones, one third a random draw; 65 KB each for photographs.

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
    sections += _sections(cards(worst, PAGE_RESULTS), cards(drawn, PAGE_RESULTS), hidden, len(pairs))
    page = folder / "index.html"
    write_page(
        page,
        "evaluation.html.jinja",
        title=title_line(result),
        lead=f"Protocol {protocol_line(result)}",
        sections=sections,
        frames=shown_frames(answered=not hidden),
        picture=thumbnails.data_uri,
        aspect_label=aspect_label,
        **numbers,
    )

    worst, drawn = choose_queries(pairs, SHEET_WORST, SHEET_RANDOM)
    first = "First queries of the split (answers hidden)" if hidden else "Worst queries"
    groups = [(first, cards(worst, SHEET_RESULTS)), ("A random draw from the others", cards(drawn, SHEET_RESULTS))]
    with whole_file(folder / "sheet.png") as temporary:
        draw_sheet(result, groups, thumbnails).save(temporary, "PNG", compress_level=3)
    missing = [*map(str, thumbnails.unreadable), *dict.fromkeys(unknown)]
    if missing:
        log.warning(
            "%d pictures of the report are grey tiles: they cannot be read, the first is %s", len(missing), missing[0]
        )
    return page


def _sections(worst: Sequence[QueryCard], drawn: Sequence[QueryCard], hidden: bool, num_queries: int) -> list[Section]:
    if hidden:
        explanation = (
            f"{len(worst)} of {num_queries:,} queries, in file order. The answers of this split are hidden: "
            "no result is framed."
        )
        sections = [Section("queries", "Results", explanation, worst)]
    else:
        explanation = f"{len(worst)} of {num_queries:,} queries, those first whose target stands last in the ranking."
        sections = [Section("worst", "Worst queries first", explanation, worst)]
    if drawn:
        explanation = (
            f"{len(drawn)} of the other queries, drawn with a fixed seed: how the model does on an ordinary one."
        )
        sections.append(Section("random", "A random draw from the others", explanation, drawn))
    return sections


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
