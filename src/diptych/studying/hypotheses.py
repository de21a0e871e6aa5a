"""What a study claims before it runs, what it found, and what that says about the claim."""

from __future__ import annotations

import math
from dataclasses import dataclass

DIRECTIONS = ("higher", "lower", "same", "not_lower", "not_higher")
ALPHA = 0.05  # of a whole study: the chance that any of its comparisons finds what is not there
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What is claimed of `arm` against `control` in one metric, written before the run.

    `least` is the smallest difference that would matter, in the metric's stored unit (recall as a fraction), or, where
    `relative`, as a fraction of the control's mean. `direction`: the arm is `higher` or `lower` by at least that, the
    `same` within it, or `not_lower` / `not_higher` by as much. `says` is the claim in words.

    Raises:
        ValueError: another direction, a `least` that is negative or no number, or an arm against itself.
    """

    metric: str
    arm: str
    control: str
    direction: str
    least: float
    relative: bool = False
    says: str = ""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction of a hypothesis must be one of {', '.join(DIRECTIONS)}: {self.direction!r}")
        if not (math.isfinite(self.least) and self.least >= 0):
            raise ValueError(f"least of a hypothesis must be a number of 0 or more, in {self.metric}: {self.least!r}")
        if self.direction not in ("higher", "lower") and self.least == 0:
            raise ValueError(f"least of a hypothesis must be above 0 where it says {self.direction}: how near is that?")
        if self.arm == self.control:
            raise ValueError(f"arm and control of a hypothesis must be two: both are {self.arm!r}")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of an arm against a control, all in the metric's stored unit.

    The means are over seeds, of each seed's mean (of ranks: median) over queries; `difference` is arm minus control.
    `adjusted_p` is the two-sided p-value after Holm's correction over all comparisons of the study; `interval` is of
    the confidence `level` at which that correction tested this comparison (.95 or more), so that it leaves out 0 where
    `adjusted_p` is below .05 and nowhere else. `smallest_seen` is the difference that such a study finds four times of
    five, this comparison taken by itself (80 % power, two-sided, 5 %). `num_queries` is 0 where a seed has one value
    and no queries. With one such value and one seed there is nothing to judge with: the last five numbers are None.
    """

    metric: str
    arm: str
    control: str
    arm_mean: float
    control_mean: float
    difference: float
    interval: tuple[float, float] | None
    p_value: float | None
    adjusted_p: float | None
    smallest_seen: float | None
    num_seeds: int
    num_queries: int
    level: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word` on a hypothesis (`supported`, `refuted` or `undecided`) and the sentence that says why, with its figures;
    `comparison` is None where the arm failed or the metric is missing.
    """

    hypothesis: Hypothesis
    comparison: Comparison | None
    word: str
    sentence: str
