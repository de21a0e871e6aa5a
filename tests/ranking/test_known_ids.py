from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.contracts.retrieval import EvaluationProtocol, Query
from diptych.ranking.known_ids import KnownIds, with_known_keys
from diptych.ranking.ranked_queries import rank_ids

PATHS = KnownIds(["images/a.jpg", "images/b.jpg", "other/b.jpg"])
NUMBERS = KnownIds(["212560", "7", "0"])
NAMES = KnownIds(["dev-1-img0", "0007"])


@pytest.mark.parametrize(
    ("known", "written", "found"),
    [
        (PATHS, "images/a.jpg", "images/a.jpg"),
        (PATHS, "./images//a.jpg", "images/a.jpg"),
        (PATHS, "images/A.jpg", None),
        (PATHS, "a.jpg", None),
        (PATHS, "../images/a.jpg", None),
        (NUMBERS, "000000212560", "212560"),
        (NUMBERS, "000000212560.jpg", "212560"),
        (NUMBERS, "212560.jpg", "212560"),
        (NUMBERS, "000", "0"),
        (NUMBERS, "8", None),
        (NUMBERS, "-7", None),
        (NUMBERS, "7.0.jpg", None),
        (NUMBERS, "\u0667", None),
        (NUMBERS, "./7", None),
        (NUMBERS, "212560.0", "212560"),
        (NUMBERS, "7.5", None),
        (NUMBERS, "\ufeff7", "7"),
        (NUMBERS, " 0007.jpg\n", "7"),
        (PATHS, "\ufeff images/a.jpg ", "images/a.jpg"),
        (PATHS, "images%2Fa.jpg", None),
        (NAMES, "dev-1-img0\t", "dev-1-img0"),
        (NAMES, "0007", "0007"),
        (NAMES, "7", None),
        (NAMES, "dev-1-img0.png", None),
    ],
)
def test_an_id_is_found_in_another_spelling_where_there_is_no_doubt(known, written, found):
    assert known.find(written) == found


def test_what_may_have_been_meant_is_offered():
    said = PATHS.say(["IMAGES\\A.JPEG", "b", "zebra"])
    assert said == (
        "'IMAGES\\\\A.JPEG' (did you mean 'images/a.jpg'?), 'b', 'zebra'. There is 'images/a.jpg', for example"
    )
    assert "'dev-1-img0.png' (did you mean 'dev-1-img0'?)" in NAMES.say(["dev-1-img0.png"])
    for spelt in ("images%2Fa.jpg", "x/../images/a.jpg", "file:///images/a.jpg", "/data/A.PNG", "'a.jpg'"):
        assert PATHS.meant(spelt) == "images/a.jpg"
    assert NUMBERS.meant("val2017/000000212560.jpg") == "212560" and NAMES.meant("7") == "0007"
    assert PATHS.say(map(str, range(9))).startswith("'0', '1', '2', '3', '4', .... There is")
    assert len(PATHS.say(["x" * 10_000])) < 200


PROTOCOL = EvaluationProtocol("circo", 1, "all", False, "x", "x", recall_ks=(1,))
QUERIES = [Query("1", "7", "x", "212560", ("212560",)), Query("2", "8", "x", "9", ("9", "10"))]
GALLERY = ["7", "8", "9", "10", "11", "212560"]


@pytest.mark.parametrize("gallery", [None, GALLERY])
def test_numbers_as_files_write_them_score_as_numbers(gallery, caplog):
    written = {"1": ["000000212560.jpg", "000000000007"], "2": ["10", 9]}
    assert rank_ids(written, QUERIES, PROTOCOL, gallery) == rank_ids(
        {"1": [212560, 7], "2": [10, 9]}, QUERIES, PROTOCOL, gallery
    )
    assert "2 ids are written in another way" in caplog.text
    with pytest.raises(ValueError, match="query 1: image 7 stands twice"):
        rank_ids({"1": ["7", "07"], "2": []}, QUERIES, PROTOCOL, gallery)


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("lists", "gallery", "message"),
    [
        (
            {"1": ["7", "12"], "2": ["13.jpg"]},
            GALLERY,
            "2 ids, in 2 of 2 lists, are no images of the gallery: '12', '13.jpg'. There is '7', for example",
        ),
        ({"1": ["7"], "2": ["x"]}, None, "1 ids, in 1 of 2 lists, are no images of the gallery: 'x'. There is"),
        ({"1": [0, 1], "2": [0, 1]}, GALLERY, "4 ids, in 2 of 2 lists, are no images"),
        ({"1": ["7"], "zwei": ["9"]}, GALLERY, r"1 predictions for unknown queries \(of 2 queries\): 'zwei'. There is"),
        ({"1": ["7"], "01": ["9"], "2": []}, GALLERY, "predictions: query '1' is there twice, in two spellings"),
    ],
)
def test_ids_that_are_none_are_named(lists, gallery, message):
    with pytest.raises(ValueError, match=message):
        rank_ids(lists, QUERIES, PROTOCOL, gallery)


def test_lists_without_an_answer_where_the_gallery_is_not_known(caplog):
    ranked = rank_ids({"1": ["0", "1"], "2": ["2"]}, QUERIES, PROTOCOL)
    assert all(one.target_rank is None for one in ranked)
    assert "no list holds any accepted answer" in caplog.text and "'0', '1', '2'. There is '" in caplog.text
    queries = [Query("1", "a/x.jpg", "x", "a/y.jpg", ("a/y.jpg",))]
    with pytest.raises(ValueError, match=r"no list holds .*: 'y.png' \(did you mean 'a/y.jpg'\?\)"):
        rank_ids({"1": ["y.png", "z.png"]}, queries, PROTOCOL)


def test_a_list_may_hold_its_reference_where_the_gallery_does_not():
    (ranked,) = rank_ids({"1": ["a", "b"]}, [Query("1", "a", "x", "b", ("b",))], PROTOCOL, ["b", "c"])
    assert ranked.target_rank == 2


_IDS = st.one_of(st.text(max_size=12), st.sampled_from(["./a/b", "a//b", "007", "7.jpg", "dev-1", "a/b", "7"]))


@given(st.lists(st.one_of(_IDS, st.integers()), max_size=6), st.sampled_from([["a/b", "dev-1"], ["7", "10"]]))
def test_any_id_is_matched_or_named(ids, gallery):
    query = Query("q", gallery[0], "x", gallery[1], (gallery[1],))
    try:
        (ranked,) = rank_ids({"q": ids}, [query], PROTOCOL, gallery)
    except ValueError as error:
        unknown = [str(name) for name in ids if KnownIds(gallery).find(str(name)) is None]
        assert f"{unknown[0]!r:.80}" in str(error) if unknown else "stands twice" in str(error)
        return
    assert set(ranked.ranked_ids) <= set(gallery) and len(ranked.ranked_ids) == len(ids)


@given(st.dictionaries(_IDS, st.none(), max_size=4))
def test_any_query_id_is_matched_or_named(given):
    try:
        assert with_known_keys(given, ["a/b", "dev-1"], "captions").keys() <= {"a/b", "dev-1"}
    except ValueError as error:
        unknown = [name for name in given if KnownIds(["a/b", "dev-1"]).find(name) is None]
        assert "in two spellings" in str(error) or f"{unknown[0]!r:.80}" in str(error)


def test_a_file_may_speak_of_other_queries_but_not_of_others_alone():
    assert with_known_keys({"b": 1, "./a": 2}, ["a"], "entries", others=True) == {"a": 2}
    assert with_known_keys({}, ["a"], "entries", others=True) == {}
    with pytest.raises(ValueError, match=r"1 entries for unknown queries \(of 1 queries\): 'a.png' \(did you mean 'a'"):
        with_known_keys({"a.png": 1}, ["a"], "entries", others=True)
