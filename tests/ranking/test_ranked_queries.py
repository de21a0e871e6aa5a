"""From queries to ranked queries: an example worked out by hand both ways, and what is refused."""

import logging
from dataclasses import replace

import pytest
import torch

from diptych.contracts.retrieval import EvaluationProtocol, Query
from diptych.ranking.fitted_protocol import fitted
from diptych.ranking.ranked_queries import query_positions, rank_ids, rank_queries

CIRR = EvaluationProtocol(
    name="cirr_val",
    version=1,
    gallery="split file",
    exclude_reference=True,
    text_template="{}",
    caption_joining="none",
    recall_ks=(1, 5),
    subset_ks=(1, 2),
    average_of=("recall_at_5", "recall_subset_at_1"),
)
GALLERY = list("abcdefgh")
GROUP = tuple("abcdef")
QUERIES = [Query("q1", "a", "", "c", ("c",), GROUP), Query("q2", "b", "", "a", ("a",), GROUP, ("addition",))]
ORDERS = {"q1": list("agbchdef"), "q2": list("bacdefgh")}


def embeddings_for(orders: dict[str, list[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """One-hot gallery vectors; a query's vector holds the scores that give its order."""
    queries = torch.zeros(len(orders), len(GALLERY))
    for row, order in enumerate(orders.values()):
        for place, image_id in enumerate(order):
            queries[row, GALLERY.index(image_id)] = len(order) - place
    return queries, torch.eye(len(GALLERY))


def test_worked_example_from_embeddings():
    first, second = rank_queries(*embeddings_for(ORDERS), QUERIES, GALLERY, CIRR)
    assert first.ranked_ids == tuple("gbchdef")
    assert (first.target_rank, first.relevant_ranks, first.num_relevant) == (3, (3,), 1)
    assert (first.subset_ids, first.subset_rank) == (tuple("bcdef"), 2)
    assert first.scores == (7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
    assert second.ranked_ids == tuple("acdefgh")
    assert (second.target_rank, second.subset_rank, second.aspects) == (1, 1, ("addition",))


def test_prediction_lists_rank_as_the_embeddings_do():
    for protocol in (CIRR, replace(CIRR, exclude_reference=False)):
        ranked = rank_queries(*embeddings_for(ORDERS), QUERIES, GALLERY, protocol)
        assert rank_ids(ORDERS, QUERIES, protocol) == [replace(one, scores=()) for one in ranked]


def test_reference_kept_when_the_protocol_says_so():
    ranked = rank_queries(*embeddings_for(ORDERS), QUERIES, GALLERY, replace(CIRR, exclude_reference=False))
    assert [one.target_rank for one in ranked] == [4, 2]
    assert [one.subset_rank for one in ranked] == [2, 1]
    assert ranked[0].ranked_ids == tuple("agbchdef")


def test_group_members_far_outside_the_results_are_ordered():
    gallery_ids = [f"i{number}" for number in range(300)]
    query = Query("q", "i299", "", "i290", ("i290",), ("i280", "i290", "i299", "i285", "i295", "i298"))
    scores = torch.arange(300, 0, -1.0)
    [ranked] = rank_queries(scores[None], torch.eye(300), [query], gallery_ids, CIRR)
    assert len(ranked.ranked_ids) == 50
    assert ranked.subset_ids == ("i280", "i285", "i290", "i295", "i298")
    assert (ranked.target_rank, ranked.subset_rank) == (291, 3)


ALONE = replace(CIRR, exclude_reference=False, candidates="group", recall_ks=(1, 3), subset_ks=(), average_of=())


@pytest.mark.parametrize("exclude_reference", [False, True])
def test_a_group_that_is_ranked_alone(exclude_reference):
    """The other images of the gallery neither take ranks nor appear, whichever way the ranking comes."""
    queries = [Query("q1", "a", "", "c", ("c", "e"), tuple("ecab")), Query("q2", "h", "", "f", ("f",), tuple("fdg"))]
    orders = {"q1": list("ghbcafed"), "q2": list("gahfbdce")}
    protocol = replace(ALONE, exclude_reference=exclude_reference)
    first, second = rank_queries(*embeddings_for(orders), queries, GALLERY, protocol)
    assert first.ranked_ids == (tuple("bce") if exclude_reference else tuple("bcae"))
    assert first.scores == ((6.0, 5.0, 2.0) if exclude_reference else (6.0, 5.0, 4.0, 2.0))
    assert (first.target_rank, first.relevant_ranks) == (2, (2, 3 if exclude_reference else 4))
    assert (second.ranked_ids, second.target_rank, second.num_relevant) == (tuple("gfd"), 2, 1)
    assert (first.subset_ids, first.subset_rank) == ((), None)
    assert rank_ids(orders, queries, protocol) == [replace(one, scores=()) for one in (first, second)]


def test_a_groups_results_are_cut_and_its_ranks_are_not():
    orders = {"q1": list("ghbcafed")}
    query = Query("q1", "h", "", "e", ("e",), tuple("ecab"))
    [ranked] = rank_queries(*embeddings_for(orders), [query], GALLERY, ALONE, k=2)
    assert (ranked.ranked_ids, ranked.target_rank) == (("b", "c"), 4)


def test_candidates_must_hold_the_answer_and_k_images():
    with pytest.raises(ValueError, match="query q7: relevant image d is not among its candidates"):
        query_positions([Query("q7", "a", "", "d", ("d",), tuple("abc"))], GALLERY, ALONE)
    queries = [Query("q7", "a", "", "b", ("b",), tuple("abc")), Query("q8", "a", "", "b", ("b",), ("b", "c"))]
    with pytest.raises(ValueError, match="group smaller than K: cirr_val v1 asks for K=3, the group has 2 images"):
        query_positions(queries, GALLERY, ALONE)
    assert fitted(ALONE, queries, 8).recall_ks == (1,)
    assert fitted(ALONE, queries[:1], 8) is ALONE
    assert fitted(replace(ALONE, exclude_reference=True), queries[:1], 8).left_out == ("recall_at_3",)


def test_hidden_answers_leave_no_ranks():
    hidden = Query("q1", "a", "", group_member_ids=GROUP)
    [ranked] = rank_queries(torch.ones(1, 2), torch.ones(8, 2), [hidden], GALLERY, CIRR)
    assert (ranked.target_rank, ranked.relevant_ranks, ranked.num_relevant) == (None, (), 0)
    assert (ranked.subset_rank, ranked.subset_ids) == (None, tuple("bcdef"))
    assert len(ranked.ranked_ids) == 7


def test_several_relevant_images_with_the_reference_among_them():
    query = Query("q", "b", "", "d", ("b", "d", "h"))
    [ranked] = rank_queries(torch.ones(1, 2), torch.ones(8, 2), [query], GALLERY, CIRR)
    assert (ranked.target_rank, ranked.relevant_ranks, ranked.num_relevant) == (3, (3, 7), 3)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query("q7", "a", "", "x", ("x",)), "query q7: relevant image x is not in the gallery"),
        (Query("q7", "a", "", "b", ("b",), ("a", "b", "y")), "query q7: group member y is not in the gallery"),
    ],
)
def test_images_outside_the_gallery_are_named(query, message):
    with pytest.raises(ValueError, match=message):
        query_positions([query], GALLERY, CIRR)


def test_gallery_must_hold_k_images_once_each():
    with pytest.raises(ValueError, match="gallery smaller than K: cirr_val v1 asks for K=10, the gallery has 8"):
        query_positions(QUERIES, GALLERY, replace(CIRR, recall_ks=(1, 10)))
    with pytest.raises(ValueError, match="9 given, 8 different"):
        query_positions(QUERIES, [*GALLERY, "a"], CIRR)
    with pytest.raises(ValueError, match="7 gallery embeddings for 8 gallery ids"):
        rank_queries(torch.ones(2, 3), torch.ones(7, 3), QUERIES, GALLERY, CIRR)


def test_the_order_of_a_group_may_be_known_beyond_the_end_of_a_list():
    """An evaluation's file has 50 results, and the whole order of CIRR's look-alikes."""
    whole = rank_queries(*embeddings_for(ORDERS), QUERIES, GALLERY, CIRR)
    lists = {one.query_id: one.ranked_ids[:1] for one in whole}
    subsets = {one.query_id: one.subset_ids for one in whole}
    cut, known = (rank_ids(lists, QUERIES, CIRR, GALLERY, subsets=of) for of in (None, subsets))
    assert [one.subset_rank for one in known] == [one.subset_rank for one in whole]
    assert [one.subset_rank for one in cut] != [one.subset_rank for one in whole]


def test_targets_that_a_list_leaves_out_are_not_found(caplog):
    with caplog.at_level(logging.WARNING):
        first, second = rank_ids({"q1": ["g", "b"], "q2": ["a"]}, QUERIES, CIRR)
    assert (first.target_rank, first.relevant_ranks, first.subset_rank, first.num_relevant) == (None, (), None, 1)
    assert (second.target_rank, second.subset_rank) == (1, 1)
    assert "2 lists hold fewer than K=5 images" in caplog.text


def test_integer_and_string_ids_are_the_same():
    query = Query("0", "9", "", "12", ("12", "3"))
    protocol = replace(CIRR, recall_ks=(1,))
    assert rank_ids({"0": [3, 12]}, [query], protocol) == rank_ids({"0": ["3", "12"]}, [query], protocol)
    with pytest.raises(ValueError, match="query 0: image 3 stands twice"):
        rank_ids({"0": [3, 12, "3"]}, [query], protocol)


@pytest.mark.parametrize("given", ["abc", [["a"]], [1.0], [True], [None]])
def test_predictions_must_be_lists_of_ids(given):
    with pytest.raises(ValueError, match="query q1: the prediction must be a list of image ids"):
        rank_ids(ORDERS | {"q1": given}, QUERIES, CIRR)


def test_every_query_needs_its_list():
    queries = [Query(f"q{number}", "a", "", "c") for number in range(12)]
    with pytest.raises(ValueError, match=r"11 queries without a prediction \(of 12 queries\): q0, q2, .*q10, \.\.\.$"):
        rank_ids({"q1": ["c"]}, queries, CIRR)
    with pytest.raises(ValueError, match=r"1 predictions for unknown queries \(of 2 queries\): 'q9'. There is 'q1'"):
        rank_ids(ORDERS | {"q9": ["c"]}, QUERIES, CIRR)


ALSO = ("reference_rank", "distractor_ranks")


def test_reference_and_distractors_are_ranked_where_that_is_asked_for():
    queries = [replace(QUERIES[0], distractors=("b", "z", "c", "a")), QUERIES[1]]  # z is no image, c the answer
    for exclude, reference, distractors in ((False, 1, (3, 1)), (True, None, (2,))):
        protocol = replace(CIRR, exclude_reference=exclude)
        ranked = rank_queries(*embeddings_for(ORDERS), queries, GALLERY, protocol, also=ALSO)
        assert (ranked[0].reference_rank, ranked[0].distractor_ranks) == (reference, distractors)
        assert (ranked[1].reference_rank, ranked[1].distractor_ranks) == (reference, ())
        assert rank_ids(ORDERS, queries, protocol, GALLERY, ALSO) == [replace(one, scores=()) for one in ranked]
        plain = [replace(one, reference_rank=None, distractor_ranks=()) for one in ranked]
        assert rank_queries(*embeddings_for(ORDERS), queries, GALLERY, protocol) == plain


def test_reference_and_distractors_outside_a_list_are_infinitely_far():
    queries = [replace(QUERIES[0], distractors=("b", "z"))]
    for gallery, distractors in ((GALLERY, (2,)), (None, (2, float("inf")))):
        (ranked,) = rank_ids({"q1": ["g", "b"]}, queries, replace(CIRR, exclude_reference=False), gallery, ALSO)
        assert (ranked.reference_rank, ranked.distractor_ranks) == (float("inf"), distractors)
