"""The table of ways of annotating, side by side, out of what `ways.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diptych.annotation.diversity import diversity_rows
from diptych.annotation.rates import rate_cell, text_table

AUDITED = ("sentences_hallucinated", "sentences_wrong", "changes_missed")


def ways_rows(content: Mapping[str, Any]) -> list[list[str]]:
    """What `ways.json` says as rows: a heading, then a cell for each way."""
    ways = list(content["ways"].values())
    rows = [
        ["model", *(record["model"] or "unknown" for record in ways)],
        ["pairs (in common)", *(f"{record['pairs']:,} ({record['common_pairs']:,})" for record in ways)],
    ]
    if any(record["audited"] for record in ways):
        for rate in AUDITED:
            cells = (rate_cell(record["audited"][rate]) if record["audited"] else "none" for record in ways)
            rows.append([f"{rate.replace('_', ' ')}, percent", *cells])
    if any(record["verified"] for record in ways):
        cells = (rate_cell(record["verified"]) if record["verified"] else "none" for record in ways)
        rows.append(["held true by a second model, percent", *cells])
    rows += diversity_rows({record["way"]: record["diversity"] for record in ways})
    for key, heading, form in (
        ("input_tokens", "input tokens a triplet", ",.0f"),
        ("output_tokens", "output tokens a triplet", ",.0f"),
        ("usd", "USD a triplet", ".5f"),
    ):
        rows.append([heading, *(_each(record["cost"], key, form) for record in ways)])
    return rows


def _each(cost: Mapping[str, Any] | None, key: str, form: str) -> str:
    number = None if cost is None else cost["per_triplet"][key]
    return "unknown" if number is None else format(number, form)


def ways_table(content: Mapping[str, Any]) -> str:
    """A column for each way."""
    return text_table([["", *content["ways"]], *ways_rows(content)])
