"""The comparisons of a study's table and the verdicts on its hypotheses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.hypotheses import Comparison, Hypothesis, Verdict

Values = Mapping[str, Mapping[str, Mapping[int, Mapping[str, float | None]]]]  # by arm, metric, seed and query's key


def judge(
    values: Values,
    control: str,
    metrics: Sequence[str],
    hypotheses: Sequence[Hypothesis],
    meanings: Mapping[str, MetricMeaning] | None = None,
) -> tuple[list[Comparison], list[Verdict]]:
    """The comparisons of every other arm with `control` in `metrics`, with what else the hypotheses compare; and a
    verdict on each hypothesis, in their order.

    A metric without values per query has one for each seed, under "". An arm that failed is absent from `values`.
    `meanings` says how metrics of one's own are to be read; Diptych's are known by name.
    """
    raise NotImplementedError
