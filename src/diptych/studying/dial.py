"""What the arms of a study lie along, where it is a number: the curves of its plot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.results_table import label, shown_scale
from diptych.studying.result import StudyResult
from diptych.studying.table import Row


@dataclass(frozen=True, slots=True)
class Dial:
    """A number for each arm: one that the study names, or (`measured`) the mean of another of its metrics, in the unit
    shown, of which each seed has its own.
    """

    name: str
    values: Mapping[str, float]
    of_seeds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    measured: bool = False


def dial_of(result: StudyResult, rows: Sequence[Row]) -> Dial | None:
    """The study's dial; where that has no numbers, but the name of one of the study's metrics, this metric. None where
    there is neither.
    """
    study = result.study
    if study.dial:
        return Dial(study.dial_name or "dial", study.dial)
    own = [row for row in rows if row.metric == study.dial_name and row.control == study.control and row.measured]
    if not own:
        return None
    meaning = result.meanings.get(study.dial_name, MetricMeaning())
    scale = shown_scale(meaning)
    return Dial(
        label(study.dial_name, meaning),
        {row.arm: scale * row.mean for row in own},
        {row.arm: [scale * mean for mean in row.seed_means.values()] for row in own},
        measured=True,
    )


def curves(rows: Sequence[Row], dial: Dial, control: str) -> dict[str, list[Row]]:
    """By name the curves along the dial, each by rising values; arms without a number are in none.

    It is one, "", while every arm has a number of its own. Where several share one there is a curve for each beginning
    of names before a number (`kept_20`, `kept_40`; `out_20`, `out_40`), and the control is a point of each. Along a
    measured dial there are such curves always, and the control is a point of its own.
    """
    placed = sorted(
        (row for row in rows if row.measured and row.arm in dial.values), key=lambda row: dial.values[row.arm]
    )
    if not dial.measured and len({dial.values[row.arm] for row in placed}) == len(placed):
        return {"": placed} if placed else {}
    found: dict[str, list[Row]] = {}
    for row in placed:
        found.setdefault(re.sub(r"[\W\d_]+$", "", row.arm) or row.arm, []).append(row)
    shared = [] if dial.measured else [row for row in placed if row.arm == control]
    return {
        name: sorted([*shared, *(row for row in curve if row not in shared)], key=lambda row: dial.values[row.arm])
        for name, curve in found.items()
        if curve != shared
    }
