"""Does a model compose? Which queries the picture or the text alone solves, and what the model finds of the others.

The parts are those of Attimonelli et al. 2026 (arXiv:2605.14787), who ask eleven retrievers; here the model's own
encoders are asked, whose rankings the baselines are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diptych.contracts.retrieval import MetricMeaning, MetricValues, RankedQuery, Unit
from diptych.metrics.retrieval.aggregate import summarise
from diptych.metrics.retrieval.bootstrap import interval_of, intervals
from diptych.metrics.retrieval.measuring import SetResult
from diptych.metrics.retrieval.query_metric import ranks_tensor
from diptych.metrics.retrieval.recall_at_k import recall_at_k

SOLVED_WITHIN = 10  # a query is solved whose target is among the first ten, as in the paper
GAP = "composition_gap"


def add_composition(result: SetResult, alone: Mapping[str, Sequence[RankedQuery]]) -> None:
    """Adds the audit to the result of a model: numbers, their intervals and meanings, and values per query.

    `alone` holds the same queries, in the same order, as `image_only` and `text_only` rank them. K is 10, or the
    protocol's largest below it; without one, or where answers are hidden, nothing is added.

    - `shortcut_image_at_K`, `shortcut_text_at_K`, `shortcut_free_at_K`: whether the picture alone, the text alone,
      neither has the target among its first K. Some queries are solved by both.
    - `composed_at_K`: neither has, and the model has.
    - `<recall>/shortcut_image` and so on: the model's recall on each of these parts, of the metric that the protocol is
      judged by if that is a recall, else at K. A part without queries has none.
    - `shortcut_inflation_at_<K of that recall>`: this recall on all queries minus that on `shortcut_free` (ours).
    - `composition_gap`: 1 - max(I, T) / M, the paper's, of the nDCG over the whole gallery with picture alone, text
      alone, and both.
    """
    k = max((k for k in result.protocol.recall_ks if k <= SOLVED_WITHIN), default=None)
    if k is None or result.protocol.answers_hidden:
        return
    rankings = (result.ranked, alone["image_only"], alone["text_only"])
    model, image, text = (recall_at_k(_target_ranks(ranked), k) for ranked in rankings)
    parts = {"shortcut_image": image, "shortcut_text": text, "shortcut_free": (1 - image) * (1 - text)}
    values = {f"{name}_at_{k}": MetricValues(part, better=None) for name, part in parts.items()}
    values[f"composed_at_{k}"] = MetricValues(parts["shortcut_free"] * model, better=None)
    primary = result.protocol.primary_metric
    audited = primary if primary.startswith("recall_at_") else f"recall_at_{k}"
    if audited in result.values:
        recall = result.values[audited]
        for name, part in parts.items():
            values[f"{audited}/{name}"] = replace(recall, values=recall.values.masked_fill(part != 1, torch.nan))
        name = f"shortcut_inflation_at_{audited.rpartition('_')[2]}"
        _add_number(result, name, "fraction", torch.sub, [recall.values, values[f"{audited}/shortcut_free"].values])
    _add_number(result, GAP, "score", _gap, [ndcg(ranked) for ranked in rankings])
    values = {name: metric for name, metric in values.items() if not metric.values.isnan().all()}
    result.values |= values
    result.metrics |= summarise(values, result.protocol)
    result.bounds |= intervals(values, result.protocol)
    for name, metric in values.items():
        result.meanings.setdefault(name.partition("/")[0], metric.meaning)


def ndcg(ranked: Sequence[RankedQuery]) -> Tensor:
    """Normalised discounted cumulative gain of each query (Q,) float64 over the whole ranking: accepted answers gain 1,
    all others nothing (Järvelin and Kekäläinen 2002, with the logarithm to the base 2). NaN without known answers.
    """
    return torch.tensor([_ndcg(query.relevant_ranks, query.num_relevant) for query in ranked], dtype=torch.float64)


def _ndcg(ranks: Sequence[int], num_relevant: int) -> float:
    best = sum(1 / math.log2(1 + rank) for rank in range(1, num_relevant + 1))
    return sum(1 / math.log2(1 + rank) for rank in ranks) / best if num_relevant else math.nan


def _gap(model: Tensor, image: Tensor, text: Tensor) -> Tensor:
    return 1 - torch.maximum(image, text) / model


def _target_ranks(ranked: Sequence[RankedQuery]) -> Tensor:
    return ranks_tensor(ranked, [query.target_rank for query in ranked])


def _add_number(
    result: SetResult, name: str, unit: Unit, number: Callable[..., Tensor], values: Sequence[Tensor]
) -> None:
    """Adds what `number` makes of the means of `values`, each without its NaN; nothing where that is no number."""
    found = float(number(*(one.double().nanmean() for one in values)))
    if not math.isfinite(found):
        return
    result.metrics[name] = found
    result.meanings[name] = MetricMeaning(unit, better=None)
    if (bounds := interval_of(number, *values)) is not None:
        result.bounds[name] = bounds
