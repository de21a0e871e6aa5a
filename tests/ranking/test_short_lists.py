"""Lists that end before K are counted for each metric, and said in a sentence."""

from __future__ import annotations

from dataclasses import replace

from diptych.contracts.retrieval import EvaluationProtocol, Query
from diptych.ranking.ranked_queries import rank_ids
from diptych.ranking.short_lists import ShortLists, said_of_short, short_lists

PROTOCOL = EvaluationProtocol("p", 1, "g", True, "{text}", "none", recall_ks=(1, 2, 3), map_ks=(3,), subset_ks=(1, 2))
QUERIES = [
    Query("0", "r", "x", "a", ("a",), group_member_ids=("r", "a", "b", "c")),
    Query("1", "r", "x", "b", ("b",), group_member_ids=("r", "a", "b", "c")),
]


def ranked(first, second, protocol=PROTOCOL):
    return rank_ids({"0": first, "1": second}, QUERIES, protocol, ["r", "a", "b", "c", "d"])


def test_what_is_taken_out_does_not_count():
    found = short_lists(ranked(["r", "a", "b"], ["b", "c", "a"]), PROTOCOL)
    assert found == {"recall_at_3": ShortLists(1, 2), "map_at_3": ShortLists(1, 2)}
    kept = replace(PROTOCOL, exclude_reference=False)
    assert short_lists(ranked(["r", "a", "b"], ["b", "c", "a"], kept), kept) == {}


def test_look_alikes_are_counted_on_their_own():
    found = short_lists(ranked(["d", "a"], ["d"]), PROTOCOL)
    assert found["recall_at_2"] == ShortLists(1, 1)
    assert found["recall_subset_at_1"] == ShortLists(1, 0) and found["recall_subset_at_2"] == ShortLists(2, 0)


def test_hidden_answers_have_no_metrics():
    assert short_lists(ranked(["a"], ["b"]), replace(PROTOCOL, answers_hidden=True)) == {}


def test_one_sentence_for_the_same_lists():
    found = {"recall_at_10": ShortLists(3, 5), "recall_at_50": ShortLists(4, 5), "map_at_10": ShortLists(3, 5)}
    assert list(said_of_short(found, 1000)) == [
        "recall_at_10, map_at_10: 3 of 1,000 lists hold fewer images than K, the shortest 5; what they leave out counts"
        " as a miss, so these are lower bounds.",
        "recall_at_50: 4 of 1,000 lists hold fewer images than K, the shortest 5; what they leave out counts as a miss,"
        " so these are lower bounds.",
    ]
