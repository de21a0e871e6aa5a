"""Which queries are in doubt, and the order that two opinions make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.ranking.reranking import candidates, fused, reranked

LINE = {"query_id": "q", "ranked_ids": ["a", "b", "c", "d"], "scores": [0.9, 0.8, 0.7, 0.1], "target_rank": 3}


@pytest.mark.parametrize(
    ("removed", "k", "margin", "found"),
    [
        (None, 2, 0.2, ["a", "b"]),
        (None, 3, None, ["a", "b", "c"]),
        (None, 9, 0.2, ["a", "b", "c", "d"]),
        (None, 2, 0.05, []),
        ("a", 2, 0.2, ["b", "c"]),
        ("c", 3, 0.2, ["a", "b", "d"]),
    ],
)
def test_candidates(removed, k, margin, found):
    assert candidates(LINE, removed, k, margin) == found


def test_one_result_is_never_in_doubt():
    assert candidates({"ranked_ids": ["a", "b"], "scores": [1.0, 1.0]}, "b", 5, None) == []


def test_scores_count_from_0_to_1_within_the_candidates():
    assert fused([0.9, 0.8, 0.7], [0.0, 1.0, 0.5], 0.6) == pytest.approx([0.4, 0.8, 0.3])
    assert fused([0.5, 0.5], [0.2, 0.4], 0.5) == pytest.approx([0.1, 0.2])


def test_the_order_scores_and_ranks_of_a_line():
    line = {**LINE, "subset_ids": ["b", "c", "x"]}
    new = reranked(line, {"a": 0.0, "b": 0.0, "c": 1.0}, 0.75, "c", None)
    assert new["ranked_ids"] == ["c", "a", "b", "d"] and new["target_rank"] == 1
    assert new["scores"] == pytest.approx([0.85, 0.75, 0.725, 0.1])  # of 0.75, 0.25 and 0.125 between 0.7 and 0.9
    assert new["subset_ids"] == ["c", "b", "x"]


def test_what_the_protocol_takes_out_keeps_its_place_and_counts_in_no_rank():
    new = reranked(LINE, {"b": 0.0, "c": 1.0}, 0.75, "c", "a")
    assert new["ranked_ids"] == ["a", "c", "b", "d"] and new["target_rank"] == 1


def test_a_target_beyond_the_list_keeps_its_rank():
    assert reranked({**LINE, "target_rank": 70}, {"a": 0.0, "b": 1.0}, 1.0, "z", None)["target_rank"] == 70
    assert reranked({**LINE, "target_rank": None}, {"a": 0.0, "b": 1.0}, 1.0, None, None)["target_rank"] is None


SCORES = st.lists(st.floats(-1, 1), min_size=2, max_size=12).map(lambda found: sorted(found, reverse=True))


def line_of(scores):
    return {"query_id": "q", "ranked_ids": [f"i{number}" for number in range(len(scores))], "scores": scores}


@given(SCORES, st.floats(0, 1), st.floats(0, 1))
def test_a_verifier_that_always_says_the_same_changes_nothing(scores, probability, weight):
    line = line_of(scores)
    assert reranked(line, dict.fromkeys(line["ranked_ids"], probability), weight, None, None) == line


@given(SCORES, st.data())
def test_weight_0_changes_nothing(scores, data):
    line = line_of(scores)
    known = {name: data.draw(st.floats(0, 1)) for name in line["ranked_ids"]}
    assert reranked(line, known, 0.0, None, None) == line


@given(SCORES, st.floats(0.501, 1), st.data())
def test_the_one_yes_comes_first(scores, weight, data):
    line = line_of(scores)
    chosen = data.draw(st.sampled_from(line["ranked_ids"]))
    new = reranked(line, {name: float(name == chosen) for name in line["ranked_ids"]}, weight, chosen, None)
    assert new["ranked_ids"] == [chosen, *(name for name in line["ranked_ids"] if name != chosen)]
    assert all(one >= other - 1e-6 for one, other in zip(new["scores"], new["scores"][1:], strict=False))
