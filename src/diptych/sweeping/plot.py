"""One picture of a sweep: which run is best, and by how much. `sweep.png`, a panel per group of comparable runs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.results_table import Cell, format_value, shown_scale
from diptych.storage.whole import whole_file
from diptych.sweeping.run_records import RunRecord, differing_overrides, group_names, short_names
from diptych.sweeping.table import column_meaning, heading, legend, primary_of

FILE = "sweep.png"
_BEST, _OTHER = "#0b7a75", "#8a8f98"
_DECADE = 10.0  # a parameter whose values span one gets a logarithmic axis


@dataclass(frozen=True, slots=True)
class Point:
    """A run's value and interval in the unit shown. `setting` is what differs but the seed; `seed` is None if equal."""

    name: str
    setting: tuple[tuple[str, str], ...]
    seed: str | None
    value: float
    interval: tuple[float, float] | None


@rc_context({"text.parse_math": False})  # a dollar in a name is a dollar
def write_plot(folder: Path, records: Sequence[RunRecord]) -> Path | None:
    """Draws `<folder>/sweep.png` and returns its path; None, and no file, where no run has a value to draw.

    Every point is a run, its line the 95 % interval. Runs that differ in their seed only share a place, and a bar marks
    their mean. The best place is coloured: by the mean of its runs, in the direction that the experiment declares.
    Where exactly one numeric parameter varies beside the seed, the places lie along it, else they are sorted. Runs
    without a value are named at the bottom.
    """
    groups, (_, own) = group_names(records), differing_overrides(records)
    names = short_names(list(own.values()))
    own = {run: {names[key]: value for key, value in words.items()} for run, words in own.items()}
    panels = []
    for group in dict.fromkeys(groups.values()):
        primary = primary_of(records, groups, group)
        members = [record for record in records if groups.get(record.name) == group]
        points = _points(members, primary[0], own) if primary else []
        if primary and points:
            panels.append((group, primary, points))
    if not panels:
        return None
    heights = [_height(points) for _, _, points in panels]
    figure = Figure(figsize=(9, sum(heights) + 0.5), layout="constrained", dpi=120)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (group, (key, mode), points) in zip(axes, panels, strict=True):
        meaning = column_meaning(records, groups, (group, key))
        _draw_panel(ax, meaning, mode, points)
        better = "higher" if mode == "max" else "lower"
        ax.set_title(f"{heading(key, meaning, group, groups)}, {better} is better", loc="left")
    drawn = {point.name for _, _, points in panels for point in points}
    missing = [f"{record.name} ({record.state.split(':')[0]})" for record in records if record.name not in drawn]
    notes = [*legend(records, groups), *([f"without a value: {', '.join(missing)}"] if missing else [])]
    text = "\n".join(textwrap.fill(line, 160, subsequent_indent="    ") for line in notes)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7, color="#444444")
    with whole_file(folder / FILE) as temporary:
        figure.savefig(temporary, format="png")
    return folder / FILE


def numeric_parameter(points: Sequence[Point]) -> str | None:
    """The only override that differs beside the seed, if all its values are numbers; else None."""
    keys = {key for point in points for key, _ in point.setting if len({_value(p, key) for p in points}) > 1}
    if len(keys) != 1:
        return None
    (key,) = keys
    numbers = {_number(point, key) for point in points}
    return key if None not in numbers and len(numbers) > 1 else None


def _points(records: Sequence[RunRecord], key: str, own: Mapping[str, Mapping[str, str]]) -> list[Point]:
    found = []
    for record in records:
        cell = record.cells.get(key, Cell(math.nan))
        if math.isfinite(cell.value):
            scale = shown_scale(record.meaning(key))
            interval = cell.interval and (scale * cell.interval[0], scale * cell.interval[1])
            setting = tuple((name, value) for name, value in own[record.name].items() if name != "seed")
            seed = own[record.name].get("seed")
            found.append(Point(record.name, setting, seed, scale * cell.value, interval))
    return found


def _draw_panel(ax: Axes, meaning: MetricMeaning, mode: str, points: Sequence[Point]) -> None:
    parameter = numeric_parameter(points)
    places = _by_place(points, parameter)
    means = {place: sum(point.value for point in of_place) / len(of_place) for place, of_place in places.items()}
    best = (max if mode == "max" else min)(means, key=lambda place: means[place])
    if parameter:
        _draw_along(ax, parameter, places, means, best, meaning)
    else:
        _draw_sorted(ax, places, means, best, meaning, mode)


def _by_place(points: Sequence[Point], parameter: str | None) -> dict[Any, list[Point]]:
    """The points that are drawn together: those of one value of the parameter; without one, those of one setting that
    have seeds of their own (equal runs without are repetitions, and shown as such).
    """
    places: dict[Any, list[Point]] = {}
    for point in points:
        alone = point.name if point.seed is None else None
        place = _number(point, parameter) if parameter else (point.setting, alone)
        places.setdefault(place, []).append(point)
    return places


def _draw_sorted(
    ax: Axes, places: dict[Any, list[Point]], means: dict[Any, float], best: Any, meaning: MetricMeaning, mode: str
) -> None:
    """Rows, the best on top; seeds of a row beneath one another."""
    rows = sorted(places, key=lambda place: means[place], reverse=mode == "max")
    for row, place in enumerate(rows):
        colour, of_place = _BEST if means[place] == means[best] else _OTHER, places[place]
        for point, offset in zip(of_place, _offsets(len(of_place), 0.5), strict=True):
            ax.errorbar(point.value, row + offset, xerr=_bars(point), fmt="o", ms=5, color=colour, capsize=2, lw=1)
        if len(of_place) > 1:
            ax.plot([means[place]] * 2, [row - 0.35, row + 0.35], color=colour, lw=2.5)
    ax.axvline(means[best], color=_BEST, lw=0.8, ls=":", zorder=0)
    ax.set_yticks(range(len(rows)), [_label(places[place], means[place], meaning) for place in rows])
    ax.get_yticklabels()[0].set(fontweight="bold", color=_BEST)
    ax.tick_params(axis="y", labelsize=8)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)


def _draw_along(
    ax: Axes, parameter: str, places: dict[Any, list[Point]], means: dict[Any, float], best: Any, meaning: MetricMeaning
) -> None:
    """The metric over the parameter; seeds of a value beside one another, their means joined by a line."""
    values = sorted(places)
    logarithmic = values[0] > 0 and values[-1] / values[0] >= _DECADE
    if logarithmic:
        ax.set_xscale("log")
    # A tenth of the smallest gap, in the axis' own measure, keeps the seeds of one value apart and together.
    scaled = [math.log(value) if logarithmic else value for value in values]
    gap = min(second - first for first, second in pairwise(scaled))
    for value, place in zip(scaled, values, strict=True):
        colour, of_place = _BEST if means[place] == means[best] else _OTHER, places[place]
        for point, offset in zip(of_place, _offsets(len(of_place), 0.2 * gap), strict=True):
            x = math.exp(value + offset) if logarithmic else value + offset
            ax.errorbar(x, point.value, yerr=_bars(point), fmt="o", ms=5, color=colour, capsize=2, lw=1)
    ax.plot(values, [means[place] for place in values], color="#444444", lw=1, zorder=0)
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.minorticks_off()
    text = f"best: {parameter}={best:g}, {_mean_text(places[best], means[best], meaning)}"
    ax.set_title(text, loc="right", color=_BEST, fontweight="bold", fontsize=10)
    ax.set_xlabel(parameter)
    ax.grid(alpha=0.3)


def _label(of_place: Sequence[Point], mean: float, meaning: MetricMeaning) -> str:
    names = ", ".join(point.name for point in of_place)
    setting = " ".join(f"{name}={value}" for name, value in of_place[0].setting)
    lines = [_shorten(f"run {names}" if len(of_place) == 1 else f"runs {names}", 44), _shorten(setting, 44)]
    return "\n".join([line for line in lines if line] + [_mean_text(of_place, mean, meaning)])


def _mean_text(of_place: Sequence[Point], mean: float, meaning: MetricMeaning) -> str:
    value = format_value(meaning, mean / shown_scale(meaning))
    return value if len(of_place) == 1 else f"mean {value} of {len(of_place)} runs"


def _bars(point: Point) -> list[list[float]] | None:
    """How far the interval reaches below and above; matplotlib takes nothing negative."""
    if point.interval is None or not all(map(math.isfinite, point.interval)):
        return None
    return [[max(0.0, point.value - point.interval[0])], [max(0.0, point.interval[1] - point.value)]]


def _offsets(count: int, width: float) -> list[float]:
    return [width * (index / (count - 1) - 0.5) if count > 1 else 0.0 for index in range(count)]


def _height(points: Sequence[Point]) -> float:
    """Inches: for a curve always the same, else half an inch a row and room for its seeds."""
    return 3.6 if numeric_parameter(points) else 1.0 + 0.5 * len(_by_place(points, None)) + 0.08 * len(points)


def _value(point: Point, key: str) -> str | None:
    return dict(point.setting).get(key)


def _number(point: Point, key: str) -> float | None:
    """The value of an override where it is a finite number."""
    try:
        number = float(_value(point, key) or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _shorten(text: str, limit: int) -> str:
    """The text with its middle left out: what tells paths apart stands at their ends."""
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[len(text) + 1 - limit + limit // 2 :]}"
