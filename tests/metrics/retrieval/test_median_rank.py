import math

import torch

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.aggregate import reduce_values
from diptych.metrics.retrieval.median_rank import MedianRank, median_rank


def test_odd_even_missing_and_unknown():
    assert median_rank(torch.tensor([9, 1, 4])) == 4
    assert median_rank(torch.tensor([4.0, 2, 100, 1])) == 3
    assert median_rank(torch.tensor([3.0, torch.inf])) == math.inf
    assert median_rank(torch.tensor([3.0, 5, torch.nan])) == 4
    assert math.isnan(median_rank(torch.tensor([torch.nan])))


def test_worked_example_of_the_hotel_rule():
    """0-based positions 3 and 1: official median rank 2.0."""
    metric = MedianRank()
    protocol = EvaluationProtocol("hotel_cir", 1, "union", False, "{}", "none", recall_ks=(1,))
    metric.update([RankedQuery("q1", (), (), 4, (4,), 1), RankedQuery("q2", (), (), 2, (2,), 1)], protocol)
    numbers = {name: reduce_values(values) for name, values in metric.compute().items()}
    assert numbers == {"median_rank": 3.0, "median_rank_zero_based": 2.0}
