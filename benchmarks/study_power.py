"""Do studies find what is not there, and do they find what they say they could? Simulated studies, judged as real ones.

    python benchmarks/study_power.py [--studies 1000 --planted 200]     # about two minutes of one core

A study has one control and other arms, two metrics, seeds, and queries that are easy or hard for all arms alike; every
arm's seeds are drawn for themselves. `recall` is 1 or 0 a query, about .2 and .5 in the mean; `rare` .02 and .1;
`cider` a skewed score of about .5 and 1. A seed moves an arm's mean by `spread` (standard deviation).

In an A/A study no arm differs. False findings: studies in which any adjusted p is below .05 or any verdict is wrong.
Held: how many of the 95 % intervals of single comparisons hold the truth. Smallest seen: the median of what the studies
state (first metric). Found: how often an effect just as large as its study states is found there (p below .05 of this
comparison by itself) when it is added to the study, with the same luck; 80 % is what is stated.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from diptych.studying.hypotheses import Comparison, Hypothesis, Verdict
from diptych.studying.judgement import judge

NORMAL = NormalDist()
LEVELS = {"recall": (0.2, 0.5), "rare": (0.02, 0.1), "cider": (0.5, 1.0)}
HARD = 1.5  # how far queries differ, in units of the noise of one answer
METRICS = ("recall_at_1", "recall_at_5")
CONTROL, PLANTED = "control", "arm_1"


@dataclass(frozen=True, slots=True)
class Size:
    """Of a simulated study; `arms` with the control."""

    kind: str
    arms: int
    seeds: int
    queries: int
    spread: float


SIZES = [
    Size("recall", 2, 2, 300, 0.02),
    Size("recall", 3, 2, 500, 0.005),
    Size("recall", 2, 3, 300, 0.02),
    Size("recall", 4, 3, 100, 0.005),
    Size("recall", 4, 3, 500, 0.02),
    Size("recall", 3, 5, 300, 0.02),
    Size("recall", 3, 1, 300, 0.0),
    Size("rare", 3, 3, 300, 0.005),
    Size("cider", 3, 2, 100, 0.02),
    Size("cider", 3, 3, 300, 0.02),
    Size("cider", 3, 5, 300, 0.005),
    Size("cider", 3, 3, 0, 0.02),
]


def draw(
    size: Size, rng: np.random.Generator, effect: float = 0.0
) -> dict[str, dict[str, dict[int, dict[str, float]]]]:
    """Values as `judge` takes them. One arm is better by exactly `effect` in what the first metric comes to in the
    long run.
    """
    names = [CONTROL, *(f"arm_{number}" for number in range(1, size.arms))]
    hard = rng.normal(0, HARD, max(size.queries, 1))
    by_seed = rng.normal(0, 1, (size.arms, size.seeds, 1))
    noise = rng.normal(0, 1, (size.arms, size.seeds, max(size.queries, 1)))
    tables = []
    for number, level in enumerate(LEVELS[size.kind]):
        planted = np.zeros((size.arms, 1, 1))
        planted[1] = effect if number == 0 else 0.0
        tables.append(_values(size, level, hard, by_seed * size.spread + planted, noise))
    return {
        name: {
            metric: {
                seed: dict(zip(map(str, range(size.queries)), row.tolist(), strict=True))
                if size.queries
                else {"": row[0]}
                for seed, row in enumerate(table[arm])
            }
            for metric, table in zip(METRICS, tables, strict=True)
        }
        for arm, name in enumerate(names)
    }


def _values(size: Size, level: float, hard: np.ndarray, shift: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(A, S, Q) with a mean of `level` plus `shift` (A, S, 1)."""
    if size.queries == 0:
        return level + shift
    if size.kind == "cider":
        skewed = np.exp(0.5 * (hard + noise))
        return level * skewed / np.exp(0.125 * (HARD**2 + 1)) + shift
    width = (HARD**2 + 1) ** 0.5
    wanted = np.clip(level + shift, 1e-6, 1 - 1e-6)
    bar = np.vectorize(lambda share: -width * NORMAL.inv_cdf(share))(wanted)
    return (hard + noise > bar).astype(float)


CLAIMS = [
    Hypothesis(METRICS[0], PLANTED, CONTROL, direction, least)
    for direction, least in (("higher", 0.0), ("lower", 0.0), ("same", 0.02), ("not_lower", 0.02))
]


def false_findings(comparisons: Sequence[Comparison], verdicts: Sequence[Verdict]) -> bool:
    """Whether a study without differences found one: with an adjusted p, or with a verdict that is wrong."""
    wrong = ("supported", "supported", "refuted", "refuted")
    return any(found.adjusted_p < 0.05 for found in comparisons) or any(
        verdict.word == word for verdict, word in zip(verdicts, wrong, strict=True)
    )


def simulate(size: Size, num_studies: int, num_planted: int) -> dict[str, float]:
    """Shares: `false` findings, intervals that `held` the truth, planted effects `found`; and `smallest` seen."""
    false, held, smallest, found = [], [], [], []
    for number in range(num_studies):
        comparisons, verdicts = judge(draw(size, np.random.default_rng(number)), CONTROL, METRICS, CLAIMS)
        false.append(false_findings(comparisons, verdicts))
        held += [comparison.p_value >= 0.05 for comparison in comparisons]
        smallest.append(comparisons[0].smallest_seen)
        if number < num_planted:
            planted = draw(size, np.random.default_rng(number), smallest[-1])
            first = judge(planted, CONTROL, METRICS, [])[0][0]
            found.append(first.p_value < 0.05 and first.difference > 0)
    return {
        "false": statistics.fmean(false),
        "held": statistics.fmean(held),
        "smallest": statistics.median(smallest),
        "found": statistics.fmean(found),
    }


def main() -> None:
    """Prints the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--planted", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{arguments.studies} A/A studies and {arguments.planted} with a planted effect for each size")
    print("values  arms seeds queries spread | false findings  held  smallest seen  found")
    for size in SIZES:
        row = simulate(size, arguments.studies, arguments.planted)
        print(
            f"{size.kind:7} {size.arms:4} {size.seeds:5} {size.queries:7} {size.spread:6.3f} |"
            f" {row['false']:14.1%} {row['held']:5.1%} {row['smallest']:14.3f} {row['found']:6.1%}"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
