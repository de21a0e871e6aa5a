import torch

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.recall_subset_at_k import RecallSubsetAtK, recall_subset_at_k


def test_by_the_rank_among_the_group():
    assert recall_subset_at_k(torch.tensor([1.0, 2, 3, torch.inf]), 2).tolist() == [1, 1, 0, 0]


def test_metric_uses_the_subset_rank_and_only_where_the_protocol_asks():
    ranked = [RankedQuery("a", (), (), 40, (40,), 1, subset_rank=2), RankedQuery("b", (), (), 1, (1,), 1)]
    protocol = EvaluationProtocol("cirr_val", 1, "split", True, "{}", "none", recall_ks=(1,), subset_ks=(1, 2, 3))
    metric = RecallSubsetAtK()
    metric.update(ranked, protocol)
    assert {name: found.values.tolist() for name, found in metric.compute().items()} == {
        "recall_subset_at_1": [0, 0],
        "recall_subset_at_2": [1, 0],
        "recall_subset_at_3": [1, 0],
    }
    metric = RecallSubsetAtK()
    metric.update(ranked, EvaluationProtocol("hotel_cir", 1, "union", False, "{}", "none", recall_ks=(1,)))
    assert metric.compute() == {}
