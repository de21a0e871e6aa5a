"""The table of a loop's rounds: what was annotated, what it cost, how true it was, and what the model then found."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from diptych.annotation.rates import text_table
from diptych.stages.annotation.mine_failures import SUMMARY as FAILURES
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count
from diptych.storage.spreadsheet_cells import harmless_cell
from diptych.storage.whole import whole_file
from diptych.studying.arm_spending import SPENT, spent
from diptych.studying.result import StudyResult
from diptych.sweeping.pipeline_results import AUDIT, result_of_pipeline
from diptych.sweeping.run_records import RESULT

FILE = "rounds.csv"
START = "start"
AUDITED = ("claims_hallucinated", "claims_wrong", "changes_missed")
_BY_KIND = "recall_at_1/changed_"
_METRICS = {"metrics": {str: (float, None)}}
_FAILURES = {"queries": Count, "found": Count, "missed_for": {str: Count}}


def round_lines(result: StudyResult) -> list[dict[str, float | str]]:
    """A line for each arm that has results, in the plan's order; numbers are means over the seeds.

    `annotated`, `requests`, tokens and `cost_usd` are sums over all rounds up to this one. The audit's rates are those
    of the round's own sentences, and `training_found`, `missed_for_<what>` the shares of training queries by which its
    pairs were found, of the model before. `recall_at_<k>` and, by kind of change, `missed/<kind>`, the share of
    evaluated queries whose target does not come first, are the round's model's; `usd_per_point` is what was paid beyond
    the arm `start`, for each point of percent of recall_at_1 beyond its. What an arm does not have is NaN.
    """
    lines: list[dict[str, float | str]] = []
    start: Mapping[str, float] | None = None
    for arm in result.study.arms:
        if arm.name not in result.values:
            continue
        seeds = [
            _of_seed([result.runs[name].folder for name in names if name in result.runs])
            for names in arm.steps.values()
        ]
        keys = dict.fromkeys(key for seed in seeds for key in seed)
        numbers = {key: fmean(seed.get(key, math.nan) for seed in seeds) for key in keys}
        if arm.name == START:
            start = numbers
        points, dollars = (
            numbers.get(key, math.nan) - (start or {}).get(key, math.nan) for key in ("recall_at_1", "cost_usd")
        )
        numbers["usd_per_point"] = dollars / (100 * points) if points > 0 else math.nan
        lines.append({"arm": arm.name, "seeds": len(seeds), **numbers})
    return lines


def write_rounds(folder: Path, lines: Sequence[Mapping[str, float | str]]) -> Path:
    """`rounds.csv`, all numbers as they are, an empty field where there is none; returns its path."""
    path, names = folder / FILE, _names(lines)
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for line in lines:
            cells = [line.get(name, math.nan) for name in names]
            writer.writerow([harmless_cell("" if cell != cell else cell) for cell in cells])
    return path


def rounds_table(lines: Sequence[Mapping[str, float | str]]) -> str:
    """The same for people to read, a column for each arm: shares in percent."""
    return text_table([[name, *(_shown(name, line.get(name, math.nan)) for line in lines)] for name in _names(lines)])


def _of_seed(folders: Sequence[Path]) -> dict[str, float]:
    """The numbers of an arm's steps for one seed, the last one's evaluation among them."""
    found = spent(folders)
    for folder in folders:
        found |= _mined(folder) | _audited(folder)
    metrics = (read_json(folders[-1] / RESULT, missing_ok=True, shape=_METRICS) or {"metrics": {}})["metrics"]
    for key, value in metrics.items():
        if value is not None and re.fullmatch(r"recall_at_\d+", key):
            found[key] = value
        elif value is not None and key.startswith(_BY_KIND):
            found[f"missed/{key.removeprefix(_BY_KIND)}"] = 1 - value
    return found


def _mined(folder: Path) -> dict[str, float]:
    counts = read_json(folder / "mine_failures" / FAILURES, missing_ok=True, shape=_FAILURES)
    if counts is None:
        return {}
    shares = {"training_found": counts["found"]} | {f"missed_for_{k}": n for k, n in counts["missed_for"].items()}
    return {name: number / counts["queries"] for name, number in shares.items()}


def _audited(folder: Path) -> dict[str, float]:
    found = result_of_pipeline(folder) if (folder / AUDIT).is_file() else None
    metrics = {} if found is None else found["metrics"]
    return {key.rpartition("/")[2]: value for key, value in metrics.items() if key.rpartition("/")[2] in AUDITED}


def _names(lines: Sequence[Mapping[str, float | str]]) -> list[str]:
    """What the lines have, in the order of the loop: annotated, paid, audited, missed in training, found."""
    first = ("arm", "seeds", *SPENT, *AUDITED, "training_found")
    last = ("recall_at_1", "recall_at_5", "usd_per_point")
    there = sorted({name for line in lines for name in line})
    between = [name for name in there if name.startswith("missed_for_")]
    rest = [name for name in there if name not in (*first, *last, *between)]
    return [name for name in (*first, *between, *last, *rest) if name in there]


def _shown(name: str, value: float | str) -> str:
    if isinstance(value, str) or value != value:
        return value if isinstance(value, str) else ""
    if name in ("cost_usd", "usd_per_point"):
        return f"{value:.2f}"
    return f"{value:,.0f}" if name in SPENT or name == "seeds" else f"{100 * value:.1f}"
