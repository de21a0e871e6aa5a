"""How far two arms of a study differ by luck, with its seeds and its queries together.

Legend: A arms, S seeds, Q queries; every arm has values for the same seeds and the same queries.

A difference between two arms, as of one seed and one query, is the true difference, plus what the seed adds, plus what
the query adds, plus the rest (crossed random effects). Of the mean over S seeds and Q queries the variance is
seeds^2 / S + queries^2 / Q + rest^2 / (S Q). What differs between the seeds' means estimates the first and third part
together, and resampling the queries the second and third. Naively resampling two or three seeds as well would give a
far too narrow interval: such draws have only (S - 1) / S of the seeds' variance, and the percentiles of a handful of
values instead of the tails of Student's t with as few degrees of freedom. Here therefore the variance of the seeds is
computed without that bias, the draws of the queries give the rest, and each part is multiplied by the t of its own
degrees of freedom.

Sources: crossed seeds and queries, as subjects and items: Clark, The Language-as-Fixed-Effect Fallacy (Journal of
Verbal Learning and Verbal Behavior 1973). Resampling: Efron and Tibshirani, An Introduction to the Bootstrap (1993),
chapters 6 and 8. A t for each part of the variance: Banerjee, Approximate Confidence Interval for Linear Functions of
Means of k Populations when the Population Variances Are not Equal (Sankhya 1960); its interval holds at least as often
as it says. The approximation of Satterthwaite (Biometrics Bulletin 1946), one t for both parts together, is narrower
and was tried first: with two seeds that differ little by chance it finds what is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from diptych.metrics.retrieval.bootstrap import resampled_counts, weighted_median
from diptych.metrics.retrieval.median_rank import median_rank
from diptych.studying.student_t import quantile

NUM_RESAMPLES = 2000  # of a median; the resampled variance of a mean is known without drawing
_SMALLEST_P, _LARGEST_P = 1e-15, 1 - 1e-6
_EXACT = 1e-7  # of the logarithm of an interval that just reaches 0
_ROUNDS = 30  # in which a difference and its own noise come to agree


@dataclass(frozen=True, slots=True)
class Spread:
    """What a difference varies by. Variances of the mean difference: `seeds`, what the seeds add (and the rest),
    `queries`, what the queries add, and `queries_alone`, what they add for these very seeds (and the rest). Degrees of
    freedom are 0 where only one seed was run, or where there are no queries. `differing` queries are unlike in the two
    arms; None without queries. `answers` are an arm's values, over seeds and queries, where all are 0 or 1; else 0.
    """

    seeds: float
    seed_degrees: int
    queries: float
    queries_alone: float
    query_degrees: int
    differing: int | None
    answers: int = 0

    def half_width(self, alpha: float) -> float:
        """Of the interval with confidence 1 - alpha. It is never below that for these very seeds: the variance of few
        seeds may come out near 0 by chance.
        """
        of_seeds = quantile(alpha, self.seed_degrees) if self.seed_degrees else 0.0
        of_queries = quantile(alpha, self.query_degrees) if self.query_degrees else 0.0
        both = of_seeds**2 * self.seeds + of_queries**2 * self.queries
        return math.sqrt(max(both, of_queries**2 * self.queries_alone))

    def p_value(self, difference: float) -> float:
        """Two-sided: the alpha whose interval around the difference just reaches 0.

        As of a sign test, n queries that differ give no less than 2^(1 - n), however alike they are.
        """
        least = _SMALLEST_P if self.differing is None else max(_SMALLEST_P, min(1.0, 2.0 ** (1 - self.differing)))
        size = abs(difference)
        if size <= self.half_width(_LARGEST_P):
            return 1.0
        if least > _LARGEST_P or self.half_width(least) <= size:
            return least
        # Both logarithms, since one is nearly straight over the other.
        return math.exp(_root(lambda log_p: math.log(self.half_width(math.exp(log_p)) / size), math.log(least)))

    def interval(self, difference: float, alpha: float) -> tuple[float, float]:
        """With confidence 1 - alpha; it holds 0 where `p_value` is not below alpha, and nowhere else."""
        half = self.half_width(alpha)
        if half < abs(difference) and self.p_value(difference) >= alpha:
            half = abs(difference)  # too few queries differ
        return difference - half, difference + half

    def smallest_seen(self, alpha: float = 0.05, power: float = 0.8) -> float:
        """The difference that is found (p below alpha) with this probability: both quantiles' worth of the spread
        (Bloom, Minimum Detectable Effects, Evaluation Review 1995).

        Where values are 0 or 1, a difference brings noise of its own: a share d of answers that change varies by
        d (1 - d), whichever seeds and queries they are of.
        """
        seen = 0.0
        for _ in range(_ROUNDS if self.answers else 1):
            own = seen * (1 - seen) / self.answers if self.answers else 0.0
            noisier = replace(self, seeds=self.seeds + own, queries_alone=self.queries_alone + own)
            seen = noisier.half_width(alpha) + noisier.half_width(2 * (1 - power))
            if self.answers:
                seen = min(seen, 1.0)
        return seen


class Panel:
    """The values of one metric of all arms (A, S, Q), float64 and finite; means or medians over queries, then means
    over seeds. `queries=False`: each seed has one value, and Q is 1.

    What the seeds add is estimated from all arms together, as (A - 1)(S - 1) degrees of freedom of arms x seeds, and
    from the two that are compared; the larger of the two counts. So arms that happen, or are made, to vary less than
    these two do not lend them a certainty that they lack.
    """

    def __init__(self, values: np.ndarray, *, median: bool = False, queries: bool = True) -> None:
        self._values, self._queries = values, queries
        self.per_seed = _medians(values) if median else values.mean(2)  # (A, S)
        self._median = median
        different = {of_arm.tobytes(): place for place, of_arm in enumerate(values)}  # who shares all steps is one arm
        of_arms = self.per_seed[[*different.values()]]
        residual = of_arms - of_arms.mean(0) - of_arms.mean(1, keepdims=True) + of_arms.mean()
        num_seeds = values.shape[1]
        self._seed_degrees = (max(len(different), 2) - 1) * (num_seeds - 1)
        # A difference has two arms' worth of the variance.
        self._pooled = 2 * float((residual**2).sum()) / self._seed_degrees / num_seeds if num_seeds > 1 else 0.0

    def difference(self, arm: int, control: int) -> float:
        """The mean of the arm over its seeds minus that of the control."""
        return float((self.per_seed[arm] - self.per_seed[control]).mean())

    def spread(self, arm: int, control: int) -> Spread:
        """What the difference between these two arms varies by."""
        num_seeds = self.per_seed.shape[1]
        seeds = 0.0
        if num_seeds > 1:
            own = float((self.per_seed[arm] - self.per_seed[control]).var(ddof=1)) / num_seeds
            seeds = max(own, self._pooled)
        if not self._queries:
            return Spread(seeds, self._seed_degrees, 0.0, 0.0, 0, None)
        of_one_seed, together = self._over_queries(arm, control)
        rest = (of_one_seed - together) / (num_seeds - 1) if num_seeds > 1 else 0.0
        differing = int((self._values[arm] != self._values[control]).any(0).sum())
        both = self._values[[arm, control]]
        answers = both[0].size if np.isin(both, (0.0, 1.0)).all() else 0
        query_degrees = both.shape[2] - 1
        return Spread(seeds, self._seed_degrees, max(together - rest, 0.0), together, query_degrees, differing, answers)

    def _over_queries(self, arm: int, control: int) -> tuple[float, float]:
        """The variances over draws of queries: of one seed's difference, averaged, and of the mean difference."""
        if self._median:
            drawn, divisor = (self._drawn_medians[arm] - self._drawn_medians[control]).T, 1
        else:  # the mean of Q drawn queries has a Q-th of the variance of one
            drawn, divisor = self._values[arm] - self._values[control], self._values.shape[2]
        return float(drawn.var(1, ddof=1).mean()) / divisor, float(drawn.mean(0).var(ddof=1)) / divisor

    @cached_property
    def _drawn_medians(self) -> np.ndarray:
        """Medians (A, R, S) over the same draws of queries for all arms and seeds, and for every panel of this size."""
        tables = [[torch.from_numpy(of_seed) for of_seed in of_arm] for of_arm in self._values]
        chunks = [
            [[weighted_median(of_seed, counts).numpy() for of_seed in of_arm] for of_arm in tables]
            for counts in resampled_counts(self._values.shape[2], NUM_RESAMPLES, seed=0)
        ]
        return np.concatenate(chunks, axis=2).transpose(0, 2, 1)


def _root(falling: Callable[[float], float], low: float) -> float:
    """Where a function of the logarithm of a p-value, positive at `low` and negative at the largest p, is 0.

    False position, halving the value of an end that stays twice (the Illinois method: Dowell and Jarratt, BIT 1971).
    """
    high, stayed = math.log(_LARGEST_P), 0
    at_low, at_high = falling(low), falling(high)
    middle = high
    for _ in range(200):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        at_middle = falling(middle)
        if abs(at_middle) < _EXACT:
            break
        if at_middle > 0:
            low, at_low, at_high, stayed = middle, at_middle, at_high / (2 if stayed == 1 else 1), 1
        else:
            high, at_high, at_low, stayed = middle, at_middle, at_low / (2 if stayed == -1 else 1), -1
    return middle


def _medians(values: np.ndarray) -> np.ndarray:
    return np.array([[median_rank(torch.from_numpy(of_seed)) for of_seed in of_arm] for of_arm in values])
