import math

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.reference_rank import ReferenceRank

PROTOCOL = EvaluationProtocol("tiny", 1, "union", False, "{}", "none", recall_ks=(1,))


def values_of(*ranks):
    """Of queries whose target and reference have these ranks."""
    metric = ReferenceRank()
    metric.update(
        [RankedQuery(f"q{n}", (), (), target, (), 1, reference_rank=of) for n, (target, of) in enumerate(ranks)],
        PROTOCOL,
    )
    return metric.compute()


def test_rank_and_place_of_the_reference():
    values = values_of((2, 1), (1, 40), (3, 2))
    assert values["reference_rank"].values.tolist() == [1, 40, 2]
    assert (values["reference_rank"].reduction, values["reference_rank"].better) == ("median", "higher")
    assert values["reference_above"].values.tolist() == [1, 0, 1]


def test_in_lists_of_predictions_what_is_left_out_stands_below_and_two_that_are_left_out_say_nothing():
    values = values_of((None, 3), (7, math.inf), (None, math.inf))
    assert values["reference_above"].values[:2].tolist() == [1, 0]
    assert values["reference_above"].values[2].isnan()


def test_a_reference_that_is_no_candidate_has_neither():
    values = values_of((1, None))
    assert all(metric.values.isnan().all() and "takes the reference out" in metric.absent for metric in values.values())
