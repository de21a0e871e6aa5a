"""What the charts of a page are drawn from: bars, and the curves of a `metrics.csv`.

`templates/charts.html.jinja` draws them as inline SVG, because a page has to work in light and dark and without other
files; pictures that stand alone, as a sweep's, are drawn with matplotlib.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_MAX_POINTS = 400


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in percent, None where nothing is known: `variant` picks the colour, `interval` draws a whisker."""

    variant: str
    percent: float | None
    interval: tuple[float, float] | None = None


def read_curves(metrics_csv: Path, columns: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) points of the named columns of Lightning's `metrics.csv`; columns without two points are left out.

    A file that is missing or no table gives no curves and a warning: the report's other parts do not depend on it.
    """
    if not metrics_csv.is_file():
        log.warning("No training curve in the report: %s does not exist", metrics_csv)
        return {}
    points: dict[str, list[tuple[float, float]]] = {column: [] for column in columns}
    try:
        with metrics_csv.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                for column in columns:
                    if row.get(column) and row.get("step"):
                        point = (_float(row["step"]), _float(row[column]))
                        if all(map(math.isfinite, point)):
                            points[column].append(point)
    except (OSError, csv.Error) as error:
        log.warning("No training curve in the report: %s: %s", metrics_csv, error)
        return {}
    return {column: _thin_out(values) for column, values in points.items() if len(values) > 1}


def _thin_out(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every n-th point and the last one, so that a long run does not bloat the page."""
    stride = math.ceil(len(points) / _MAX_POINTS)
    return [*points[:-1:stride], points[-1]]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
