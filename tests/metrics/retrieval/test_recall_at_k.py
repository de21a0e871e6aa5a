import pytest
import torch

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.recall_at_k import RecallAtK, recall_at_k

PROTOCOL = EvaluationProtocol("hotel_cir", 1, "union", False, "{}", "none", recall_ks=(1, 5))


def ranked(query_id: str, target_rank: int | None, num_relevant: int = 1) -> RankedQuery:
    return RankedQuery(query_id, (), (), target_rank, (), num_relevant)


def test_hits_misses_and_unknown_answers():
    ranks = torch.tensor([1.0, 5, 6, torch.inf, torch.nan])
    torch.testing.assert_close(recall_at_k(ranks, 5), torch.tensor([1.0, 1, 0, 0, torch.nan]).double(), equal_nan=True)


def test_metric_keeps_the_order_of_the_queries():
    metric = RecallAtK()
    metric.update([ranked("a", 4), ranked("b", 1)], PROTOCOL)
    metric.update([ranked("c", None), ranked("d", None, num_relevant=0)], PROTOCOL)
    values = metric.compute()
    assert list(values) == ["recall_at_1", "recall_at_5"]
    assert values["recall_at_1"].values[:3].tolist() == [0, 1, 0]
    assert values["recall_at_5"].values[:3].tolist() == [1, 1, 0]
    assert values["recall_at_5"].values[3].isnan()
    assert values["recall_at_1"].reduction == "mean"


def test_reset_forgets_queries_and_protocol():
    metric = RecallAtK()
    metric.update([ranked("a", 1)], PROTOCOL)
    metric.reset()
    metric.update([ranked("b", 2)], EvaluationProtocol("other", 1, "union", False, "{}", "none", recall_ks=(2,)))
    assert {name: metric.values.tolist() for name, metric in metric.compute().items()} == {"recall_at_2": [1.0]}


def test_two_protocols_do_not_mix():
    metric = RecallAtK()
    metric.update([ranked("a", 1)], PROTOCOL)
    with pytest.raises(ValueError, match="one metric, two protocols: hotel_cir v1 and hotel_cir v2"):
        metric.update([], EvaluationProtocol("hotel_cir", 2, "union", False, "{}", "none", recall_ks=(1, 5)))
