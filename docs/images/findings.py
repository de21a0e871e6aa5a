"""Draws docs/images/findings.png, the curves at the top of docs/findings.md, out of the tables in docs/findings.

python docs/images/findings.py
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).resolve()
TABLES = HERE.parents[1] / "findings"
SHARES = {"clean": 0, "untrue_05": 5, "untrue_10": 10, "untrue_20": 20, "untrue_40": 40}  # per cent
WAYS = {
    "one stage": ("one_stage_0", "one_stage_-1", "one_stage_-2"),
    "three stages, the target described alone": ("independent_0", "independent_1", "independent_2", "independent_10"),
    "three stages, the target in the reference's words": ("conditioned_1", "conditioned_2", "conditioned_6"),
}
WEIGHED = {0: ("clean", "weighed_0"), 20: ("untrue_20", "weighed_20"), 40: ("untrue_40", "weighed_40")}  # per cent
COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe and Ito's


def main() -> None:
    """Three panels: the price of untrue sentences by protocol, what of it weighing by doubt wins back, and what a way
    of annotating invents by what it misses.
    """
    figure = Figure(figsize=(15, 4), layout="constrained", dpi=100)
    price, remedy, curve = figure.subplots(1, 3)
    _draw_price(price, _of("hallucination_dose"))
    _draw_remedy(remedy, _of("noise"))
    _draw_ways(curve, _of("one_against_three"))
    figure.savefig(HERE.with_suffix(".png"))


def _of(study: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a study's table by metric and arm; of arms with several controls, any: the means are the same."""
    with (TABLES / f"{study}.csv").open(encoding="utf-8") as file:
        return {(row["metric"], row["arm"]): row for row in csv.DictReader(file)}


def _draw_price(ax: Axes, rows: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
    for name, metric, colour in (
        ("reference among the candidates", "rooms/recall_at_1", COLOURS[1]),
        ("reference taken out", "rooms_out/recall_at_1", COLOURS[0]),
    ):
        arms = [rows[metric, arm] for arm in SHARES]
        _draw_seeds(ax, list(SHARES.values()), arms, colour)
        ax.plot(SHARES.values(), [_percent(row["mean"]) for row in arms], "-", color=colour, label=name)
    _finish(ax, "What an untrue training sentence costs", "untrue training sentences, %", "recall_at_1, %", (30, 65))


def _draw_remedy(ax: Axes, rows: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
    metric = "rooms/recall_at_1"
    for place, (name, colour) in enumerate((("all believed", COLOURS[1]), ("weighed by doubt", COLOURS[0]))):
        arms = [rows[metric, both[place]] for both in WEIGHED.values()]
        _draw_seeds(ax, list(WEIGHED), arms, colour)
        ax.plot(list(WEIGHED), [_percent(row["mean"]) for row in arms], "-", color=colour, label=name)
    known = rows[metric, "known_20"]
    _draw_seeds(ax, [20], [known], COLOURS[2])
    ax.plot([20], [_percent(known["mean"])], "D", color=COLOURS[2], label="the untrue ones known, and left out")
    _finish(ax, "What weighing by doubt wins back", "untrue training sentences, %", "recall_at_1, %", (30, 65))


def _draw_seeds(ax: Axes, xs: Sequence[float], rows: Sequence[Mapping[str, str]], colour: str) -> None:
    for x, row in zip(xs, rows, strict=True):
        found = [_percent(value) for key, value in row.items() if key.startswith("seed ")]
        ax.plot([x] * len(found), found, "o", color=colour, ms=4, alpha=0.5)


def _draw_ways(ax: Axes, rows: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
    for (name, arms), colour in zip(WAYS.items(), COLOURS, strict=True):
        missed = [_percent(rows["said/changes_missed", arm]["mean"]) for arm in arms]
        invented = [_percent(rows["said/claims_hallucinated", arm]["mean"]) for arm in arms]
        ax.plot(missed, invented, "o-", color=colour, ms=5, label=name)
    _finish(
        ax,
        "What a way of annotating invents",
        "changes that it leaves out, %",
        "claims that are hallucinated, %",
        (0, 90),
    )


def _finish(ax: Axes, title: str, x: str, y: str, bounds: tuple[float, float]) -> None:
    ax.set_title(title, loc="left", fontweight="bold")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_ylim(bounds)
    ax.grid(color="#E5E7EB")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8)


def _percent(value: str) -> float:
    return 100 * float(value)


if __name__ == "__main__":
    main()
