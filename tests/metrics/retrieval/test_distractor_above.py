import math

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.distractor_above import DistractorAbove

PROTOCOL = EvaluationProtocol("tiny", 1, "union", False, "{}", "none", recall_ks=(1,))


def values_of(*ranks):
    """Of queries whose target and distractors have these ranks."""
    metric = DistractorAbove()
    ranked = [RankedQuery(f"q{n}", (), (), target, (), 1, distractor_ranks=of) for n, (target, of) in enumerate(ranks)]
    metric.update(ranked, PROTOCOL)
    return metric.compute()["distractor_above"]


def test_the_first_distractor_decides():
    metric = values_of((2, (9, 1)), (2, (3, 9)), (1, (2,)))
    assert metric.values.tolist() == [1, 0, 0] and metric.better == "lower"


def test_what_is_not_known_is_not_counted():
    metric = values_of((1, ()), (None, (4, math.inf)), (None, (math.inf,)), (5, (math.inf,)))
    assert metric.values.isnan().tolist() == [True, False, True, False]
    assert metric.values[[1, 3]].tolist() == [1, 0]
    assert metric.absent == "no query names a distractor that the gallery holds"
