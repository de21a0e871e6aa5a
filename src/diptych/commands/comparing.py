"""`diptych report compare=[a,b]`: two evaluations side by side on one page, with the pictures of their data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.commands.triplet_sources import triplet_sources
from diptych.config.command_line import composed
from diptych.contracts.retrieval import Query, RankedQuery, TripletSource
from diptych.ranking.predictions_file import read_lines_of_sets
from diptych.report.comparison_page import MetricDifference, write_comparison
from diptych.report.moved_queries import Compared
from diptych.results.record import PREDICTIONS
from diptych.sweeping.comparison import better_run, compare_runs

log = logging.getLogger(__name__)


def compare_on_a_page(first: Path, second: Path, overrides: Sequence[str], folder: Path) -> Path:
    """Writes the page of `write_comparison` about two evaluations of retrieval into `folder`; returns its path.

    Queries and pictures are those of the data that metrics.json names, unless `overrides` name other data.

    Raises:
        ValueError: the two do not compare (see `compare_runs`), are of captions, or lack what is read of them; or the
            data has not their queries.
    """
    differences, left_out, runs = compare_runs(first, second)
    result = runs[1].result or {}
    if "protocol" not in result:
        raise ValueError(
            f"{first} and {second} are of captions, whose numbers diptych sweep compare=[A,B] compares; "
            "a page with pictures there is of composed image retrieval"
        )
    sources = _sources(result, overrides)
    compared = compared_queries(first, second, {name: of.queries(result["split"]) for name, of in sources.items()})
    pictures = {name: _paths(source, result["split"]) for name, source in sources.items()}
    only = next(iter(sources))

    def image_path(set_name: str, image_id: str) -> Path | None:
        name = set_name or only
        if image_id in pictures[name]:
            return pictures[name][image_id]
        try:
            return sources[name].image_path(result["split"], image_id)
        except ValueError as error:
            log.debug("A grey tile for image %r: %s", image_id, error)
            return None

    rows = [
        MetricDifference(
            row.metric,
            (meaning := runs[0].meaning(row.metric)),
            row.first,
            row.second,
            row.interval,
            row.p_value,
            better_run(row, meaning),
        )
        for row in differences
    ]
    return write_comparison(folder, (str(first), str(second)), result, rows, left_out, compared, image_path)


def compared_queries(first: Path, second: Path, queries: Mapping[str, Sequence[Query]]) -> list[Compared]:
    """What both evaluations' predictions.jsonl say of the queries, which are given by set; in file order.

    Raises:
        ValueError: a file is missing or damaged, or has no or other queries; names it.
    """
    lines = [read_lines_of_sets(folder / PREDICTIONS) for folder in (first, second)]
    several = any(set_name is not None for set_name, _ in lines[0])
    found = []
    for set_name, of_set in queries.items():
        for query in of_set:
            key = set_name if several else None, query.query_id
            if all(key in of_run for of_run in lines):
                sides = [_ranked(of_run[key], query) for of_run in lines]
                found.append(Compared(query, sides[0], sides[1], set_name if several else ""))
    for folder, of_run in zip((first, second), lines, strict=True):
        if unknown := len(of_run) - len(found):
            raise ValueError(
                f"{folder / PREDICTIONS}: {unknown} of its {len(of_run)} queries are not among those of "
                f"{', '.join(queries)}; name the data that the two were evaluated on, as data=NAME"
            )
    return found


def _sources(result: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, TripletSource]:
    names = [result["data"]] if isinstance(result["data"], str) else list(result["data"])
    named = any(word.startswith("data=") for word in overrides)
    words = [] if named else [f"data=[{','.join(names)}]" if len(names) > 1 else f"data={names[0]}"]
    try:
        return triplet_sources(composed("train", [*words, *overrides]), result["split"])
    except ValueError as error:
        if named:
            raise
        raise ValueError(
            f"the queries of {', '.join(names)} cannot be read; name their data, data=...: {error}"
        ) from error


def _paths(source: TripletSource, split: str) -> dict[str, Path]:
    """The gallery's files; none where the files that list it are not here."""
    try:
        return {image.image_id: image.path for image in source.gallery(split)}
    except ValueError as error:
        log.warning("pictures of the gallery of %s are grey: %s", source.name, error)
        return {}


def _ranked(line: Mapping[str, Any], query: Query) -> RankedQuery:
    rank = line.get("target_rank")
    ranked_ids, scores = tuple(line["ranked_ids"]), tuple(line.get("scores", ()))
    return RankedQuery(query.query_id, ranked_ids, scores, rank, () if rank is None else (rank,), 1)
