"""One picture of a study, `study.png`: a strip per metric with what each arm reached, and how far that is from the
control.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.results_table import label, shown_scale
from diptych.storage.whole import whole_file
from diptych.studying.dial import Dial, curves, dial_of
from diptych.studying.hypotheses import REFUTED, SUPPORTED, UNDECIDED
from diptych.studying.result import StudyResult
from diptych.studying.table import Row, least_of

FILE = "study.png"
# Okabe and Ito's colours, which people tell apart however they see colour; each word has a shape of its own as well.
LOOKS = {SUPPORTED: ("#0072B2", "o"), REFUTED: ("#D55E00", "s"), UNDECIDED: ("#6B7280", "D"), "": ("#1c2430", "o")}
_BAND, _SEED = "#E9E2C4", "#56B4E9"
_CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # of a dial, the same authors'
_DECADE = 10.0  # a dial that spans one gets a logarithmic axis
_LONGEST_NAME = 26


@rc_context({"text.parse_math": False, "font.size": 9})  # a dollar in a name is a dollar
def write_plot(folder: Path, result: StudyResult, rows: Sequence[Row]) -> Path | None:
    """Draws `<folder>/study.png`, 900 pixels wide, and returns its path; None, and no file, where no arm has a value.

    On the left, the mean of each seed as a dot and their mean as a bar; where the study has a dial, curves along it. On
    the right, the differences to the control with their intervals, coloured and shaped by the verdict that rests on
    them; a band behind a row is what would be too little to matter.
    """
    control, dial = result.study.control, dial_of(result, rows)
    by_metric = {metric: [row for row in rows if row.metric == metric] for metric in dict.fromkeys(map(_metric, rows))}
    strips = [of_metric for of_metric in by_metric.values() if any(row.measured for row in of_metric)]
    if not strips:
        return None
    heights = [0.9 + 0.34 * max(5, len(strip)) for strip in strips]
    figure = Figure(figsize=(9, sum(heights) + 0.5), layout="constrained", dpi=100)
    axes = figure.subplots(len(strips), 2, squeeze=False, height_ratios=heights)
    for strip, (left, right) in zip(strips, axes, strict=True):
        meaning = result.meanings.get(strip[0].metric, MetricMeaning())
        own = [row for row in strip if row.control == control]
        along = curves(own, dial, control) if dial and strip[0].metric != result.study.dial_name else {}
        if dial and along:
            _draw_along(left, dial, along, meaning)
        else:
            _draw_means(left, own, len(strip), meaning)
        left.set_title(label(strip[0].metric, meaning), loc="left", fontweight="bold")
        _draw_differences(right, strip, meaning, control)
    figure.legend(handles=_legend(rows), loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    with whole_file(folder / FILE) as temporary:
        figure.savefig(temporary, format="png")
    return folder / FILE


def _draw_means(ax: Axes, rows: Sequence[Row], lines: int, meaning: MetricMeaning) -> None:
    """A line for each arm, of `lines`: its interval, the mean as a bar, and each seed's mean as a dot."""
    scale = shown_scale(meaning)
    for place, row in enumerate(rows):
        if row.interval and all(map(math.isfinite, row.interval)):
            ax.plot([scale * bound for bound in row.interval], [place] * 2, color=LOOKS[""][0], lw=1, zorder=1)
        if row.measured:
            ax.plot([scale * row.mean] * 2, [place - 0.28, place + 0.28], color=LOOKS[""][0], lw=2, zorder=2)
        found = [scale * value for value in row.seed_means.values()]
        ax.plot(
            found,
            [place + offset for offset in _offsets(len(found))],
            "o",
            ms=5,
            color=_SEED,
            mec="white",
            mew=0.6,
            zorder=3,
        )
    ax.set_xlabel("mean, 95 % interval over queries")
    _rows_named(ax, [_short(row.arm) + ("" if row.measured else " (no values)") for row in rows], lines)


def _draw_along(ax: Axes, dial: Dial, along: Mapping[str, Sequence[Row]], meaning: MetricMeaning) -> None:
    """The metric along the dial: means with their intervals, joined, and each seed's mean as a dot."""
    scale = shown_scale(meaning)
    for colour, (name, curve) in zip(cycle(_CURVES), along.items(), strict=False):
        xs = [dial.values[row.arm] for row in curve]
        intervals = [row.interval or (row.mean, row.mean) for row in curve]
        low, high = ([scale * bounds[side] for bounds in intervals] for side in (0, 1))
        ax.fill_between(xs, low, high, color=colour, alpha=0.18, lw=0)
        means = [scale * row.mean for row in curve]
        ax.plot(xs, means, marker="_", ms=9, mew=2, color=colour, lw=2, label=_short(name))
        for row in curve:
            found = [scale * value for value in row.seed_means.values()]
            of_seeds = dial.of_seeds.get(row.arm, [dial.values[row.arm]] * len(found))
            ax.plot(of_seeds, found, "o", ms=4.5, color=colour, mec="white", mew=0.6)
    if len(along) > 1:
        ax.legend(fontsize=8, frameon=False)
    if not dial.measured:
        _tick(ax, sorted({dial.values[row.arm] for curve in along.values() for row in curve}))
    ax.set_xlabel(dial.name)
    ax.set_ylabel("mean, 95 % interval over queries")
    ax.grid(alpha=0.3)


def _tick(ax: Axes, values: Sequence[float]) -> None:
    """Ticks at the arms."""
    if values[0] > 0 and values[-1] / values[0] >= _DECADE:
        ax.set_xscale("log")
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.minorticks_off()


def _draw_differences(ax: Axes, rows: Sequence[Row], meaning: MetricMeaning, control: str) -> None:
    """A line for each comparison: the interval, and the difference in the colour and shape of its verdict."""
    scale = shown_scale(meaning)
    ax.axvline(0, color=LOOKS[""][0], lw=0.8, zorder=1)
    for place, row in enumerate(rows):
        for verdict in row.verdicts:
            least = scale * least_of(verdict)
            if math.isfinite(least):
                ax.add_patch(Rectangle((-least, place - 0.42), 2 * least, 0.84, color=_BAND, lw=0, zorder=0))
        found = row.comparison
        if found is None:
            continue
        colour, shape = LOOKS[row.verdicts[0].word if row.verdicts else ""]
        if found.interval:
            ax.plot([scale * bound for bound in found.interval], [place] * 2, color=colour, lw=2, zorder=2)
        face = colour if row.verdicts else "white"
        ax.plot(scale * found.difference, place, shape, ms=7, color=colour, mfc=face, zorder=3)
    ax.autoscale_view()
    unit = ", points of percent" if meaning.unit == "fraction" else ""
    ax.set_xlabel(f"difference to {_short(control)}{unit}")
    _rows_named(ax, [_difference_name(row, control) for row in rows], len(rows))


def _rows_named(ax: Axes, names: Sequence[str], lines: int) -> None:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(lines - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", alpha=0.3)


def _difference_name(row: Row, control: str) -> str:
    if row.arm == control:
        return f"{_short(row.arm)} (control)"
    return _short(row.arm) if row.control == control else f"{_short(row.arm)}\nto {_short(row.control)}"


def _legend(rows: Sequence[Row]) -> list[Line2D | Patch]:
    words = dict.fromkeys(verdict.word for row in rows for verdict in row.verdicts)
    handles: list[Line2D | Patch] = [Line2D([], [], marker="o", ls="", color=_SEED, mec="white", label="a seed")]
    for word in (one for one in LOOKS if one in words):
        colour, shape = LOOKS[word]
        handles.append(Line2D([], [], marker=shape, color=colour, lw=2, label=word))
    if any(row.comparison and not row.verdicts for row in rows):
        colour, shape = LOOKS[""]
        handles.append(Line2D([], [], marker=shape, color=colour, mfc="white", lw=2, label="no hypothesis"))
    return [*handles, *([Patch(color=_BAND, label="too little to matter")] if words else [])]


def _offsets(count: int) -> list[float]:
    """Above and below a row, so that equal seeds are seen."""
    return [0.3 * (number / (count - 1) - 0.5) if count > 1 else 0.0 for number in range(count)]


def _metric(row: Row) -> str:
    return row.metric


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
