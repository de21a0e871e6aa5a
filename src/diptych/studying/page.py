"""What a study leaves behind for people: `study.csv`, `study.png`, and `study.html`, which needs no other file."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import MetricMeaning
from diptych.report.pictures import Thumbnails
from diptych.report.rendering import Section, write_page
from diptych.results.results_table import (
    format_difference,
    format_interval,
    format_value,
    label,
    shown_scale,
)
from diptych.studying.examples import examples_of
from diptych.studying.hypotheses import Hypothesis
from diptych.studying.plan import KINDS
from diptych.studying.plot import write_plot
from diptych.studying.result import DONE, StudyResult, time_text
from diptych.studying.table import FILE as TABLE
from diptych.studying.table import Row, study_rows, write_csv

log = logging.getLogger(__name__)

FILE = "study.html"
_COLUMNS = ("mean", "difference", "up, down", "adjusted p", "could have seen", "seeds × queries", "verdict")
_CLAIMS = {
    "higher": "is higher than that of {control}, by {least} or more",
    "lower": "is lower than that of {control}, by {least} or more",
    "same": "is that of {control}, within {least}",
    "not_lower": "is not lower than that of {control} by {least} or more",
    "not_higher": "is not higher than that of {control} by {least} or more",
}


def write_study(folder: Path, result: StudyResult) -> Path:
    """Writes table, plot and page of a study into its folder, and returns the page's path. The table and the plot hold
    no times and no folders: the same figures give the same bytes.
    """
    rows = study_rows(result)
    write_csv(folder / TABLE, rows, result.study.seeds)
    plot = write_plot(folder, result, rows)
    examples, thumbnails = examples_of(result), Thumbnails()
    failed = _failed(result)
    planted = dict.fromkeys(run.planted for run in result.runs.values() if run.planted)
    sections = [
        Section("plan", "What was to be found out"),
        Section("figures", "Figures"),
        *([Section("examples", "What changed most")] if examples else []),
        Section("limits", "What this cannot show"),
        Section("commands", "Commands and times"),
    ]
    page = folder / FILE
    write_page(
        page,
        "study.html.jinja",
        title=f"Study: {result.study.name}",
        lead=result.study.question,
        sections=sections,
        verdicts=result.verdicts,
        failed=failed,
        facts=_facts(result),
        claims=[
            (one.hypothesis.says, claim(one.hypothesis, _meaning(result, one.hypothesis.metric)))
            for one in result.verdicts
        ],
        planned_at=result.planned_at,
        plan_hash=result.plan_hash,
        plot=None if plot is None else "data:image/png;base64," + base64.b64encode(plot.read_bytes()).decode("ascii"),
        tables=_tables(result, rows),
        levels=_levels(rows),
        examples=examples,
        value=lambda metric, number: format_value(_meaning(result, metric), number),
        picture=thumbnails.data_uri,
        limits=result.study.limits,
        planted=list(planted),
        arms=_arms(result),
        times=_times(result),
        command=result.command,
    )
    if thumbnails.unreadable:
        number, first = len(thumbnails.unreadable), thumbnails.unreadable[0]
        log.warning("%d pictures of %s are grey tiles: they cannot be read, the first is %s", number, page, first)
    return page


def claim(hypothesis: Hypothesis, meaning: MetricMeaning) -> str:
    """A hypothesis in words: `recall_at_1 of joined is higher than that of single, by 5 points of percent or more`."""
    if hypothesis.relative:
        least = f"{100 * hypothesis.least:g} % of its mean"
    else:
        unit = " points of percent" if meaning.unit == "fraction" else ""
        least = f"{shown_scale(meaning) * hypothesis.least:g}{unit}"
    rest = _CLAIMS[hypothesis.direction].format(control=hypothesis.control, least=least)
    return f"{hypothesis.metric} of {hypothesis.arm} {rest}"


def _meaning(result: StudyResult, metric: str) -> MetricMeaning:
    return result.meanings.get(metric, MetricMeaning())


def _facts(result: StudyResult) -> list[tuple[str, str]]:
    study = result.study
    size = ", ".join(f"{name} {value}" for name, value in study.size.items())
    expected = "" if study.minutes is None else f" ({study.minutes:g} min expected on two CPU cores)"
    facts = {
        "size": ("quick" if study.quick else "full") + (f": {size}" if size else ""),
        "seeds": ", ".join(map(str, study.seeds)),
        "time of all steps": time_text(result.seconds) + expected,
    }
    derived = {f"{name}, query by query": str(one) for name, one in result.study.derived.items()}
    return [*facts.items(), *derived.items(), *result.facts.items()]


def _failed(result: StudyResult) -> list[tuple[str, str, str]]:
    """Arm, step and reason of each arm that has no values."""
    found = []
    for arm in (arm.name for arm in result.study.arms if arm.name not in result.values):
        step, run = result.failure(arm) or ("", None)
        lines = (run.error if run else result.lost.get(arm, "")).strip().splitlines() or ["No reason is known."]
        found.append((arm, step, lines[-1].strip()))
    return found


def _tables(result: StudyResult, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of each metric its name, columns and rows."""
    tables = []
    for metric in dict.fromkeys(row.metric for row in rows):
        meaning, own = _meaning(result, metric), [row for row in rows if row.metric == metric]
        cells = [(_heading(row, result.study.control), _cells(row, meaning)) for row in own]
        tables.append({"name": metric, "columns": (label(metric, meaning), *_COLUMNS), "rows": cells})
    return tables


def _heading(row: Row, control: str) -> str:
    if row.arm == control:
        return f"{row.arm} (control)"
    return row.arm if row.control == control else f"{row.arm}, against {row.control}"


def _cells(row: Row, meaning: MetricMeaning) -> list[str | tuple[str, str]]:
    verdicts = ", ".join(verdict.word for verdict in row.verdicts)
    if row.state != "done":
        return [row.state, "", "", "", "", "", verdicts]
    size = f"{len(row.seed_means)}" + (f" × {row.num_queries:,}" if row.num_queries else "")
    mean = (format_value(meaning, row.mean), format_interval(meaning, row.interval))
    found = row.comparison
    if found is None:
        return [mean, "", "", "", "", size, verdicts]
    difference = (format_difference(meaning, found.difference), format_interval(meaning, found.interval))
    p_value = "" if found.adjusted_p is None else "<0.0001" if found.adjusted_p < 0.0001 else f"{found.adjusted_p:.4f}"
    seen = "" if found.smallest_seen is None else format_value(meaning, found.smallest_seen)
    moved = "" if row.moved is None else "{:.1f} %, {:.1f} %".format(*(100 * share for share in row.moved))
    return [mean, difference, moved, p_value, seen, size, verdicts]


def _levels(rows: Sequence[Row]) -> str:
    """The levels of the differences' intervals: `95.0 to 98.8 %`; empty where there are none."""
    levels = [row.comparison.level for row in rows if row.comparison and row.comparison.level is not None]
    if not levels:
        return ""
    low, high = f"{100 * min(levels):.1f}", f"{100 * max(levels):.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _arms(result: StudyResult) -> list[tuple[str, list[dict[str, Any]]]]:
    """By arm, of each seed: the lines to type, and what each step was and took."""
    shared = set(result.study.shared())
    arms = []
    for arm in result.study.arms:
        seeds = []
        for seed, names in arm.steps.items():
            ran = {name: result.runs[name] for name in names if name in result.runs}
            steps = []
            for name, run in ran.items():
                outcome = time_text(run.seconds) if run.state == DONE else run.state
                steps.append(f"{name}{' (shared)' if name in shared else ''} {outcome}")
            lines = "\n".join(run.command for run in ran.values())
            seeds.append({"seed": seed, "steps": ", ".join(steps), "lines": lines})
        arms.append((arm.name, seeds))
    return arms


def _times(result: StudyResult) -> tuple[tuple[str, ...], list[tuple[str, list[str]]]]:
    """Columns and rows: the time of each arm's steps by kind, over all seeds."""
    steps = result.study.steps
    kinds = [kind for kind in KINDS if kind != "serve" and any(step.kind == kind for step in steps.values())]
    rows = []
    for arm in result.study.arms:
        names = {name for of_seed in arm.steps.values() for name in of_seed if name in result.runs}
        own = [(steps[name].kind, result.runs[name].seconds or 0.0) for name in names]
        of_kind = [sum(seconds for kind, seconds in own if kind == wanted) for wanted in kinds]
        rows.append((arm.name, [time_text(seconds) for seconds in (*of_kind, sum(of_kind))]))
    return ("arm", *kinds, "together"), rows
