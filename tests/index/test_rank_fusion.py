import json

import pytest

import golden_files
from diptych.contracts.news import Candidate
from diptych.data.news.retrieval_file import read_retrieval
from diptych.index.rank_fusion import ReciprocalRank, TopTwoPooling, WeightedScores, without

FUSIONS = [TopTwoPooling, ReciprocalRank, WeightedScores]


def ranking(*hits):
    return [Candidate(*hit) for hit in hits]


def fused(fusion, *rankings):
    return [(hit.image_id, hit.article_id, hit.score) for hit in fusion.fuse(rankings)]


def scores(fusion, *rankings):
    return {hit.article_id: hit.score for hit in fusion.fuse(rankings)}


def test_top_two_pooling_is_the_published_first_stage():
    published = golden_files.beside_the_checkout("fixtures/ensemble")
    files = [read_retrieval(published / f"{name}.json") for name in ("beit3_coco_base", "siglipso", "beit3_base_ft")]
    expected = json.loads((published / "expected_stage1.json").read_text())
    assert len(expected) == 150
    assert [record["query_id"] for record in expected] == sorted(files[0])
    for record in expected:
        found = TopTwoPooling().fuse([of_file[record["query_id"]] for of_file in files])
        wanted = record["results"]
        assert [(hit.image_id, hit.article_id) for hit in found] == [
            (hit["image_id"], hit["article_id"]) for hit in wanted
        ]
        assert [hit.score for hit in found] == pytest.approx([hit["score"] for hit in wanted], rel=0, abs=1e-9)


def test_top_two_pooling_by_hand():
    first = ranking(("a1", "a", 0.9), ("b1", "b", 0.8), ("c1", "c", 0.7), ("d1", "d", 0.95))
    second = ranking(("a2", "a", 0.6), ("a3", "a", 0.5), ("c2", "c", 0.99), ("e1", "e", 0.4))
    assert fused(TopTwoPooling(), first, second) == [
        ("a1", "a", pytest.approx((0.45 + 0.3 + 0.2) / 3 + 0.06)),
        ("b1", "b", pytest.approx(0.32)),
        ("d1", "d", 0.95),  # raw scores from here on, however high; of c the first model's
        ("c1", "c", 0.7),
        ("e1", "e", 0.4),
    ]
    weighted = scores(TopTwoPooling(weights=[1, 3], bonus=0), first, second)
    assert (weighted["a"], weighted["b"]) == (pytest.approx((0.9 + 1.8 + 1.2) / 3), pytest.approx(0.64))
    assert [hit[0] for hit in fused(TopTwoPooling(rank_weights=[1.0]), first, second)] == ["a1", "d1", "b1", "c1", "e1"]
    assert len(TopTwoPooling(depth=2).fuse([first, second])) == 2


def test_reciprocal_rank_by_hand():
    first = ranking(("a1", "a", 0.9), ("a2", "a", 0.8), ("b1", "b", 0.7))
    second = ranking(("c1", "c", 9.0), ("b2", "b", 8.0), ("d1", "d", 7.0))
    # Ranks count articles: b is the second of both.
    assert fused(ReciprocalRank(), first, second) == [
        ("b1", "b", pytest.approx(0.5 / 62 + 0.5 / 62)),
        ("a1", "a", pytest.approx(0.5 / 61)),
        ("c1", "c", pytest.approx(0.5 / 61)),
        ("d1", "d", pytest.approx(0.5 / 63)),
    ]
    weighted = fused(ReciprocalRank(weights=[1, 4], k=0), first, second)
    assert weighted == [
        ("c1", "c", 4.0),
        ("b2", "b", 2.5),
        ("d1", "d", pytest.approx(4 / 3)),
        ("a1", "a", 1.0),
    ]


def test_weighted_scores_by_hand():
    first = ranking(("a1", "a", 0.9), ("b1", "b", 0.8), ("c1", "c", 0.5))
    second = ranking(("c2", "c", 30.0), ("a2", "a", 20.0), ("d1", "d", 10.0))
    assert fused(WeightedScores(), first, second) == [
        ("a1", "a", pytest.approx(0.5 * 1 + 0.5 * 0.5)),
        ("c2", "c", pytest.approx(0.5)),
        ("b1", "b", pytest.approx(0.375)),
        ("d1", "d", 0.0),
    ]
    assert scores(WeightedScores(weights=[1, 0]), first, second) == pytest.approx({"a": 1, "b": 0.75, "c": 0, "d": 0})
    assert fused(WeightedScores(weights=[1, 1]), ranking(("a1", "a", 0.2)), []) == [("a1", "a", 1.0)]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_candidates_without_an_article_are_left_out(fusion):
    known = ranking(("a1", "a", 0.9), ("b1", "b", 0.5), ("c1", "c", 0.1))
    lost = [Candidate("x", None, 2.0), Candidate("y", None, 1.0), *known]
    found = fusion().fuse([lost, known])
    assert {hit.article_id for hit in found} == {"a", "b", "c"}
    assert fusion().fuse([lost[:2], lost[:2]]) == []
    assert fusion().fuse([[], []]) == []


def test_photos_without_an_article_take_no_rank_but_one_of_the_first_two_hits():
    lost = [Candidate("x", None, 2.0), *ranking(("a1", "a", 0.9), ("b1", "b", 0.5))]
    assert scores(ReciprocalRank(k=0), lost) == {"a": 1.0, "b": 0.5}
    # As published, where they are called "unknown" and take their place.
    assert scores(TopTwoPooling(), lost) == {"a": pytest.approx(0.72), "b": 0.5}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_ties_stay_as_they_came(fusion):
    names = ["d", "b", "c", "a"]
    rankings = [ranking((f"{name}1", name, 0.5)) for name in names]
    assert [hit.article_id for hit in fusion().fuse(rankings)] == names


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("weights", [[1.0], [0.2, 0.3, 0.5], []])
def test_weights_of_the_wrong_number_are_refused(fusion, weights):
    with pytest.raises(ValueError, match=rf"weights has {len(weights)} entries for 2 rankings; give one for"):
        fusion(weights=weights).fuse([ranking(("a1", "a", 0.9)), ranking(("b1", "b", 0.9))])


def test_without_one_ranking_the_others_have_its_weight():
    first, second, third = ranking(("a1", "a", 0.9)), ranking(("b1", "b", 0.8)), ranking(("c1", "c", 0.7))
    whole = TopTwoPooling(weights=[0.5, 0.3, 0.2])
    assert without(whole, 0).weights == pytest.approx([0.6, 0.4]) and whole.weights == [0.5, 0.3, 0.2]
    assert without(TopTwoPooling(weights=[1, 0, 0]), 0).weights == [0.5, 0.5]
    equal = TopTwoPooling(bonus=0)
    assert scores(without(equal, 2), first, second) == pytest.approx({"a": 0.45, "b": 0.4})
    assert scores(equal, first, second, third)["a"] == pytest.approx(0.3)


def test_a_fusion_that_knows_no_weights_is_used_as_it_is():
    class Own:
        def fuse(self, rankings):
            return list(rankings[0])

    own = Own()
    assert without(own, 1) is own
