"""What the page of a run from photos to articles says in numbers: read from what its stages have left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.report.retrieval_cards import ARTICLES, VERIFICATION
from diptych.stages.running import manifest, times
from diptych.storage.json_files import read_json

COMPARISON = "compare_rankings"
_ORDERS = {
    "kept": "order kept",
    "better": "changed for the better",
    "worse": "changed for the worse",
    "other": "changed, the right article's place the same",
    "changed": "order changed",
}
_STEPS = {  # what a query passes through: the stages' names, or how they begin, and what they do
    "embed_queries": "embedding",
    "retrieve_images": "search",
    "ensemble": "fusion",
    VERIFICATION: "verification",
    "describe": "base caption",
}

Cells = list[str]


def retrieval_numbers(folders: Mapping[str, Path]) -> dict[str, Any]:
    """The contents of the page's sections of numbers by their names, empty where a run has no such numbers; and
    `headline`, what stands under the title.

    `folders` are those of the stages by name, in their order.

    Raises:
        ValueError: a file of a stage is damaged; names it.
    """
    counts = _read(folders, VERIFICATION, "verification.json")
    compared = _read(folders, COMPARISON, "metrics.json") or {}
    checked = compared.get("verification") or {}
    seconds = {name: times.seconds_per_record(folder) for name, folder in folders.items()}
    policy = _policy(_read(folders, VERIFICATION, manifest.FILE))
    latency = _latency(seconds, policy)
    verification = _verification(counts, checked) if counts is not None else []
    facts = [(f"verification ({policy})", _shares(checked))] if checked else []
    facts += [("seconds per query", latency[1])] if latency else []
    signatures = list(compared.get("signatures") or [])
    fell_back = checked.get("fell_back")
    headline = [latency[0]] if latency else []
    headline += [f"verification fell back for {_share(fell_back, checked['queries'])}"] if fell_back is not None else []
    return {
        "headline": headline,
        "summary": {"facts": facts, "signatures": signatures} if facts or signatures else None,
        "metrics": _metrics(_read(folders, ARTICLES, "metrics.json")),
        "encoders": _encoders(compared) if compared else None,
        "verification": verification,
        "stages": [
            (name, [*_counts(_read(folders, name, manifest.FILE) or {}), *_seconds(folder)])
            for name, folder in folders.items()
        ],
    }


def _metrics(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A row for each ranking; `articles` is the result."""
    if not record:
        return None
    return {"no_candidates": 0, **record, **_table("ranking", record["metrics"])}


def _encoders(compared: Mapping[str, Any]) -> dict[str, Any] | None:
    """Two tables: how much each two encoders overlap, and the scores of each, of all, and of all but one."""
    tables = [_table(heading, compared[key]) for heading, key in (("encoders", "overlap"), ("ranking", "metrics"))]
    return {"tables": [table for table in tables if table["rows"]]} if any(table["rows"] for table in tables) else None


def _table(heading: str, values: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for of_row in values.values() for name in of_row))
    rows = [(name, [f"{of_row[key]:.4f}" if key in of_row else "" for key in names]) for name, of_row in values.items()]
    return {"columns": [heading, *names], "rows": rows}


def _counts(of_stage: Mapping[str, Any]) -> Cells:
    failed = of_stage.get("failed", {})
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.items())
    return [f"{of_stage.get('done', 0):,}", f"{sum(failed.values()):,}", reasons]


def _seconds(folder: Path) -> Cells:
    """All seconds, and those of a record; empty where no time was taken."""
    found, each = times.read_times(folder), times.seconds_per_record(folder)
    return ["", ""] if found is None or each is None else [f"{found['seconds']:,.1f}", _short(each)]


def _latency(seconds: Mapping[str, float | None], policy: str) -> tuple[str, str] | None:
    """The sum over what a query passes through, and its parts: by step, and by encoder where there are several."""
    parts, total = [], 0.0
    for stage, step in _STEPS.items():
        members = {
            name.removeprefix(f"{stage}_"): value
            for name, value in seconds.items()
            if value is not None and (name == stage or name.startswith(f"{stage}_"))
        }
        if not members:
            continue
        total += sum(members.values())
        each = ", ".join(f"{name} {_short(value)}" for name, value in members.items())
        more = f" ({policy})" if stage == VERIFICATION else f" ({each})" if stage not in members else ""
        parts.append(f"{step} {_short(sum(members.values()))}{more}")
    return (f"{_short(total)} s per query", f"{_short(total)} in all: {'; '.join(parts)}") if parts else None


def _verification(counts: Mapping[str, Any], checked: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was compared; nothing with policy=off."""
    pairs = sum(counts["outcomes"].values())
    if not pairs:
        return []
    facts = {"queries": counts["queries"], "of these with another order": counts["moved"]}
    if "fell_back" in counts:
        facts["of these with the embeddings' order, for want of anything to go by"] = counts["fell_back"]
    shares = [(_ORDERS[name], _share(number, sum(checked["orders"].values()))) for name, number in _orders(checked)]
    facts_of_pairs = {"pairs of query and candidate": pairs}
    facts_of_pairs |= {f"of these {name.replace('_', ' ')}": number for name, number in counts["outcomes"].items()}
    moved = {
        "right articles brought to the first place": checked.get("first_won"),
        "right articles taken from the first place": checked.get("first_lost"),
    }
    numbers = [(name, f"{number:,}") for name, number in facts.items()]
    others = {**{name: number for name, number in moved.items() if number is not None}, **facts_of_pairs}
    return [*numbers, *shares, *((name, f"{number:,}") for name, number in others.items())]


def _shares(checked: Mapping[str, Any]) -> str:
    total = sum(checked["orders"].values())
    parts = [f"{_ORDERS[name]} {100 * number / total:.1f} %" for name, number in _orders(checked)]
    if checked.get("fell_back") is not None:
        parts.append(f"fell back to the embeddings' order {100 * checked['fell_back'] / checked['queries']:.1f} %")
    return "; ".join(parts)


def _orders(checked: Mapping[str, Any]) -> list[tuple[str, int]]:
    return list((checked.get("orders") or {}).items())


def _policy(of_stage: Mapping[str, Any] | None) -> str:
    """The name of the policy as `policy=` has it, as far as its class tells: `verified` for VerifiedPolicy."""
    policy = (of_stage or {}).get("settings", {}).get("policy")
    if not policy:
        return "off"
    return str(policy["_target_"]).rpartition(".")[2].removesuffix("Policy").lower()


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / whole:.1f} %)"


def _short(seconds: float) -> str:
    return f"{seconds:.4f}" if seconds < 1 else f"{seconds:.2f}"


def _read(folders: Mapping[str, Path], stage: str, name: str) -> dict[str, Any] | None:
    """The object in a stage's file; None where there is no such stage or file."""
    path = folders.get(stage, Path()) / name
    if stage not in folders or not path.is_file():
        return None
    return read_json(path, "remove its folder, and run the pipeline again", shape=dict)
