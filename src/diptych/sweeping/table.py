"""The table of a sweep, or of any folder of runs: `sweep.csv`, and a shorter one on the screen."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.results_table import NO_VALUE, Cell, format_interval, format_value, label, screen
from diptych.storage.spreadsheet_cells import harmless_cell
from diptych.storage.whole import whole_file
from diptych.sweeping.run_records import (
    RunRecord,
    differing_overrides,
    find_runs,
    group_names,
    short_names,
    usual_first,
)

FILE = "sweep.csv"
_MOST_METRICS, _METRIC_WIDTH, _OTHER_WIDTH = 4, 16, 64  # on the screen: of one group, and in characters
_MOST_BEST = 5  # of equally good runs named below the table


def write_table(folder: Path, price_per_device_hour: float | None = None) -> list[RunRecord]:
    """Writes `<folder>/sweep.csv` with all that is known of the runs below the folder, prints the table, and returns
    the runs.

    Metrics whose protocol, gallery, split or data differ stand in columns of their own, `recall_at_1 [A]` and `[B]`,
    and the legend says in what A and B differ. A run that has not ended shows its best value so far in its state only,
    as nothing says yet what it will be measured on.

    Raises:
        ValueError: no run lies there.
    """
    records = find_runs(folder)
    write_csv(folder / FILE, records, price_per_device_hour)
    print_table(folder, records, price_per_device_hour)
    return records


def write_csv(path: Path, records: Sequence[RunRecord], price: float | None = None) -> None:
    """A row per run: state, overrides, time and cost, what was measured, and all metrics, each with two columns for its
    interval if any run has one. Values are as stored (recall as a fraction); an empty field is none, and a text that a
    spreadsheet would take for a formula begins with an apostrophe.
    """
    groups = group_names(records)
    rows = [_csv_row(record, groups, price) for record in records]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(harmless_cell, columns))
        writer.writerows([harmless_cell(row.get(column, "")) for column in columns] for row in rows)


def print_table(folder: Path, records: Sequence[RunRecord], price: float | None = None) -> None:
    """Prints the runs with what differs between them, above it what they share, below it the legend and the best.

    Keys of overrides are cut to their last part where that is clear; as many metrics are shown as the screen has room
    for, at least the primary one of each group.
    """
    console = screen()
    groups = group_names(records)
    shared, own = differing_overrides(records)
    for what, common in zip(("all runs", "all evaluations"), shared, strict=True):
        if common:
            console.print(Text(f"{what}: {_words(common)}"), soft_wrap=True)
    names = short_names(list(own.values()))
    differing = {run: {names[key]: value for key, value in words.items()} for run, words in own.items()}
    room = (console.width - _OTHER_WIDTH) // _METRIC_WIDTH // max(1, len(set(groups.values())))
    columns = list(shown_columns(records, groups, most=max(1, min(_MOST_METRICS, room))))
    console.print(_table(f"{folder} (all columns: {FILE})", records, columns, differing, price))
    for line in (*legend(records, groups), *_best_lines(records, groups, differing), *_total(records, price)):
        console.print(Text(line), soft_wrap=True)


def _table(
    title: str,
    records: Sequence[RunRecord],
    columns: Sequence[tuple[str, str]],
    differing: Mapping[str, Mapping[str, str]],
    price: float | None,
) -> Table:
    groups = group_names(records)
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for name, width in (("run", 3), ("overrides", 14), ("state", 8)):
        table.add_column(name, overflow="fold", min_width=width)
    for group, key in columns:
        meaning = column_meaning(records, groups, (group, key))
        table.add_column(Text(heading(key, meaning, group, groups, break_at="\n")), justify="right", no_wrap=True)
    timed = any(record.status for record in records)
    for name in (("time\nh:min", "device\nhours") if timed else ()) + (("cost",) if timed and price else ()):
        table.add_column(name, justify="right", no_wrap=True)
    best = {column: best_runs(records, groups, column) for column in columns}
    for record in records:
        cells = [Text(record.name), Text(_words(differing[record.name])), Text(record.state)]
        for column in columns:
            cell = _cell(record, groups, column)
            shown = cell_text(record.meaning(column[1]), cell) if cell else ""
            cells.append(Text(shown, style="bold green" if record in best[column] else ""))
        table.add_row(*cells, *(_time_and_cost(record, price) if timed else ()))
    return table


def shown_columns(records: Sequence[RunRecord], groups: Mapping[str, str], most: int) -> Iterator[tuple[str, str]]:
    """(group, metric) of the screen's columns: of each group the primary metric, then the usual ones, then the others
    that runs are judged by; `most` in all.
    """
    for group in dict.fromkeys(groups.values()):
        members = [record for record in records if groups.get(record.name) == group]
        ordered = dict.fromkeys(record.primary[0] for record in members if record.primary)
        ordered |= dict.fromkeys(usual_first(key for record in members for key in record.judged))
        yield from ((group, key) for key in list(ordered)[:most])


def column_meaning(records: Sequence[RunRecord], groups: Mapping[str, str], column: tuple[str, str]) -> MetricMeaning:
    """How a column (group, metric) is to be read: as the first of its runs that has the metric says."""
    return next(record.meaning(column[1]) for record in records if _cell(record, groups, column) is not None)


def primary_of(records: Sequence[RunRecord], groups: Mapping[str, str], group: str) -> tuple[str, str] | None:
    """Key and mode of the metric that most of the group's runs are judged by."""
    found = [record.primary for record in records if groups.get(record.name) == group and record.primary]
    return max(found, key=found.count) if found else None


def best_runs(records: Sequence[RunRecord], groups: Mapping[str, str], column: tuple[str, str]) -> list[RunRecord]:
    """The runs with the best value of the group's primary metric, several if equal; none for other columns."""
    primary = primary_of(records, groups, column[0])
    if primary is None or primary[0] != column[1]:
        return []
    found = [(record, _cell(record, groups, column)) for record in records]
    values = {record.name: cell.value for record, cell in found if cell is not None and not math.isnan(cell.value)}
    best = (max if primary[1] == "max" else min)(values.values(), default=None)
    return [record for record in records if record.name in values and values[record.name] == best]


def legend(records: Sequence[RunRecord], groups: Mapping[str, str]) -> list[str]:
    """What the metrics mean: once what all groups share, then for each of several groups what differs."""
    facts = {groups[record.name]: record.facts for record in reversed(records) if record.name in groups}
    if not facts:
        return []
    by_group = dict(sorted(facts.items(), key=lambda item: (len(item[0]), item[0])))
    names = list(dict.fromkeys(name for of_group in by_group.values() for name in of_group))
    differing = [name for name in names if len({of_group.get(name) for of_group in by_group.values()}) > 1]
    common = [f"{name} {value}" for name, value in facts["A"].items() if name not in differing]
    lines = [f"measured on: {'; '.join(common)}"] if common else []
    for group, of_group in by_group.items():
        if differing:
            lines.append(f"[{group}] {'; '.join(f'{name}: {of_group.get(name, NO_VALUE)}' for name in differing)}")
    if differing:
        lines.append(f"metrics of {', '.join(f'[{group}]' for group in by_group)} do not compare")
    return lines


def heading(key: str, meaning: MetricMeaning, group: str, groups: Mapping[str, str], break_at: str = " ") -> str:
    """`recall_at_1 (%)`, with ` [A]` where there are several groups."""
    additions = label("", meaning).split() + [f"[{group}]"] * (len(set(groups.values())) > 1)
    return key + (break_at + " ".join(additions) if additions else "")


def cell_text(meaning: MetricMeaning, cell: Cell) -> str:
    """`62.05`, and in a second line the interval."""
    interval = format_interval(meaning, cell.interval)
    return format_value(meaning, cell.value) + (f"\n{interval}" if interval and not math.isnan(cell.value) else "")


def _cell(record: RunRecord, groups: Mapping[str, str], column: tuple[str, str]) -> Cell | None:
    group, key = column
    return record.cells.get(key) if groups.get(record.name) == group else None


def _words(overrides: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in overrides.items())


def _device_hours(record: RunRecord) -> float:
    return record.status.processes * record.status.seconds / 3600 if record.status else 0.0


def _time_and_cost(record: RunRecord, price: float | None) -> list[str]:
    if record.status is None:
        return [""] * (3 if price else 2)
    minutes = round(record.status.seconds / 60)
    time = f"{minutes // 60}:{minutes % 60:02d}" if minutes or not record.status.seconds else "<0:01"
    hours = _device_hours(record)
    return [time, f"{hours:.2f}", *([f"{hours * price:.2f}"] if price else [])]


def _best_lines(
    records: Sequence[RunRecord], groups: Mapping[str, str], own: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    for group in dict.fromkeys(groups.values()):
        primary = primary_of(records, groups, group)
        if primary is None:
            continue
        key, _ = primary
        for best in best_runs(records, groups, (group, key))[:_MOST_BEST]:
            meaning = best.meaning(key)
            value = cell_text(meaning, best.cells[key]).replace("\n", " ")
            name = f"run {best.name}" + (f" ({_words(own[best.name])})" if own[best.name] else "")
            yield f"best {heading(key, meaning, group, groups)}: {value}, {name}"


def _total(records: Sequence[RunRecord], price: float | None) -> Iterator[str]:
    hours = sum(map(_device_hours, records))
    if hours:
        devices = ", ".join(sorted({record.status.device for record in records if record.status} - {""}))
        money = f", cost {hours * price:.2f}" if price else ""
        yield f"together {hours:.2f} device-hours{f' ({devices})' if devices else ''}{money}"


def _csv_row(record: RunRecord, groups: Mapping[str, str], price: float | None) -> dict[str, Any]:
    status, result = record.status, record.result or {}
    row: dict[str, Any] = {"run": record.name, "state": record.state, "overrides": _words(record.overrides)}
    if status:
        row |= {"step": status.step, "starts": status.starts, "seconds": status.seconds}
        row |= {"processes": status.processes, "device": status.device, "device_hours": _device_hours(record)}
        row |= {"cost": _device_hours(record) * price} if price else {}
    if not result:
        return row
    row |= {"experiment": result.get("experiment"), "seed": result.get("seed"), "group": groups[record.name]}
    row |= {name: value for name, value in record.facts.items() if not name.startswith("metric ")}
    row |= {"gallery_sha256": (result.get("gallery") or {}).get("sha256"), "checkpoint": result.get("checkpoint")}
    suffix = f" [{groups[record.name]}]" if len(set(groups.values())) > 1 else ""
    for key, cell in record.cells.items():
        row[f"{key}{suffix}"] = "" if math.isnan(cell.value) else cell.value
        if cell.interval:
            row[f"{key}{suffix} low"], row[f"{key}{suffix} high"] = cell.interval
    return row
