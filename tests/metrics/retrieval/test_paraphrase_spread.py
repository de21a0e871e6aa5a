import pytest

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.bootstrap import intervals
from diptych.metrics.retrieval.measuring import measure
from diptych.metrics.retrieval.paraphrase_spread import ParaphraseSpread

PROTOCOL = EvaluationProtocol("tiny", 1, "union", False, "{}", "none", recall_ks=(1, 5))


def query(rank, text, reference="a", target="b"):
    return RankedQuery(
        f"{reference}{target}{text}", (), (), rank, (), 1, reference_image=reference, target_image=target, text=text
    )


def measured(*ranked):
    return measure("one", PROTOCOL, (), list(ranked), {"spread": ParaphraseSpread()}, with_bounds=True)


def test_groups_are_counted_once_whatever_their_size():
    result = measured(
        query(1, "make it red"),
        query(9, "in red"),  # found in one wording of three
        query(1, "red instead", "c"),
        query(3, "red, please"),
        query(1, "red", "c"),  # found in both
        query(7, "alone", "e"),  # no group
        query(8, "x", "f"),
        query(9, "y", "f"),  # found in neither
    )
    assert result.metrics == {
        "paraphrase_spread_at_1": pytest.approx(1 / 3),
        "paraphrase_all_at_1": pytest.approx(1 / 3),
        "paraphrase_none_at_1": pytest.approx(1 / 3),
        "paraphrase_spread_at_5": pytest.approx(1 / 3),
        "paraphrase_all_at_5": pytest.approx(1 / 3),
        "paraphrase_none_at_5": pytest.approx(1 / 3),
    }
    assert result.meanings["paraphrase_spread_at_1"].better == "lower" and result.absent == {}


def test_intervals_are_over_groups():
    """Two queries a group: the interval is that of a quarter of 100 groups, not of 200 queries."""
    ranked = [query(1 if number % 4 or word == "x" else 9, word, str(number)) for number in range(100) for word in "xy"]
    low, high = measured(*ranked).bounds["paraphrase_spread_at_1"]
    assert (low, high) == (pytest.approx(0.25 - 0.085, abs=0.015), pytest.approx(0.25 + 0.085, abs=0.015))
    values = measured(*ranked).values["paraphrase_spread_at_1"]
    assert (~values.values.isnan()).sum() == 100 and intervals({"x": values}, PROTOCOL)["x"] == (low, high)


def test_the_same_text_twice_is_no_paraphrase_and_no_groups_are_said():
    result = measured(query(1, "red"), query(9, "red"), query(1, "red", target="c"), query(1, "blue", "d", None))
    assert result.metrics == {}
    assert set(result.absent) == {f"paraphrase_{name}_at_{k}" for name in ("spread", "all", "none") for k in (1, 5)}
    assert "there are no groups" in result.absent["paraphrase_all_at_5"]


def test_keys_are_known_before_anything_is_measured():
    assert len(ParaphraseSpread().meanings(PROTOCOL)) == 6
