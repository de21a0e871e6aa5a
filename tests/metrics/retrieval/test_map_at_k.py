import math

import pytest

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.map_at_k import MeanAveragePrecisionAtK, average_precision_at_k


@pytest.mark.parametrize(
    ("relevant_ranks", "num_relevant", "k", "expected"),
    [
        ((1, 3), 3, 5, (1 + 2 / 3) / 3),  # G = {5, 7, 8}, list [5, 9, 7, 1, 2]
        ((1, 2, 3, 4, 5), 8, 5, 1.0),
        ((1, 2, 3, 4, 5), 8, 10, 5 / 8),
        ((2, 40), 2, 10, 0.25),
        ((), 4, 10, 0.0),
        ((6,), 1, 5, 0.0),
    ],
)
def test_circos_rule(relevant_ranks, num_relevant, k, expected):
    assert average_precision_at_k(relevant_ranks, num_relevant, k) == pytest.approx(expected, abs=1e-12)


def test_no_known_answer_is_not_a_zero():
    assert math.isnan(average_precision_at_k((), 0, 5))


def test_metric_takes_its_ks_from_the_protocol():
    metric = MeanAveragePrecisionAtK()
    protocol = EvaluationProtocol("circo_val", 1, "coco", False, "{}", "none", recall_ks=(), map_ks=(5, 10))
    metric.update([RankedQuery("0", (), (), 1, (1, 2, 3, 4, 5), 8)], protocol)
    assert {name: found.values.tolist() for name, found in metric.compute().items()} == {
        "map_at_5": [1.0],
        "map_at_10": [0.625],
    }
