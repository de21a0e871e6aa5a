"""What the wording of a change decides: recall over queries that ask for the same image in different words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, RankedQuery
from diptych.metrics.retrieval.query_metric import QueryMetric, ranks_tensor
from diptych.metrics.retrieval.recall_at_k import recall_at_k

_ABSENT = "there are no groups: no two queries share reference and target and differ in their text"


class ParaphraseSpread(QueryMetric):
    """For every K of the protocol's `recall_ks`, over groups of queries with one reference and one target, in two
    wordings or more (the definition is ours):

    - `paraphrase_spread_at_<K>`: the mean over groups of the best hit minus the worst, 1 where some wordings find the
      target and others do not;
    - `paraphrase_all_at_<K>`, `paraphrase_none_at_<K>`: the share of groups whose every wording finds it, whose none
      does. The three sum to 1.

    A group counts once, whatever the number of its wordings. A text that is asked twice is one wording.
    """

    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """A value at the first query of each group, NaN at all others: so means and intervals are over groups."""
        ranks = ranks_tensor(ranked, [query.target_rank for query in ranked])
        groups, values = _groups(ranked), dict[str, MetricValues]()

        def of_groups(value: Callable[[Tensor], Tensor], hits: Tensor) -> Tensor:
            found = torch.full((len(ranked),), torch.nan, dtype=torch.float64)
            for group in groups:
                found[group[0]] = value(hits[group])
            return found

        for k in protocol.recall_ks:
            hits = recall_at_k(ranks, k)
            spread, every, none = (
                of_groups(value, hits) for value in (lambda of: of.max() - of.min(), torch.min, lambda of: 1 - of.max())
            )
            values[f"paraphrase_spread_at_{k}"] = MetricValues(spread, better="lower", absent=_ABSENT)
            values[f"paraphrase_all_at_{k}"] = MetricValues(every, absent=_ABSENT)
            values[f"paraphrase_none_at_{k}"] = MetricValues(none, better="lower", absent=_ABSENT)
        return values


def _groups(ranked: Sequence[RankedQuery]) -> list[list[int]]:
    """The positions of the queries of each group; a query whose answer is hidden is in none."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for position, query in enumerate(ranked):
        if query.target_image is not None:
            found.setdefault((query.reference_image, query.target_image), {}).setdefault(query.text, position)
    return [list(by_text.values()) for by_text in found.values() if len(by_text) > 1]
