"""Small charts as inline SVG: bars per aspect, and the curves of a `metrics.csv`.

Colours come from the page's style sheet, by class.
"""

from __future__ import annotations

import csv
import html
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_MAX_POINTS = 400


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in percent: `variant` picks the colour, `interval` draws a whisker."""

    variant: str
    percent: float
    interval: tuple[float, float] | None = None


def bar_chart(title: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Horizontal bars on an axis from 0 to 100 %, one group of bars per label. A bar that is NaN stays empty."""
    width, bar_height, gap = 420, 11, 12
    left = 24 + 7 * max((len(_shorten(label)) for label, _ in groups), default=0)
    parts, y = [], 6
    for label, bars in groups:
        middle = y + len(bars) * bar_height / 2
        parts.append(
            f'<text x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(_shorten(label))}</text>'
        )
        for bar in bars:
            parts.append(_bar(bar, left, y, width, bar_height))
            y += bar_height
        y += gap
    axis = ""
    for tick in (0, 25, 50, 75, 100):
        x, unit = left + width * tick / 100, " %" if tick == 100 else ""
        axis += f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{y}"/>'
        axis += f'<text x="{x:.1f}" y="{y + 14}" text-anchor="middle">{tick}{unit}</text>'
    return _svg(title, left + width + 60, y + 20, axis + "".join(parts))


def read_curves(metrics_csv: Path, columns: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) points of the named columns of Lightning's `metrics.csv`; columns without two points are left out.

    A missing file gives no curves and a warning: the report's other parts do not depend on it.
    """
    if not metrics_csv.is_file():
        logger.warning("No training curve in the report: %s does not exist", metrics_csv)
        return {}
    points: dict[str, list[tuple[float, float]]] = {column: [] for column in columns}
    with metrics_csv.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for column in columns:
                if row.get(column) and row.get("step"):
                    point = (_float(row["step"]), _float(row[column]))
                    if all(map(math.isfinite, point)):
                        points[column].append(point)
    return {column: _thin_out(values) for column, values in points.items() if len(values) > 1}


def line_chart(title: str, points: Sequence[tuple[float, float]]) -> str:
    """One curve with its value range and last step written on the axes."""
    left, top, width, height = 58, 26, 340, 120
    steps, values = [x for x, _ in points], [y for _, y in points]
    low, high = min(values), max(values)
    step_range, value_range = (max(steps) - min(steps)) or 1.0, (high - low) or 1.0
    path = " ".join(
        f"{left + width * (x - min(steps)) / step_range:.1f},{top + height * (high - y) / value_range:.1f}"
        for x, y in points
    )
    body = (
        f'<text x="{left}" y="14" class="strong">{html.escape(title)}</text>'
        f'<line class="axis" x1="{left}" y1="{top}" x2="{left}" y2="{top + height}"/>'
        f'<line class="axis" x1="{left}" y1="{top + height}" x2="{left + width}" y2="{top + height}"/>'
        f'<text x="{left - 6}" y="{top + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{left - 6}" y="{top + height}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{left + width}" y="{top + height + 16}" text-anchor="end">step {max(steps):,.0f}</text>'
        f'<polyline class="curve" points="{path}"/>'
    )
    return _svg(f"{title} by step", left + width + 10, top + height + 22, body)


def _bar(bar: Bar, left: int, y: float, width: int, height: int) -> str:
    if math.isnan(bar.percent):
        return ""
    end = left + width * bar.percent / 100
    parts = [f'<rect class="{bar.variant}" x="{left}" y="{y}" width="{end - left:.1f}" height="{height - 2}"/>']
    label_x = end
    if bar.interval is not None and not any(map(math.isnan, bar.interval)):
        low, high = (left + width * bound / 100 for bound in bar.interval)
        middle = y + (height - 2) / 2
        parts.append(f'<line class="whisker" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>')
        label_x = max(end, high)
    parts.append(f'<text class="value" x="{label_x + 5:.1f}" y="{y + height - 2.5}">{bar.percent:.1f}</text>')
    return "".join(parts)


def _svg(title: str, width: float, height: float, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{html.escape(title)}">{body}</svg>'
    )


def _shorten(label: str, limit: int = 28) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"


def _thin_out(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every n-th point and the last one, so that a long run does not bloat the page."""
    stride = math.ceil(len(points) / _MAX_POINTS)
    return [*points[:-1:stride], points[-1]]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
