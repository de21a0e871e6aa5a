"""Every form in which programs write rankings gives the same ranking; what is wrong is named with its place."""

from __future__ import annotations

import json

import pytest

from diptych.ranking.predictions_file import check_scores, read_rankings

RANKED = {"1": ["a", "b", "c"], "2": ["c", "a"]}
SCORES = {"1": {"b": 0.5, "a": 0.75, "c": 0.25}, "2": {"a": -2, "c": -1}}  # neither in the order of the ranking
LONG = [
    {"qid": int(query), "docno": image, "score": score} for query, of in SCORES.items() for image, score in of.items()
]
OWN = [{"query_id": query, "ranked_ids": ids} for query, ids in RANKED.items()]
RUN = """2 Q0 a 2 -2 mine
1 Q0 c 3 0.25 mine
1 Q0 a 1 7.5e-1 mine

2 Q0 c 1 -1 mine
1\tQ0\tb\t2\t0.5\tmine
"""


def lines(records):
    return "\n".join(map(json.dumps, records))


def read(tmp_path, text, name="file"):
    (tmp_path / name).write_text(text)
    return read_rankings(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "form", "scored"),
    [
        (json.dumps(RANKED), "an object {query: [images]}", False),
        (json.dumps(RANKED, indent=1), "an object {query: [images]}", False),
        (json.dumps({"version": "rc2", "metric": "recall", **RANKED}), "an object {query: [images]}", False),
        (json.dumps(SCORES), "an object {query: {image: score}}", True),
        (json.dumps(OWN), "a list of records with ranked_ids", False),
        (lines(OWN), "JSON lines of records with ranked_ids", False),
        (json.dumps(LONG), "a list of records of an image each", True),
        (lines(LONG), "JSON lines of records of an image each", True),
        ("\ufeff" + lines(LONG), "JSON lines of records of an image each", True),
        (RUN, "a TREC run", True),
        (RUN.replace("\n", "\r\n"), "a TREC run", True),
    ],
)
def test_the_form_is_told_by_the_content(tmp_path, text, form, scored):
    rankings = read(tmp_path, text)
    assert rankings.form == form and rankings.num_tied == 0
    assert rankings.lists == RANKED
    assert rankings.of_each("scores") == ({"1": [0.75, 0.5, 0.25], "2": [-1, -2]} if scored else {})
    assert rankings.say() == f"{form}: 2 queries with 2 to 3 images each"


def test_one_line_is_a_record_where_the_name_says_lines(tmp_path):
    text = json.dumps(OWN[0] | {"scores": [3, 2, 1], "subset_ids": ["b", "a"], "target_rank": 2})
    rankings = read(tmp_path, text, "predictions.jsonl")
    assert rankings.lines["1"] == json.loads(text)
    assert rankings.of_each("subset_ids") == {"1": ["b", "a"]}


def test_numbers_are_ids(tmp_path):
    assert read(tmp_path, json.dumps({"1": [12, "b"]})).lists == {"1": ["12", "b"]}
    assert read(tmp_path, json.dumps([{"query_id": 3, "ranked_ids": [4]}])).lists == {"3": ["4"]}


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ('{"1": {"b": 1, "a": 1, "c": 2}}', ["c", "b", "a"]),
        ("1 Q0 b 3 1 x\n1 Q0 a 2 1 x\n1 Q0 c 1 2 x", ["c", "a", "b"]),  # by their ranks
        ("1 Q0 b 0 1 x\n1 Q0 a 0 1 x\n1 Q0 c 0 2 x", ["c", "b", "a"]),  # which say nothing: as they stand
    ],
)
def test_equal_scores_stand_by_rank_or_in_file_order_and_are_counted(tmp_path, text, order):
    rankings = read(tmp_path, text)
    assert rankings.lists == {"1": order}
    assert rankings.say().endswith("; 1 of them have equal scores, which stay in the file's order")


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file holds nothing; a file of rankings is"),
        ("1,a,b", r"file:1: 1 columns where a TREC run has six \(query Q0 image rank score tag\): '1,a,b'"),
        ("1 Q0 a 1 0.5 x\n1 Q0 my room.png 2 0.4 x", "file:2: 7 columns where"),
        ("1 Q0 a 1 nan x", "file:1: query '1': the score of 'a' must be a finite number, found nan"),
        ("1 Q0 a 1 high x", "file:1: query '1': the score of 'a' must be a finite number, found 'high'"),
        ("1 Q0 a one 1 x", "file:1: query '1': the rank of 'a' must be a number, found 'one'"),
        ("1 Q0 a 1 2 x\n2 Q0 a 1 2 x\n1 Q0 a 2 1 x", r"file:3: query '1' has the image 'a' twice, first in .*file:1"),
        ("1 Q0 a 1 0.2 x\n1 Q0 b 2 0.4 x", r"file:1: query '1': 'a' has rank 1 before 'b' with rank 2, and the lower"),
        ('{"1": ["a"], "1": ["b"]}', "file: key '1' stands twice in one object"),
        ('{"1": "a"}', "file: the content, key '1' must be a list, each of it a text or a whole number, found 'a'"),
        ('{"1": ["a"], "2": {"a": 1}}', "file: the content, key '2' must be a list"),
        ('{"1": {"a": null}}', "file: the content, key '1', key 'a' must be a finite number, found null"),
        ('{"1": {"a": NaN}}', "file: the content, key '1', key 'a' must be a finite number, found nan"),
        ('{"version": "rc2", "metric": "recall_subset", "1": ["a"]}', "a server's file of 'recall_subset'"),
        ('[{"query_id": "1", "caption": "A red room."}]', r"record 1: no record of a ranking \(query_id, caption\)"),
        ('["a"]', r"file: record 1: no record of a ranking \('a'\)"),
        (lines([*OWN, OWN[0]]), "file:3: query_id '1' occurs twice, first in .*file:1; delete one of the lines"),
        (lines([*LONG, LONG[0]]), "file:6: query '1' has the image 'b' twice, first in .*file:1"),
        (lines([LONG[0], {"qid": 1, "docno": "x"}]), "file:2: query '1': the score of 'x' .*, there is none"),
        (lines([OWN[0], LONG[0]]), "some records have ranked_ids, others one image"),
        (lines([OWN[0] | {"scores": [1]}] * 2), "file:1: query '1' has not one score for each of its ranked_ids"),
        (lines([OWN[0] | {"set": "a"}, OWN[1] | {"set": "b"}]), r"its lines are of several sets \(a, b\)"),
        ('{"query_id": "1",\n "ranked_ids": [', r"file:2: not JSON \(Expecting value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(("scores", "message"), [([1], "not one score for each"), ([1, 2], "do not fall")])
def test_scores_that_say_nothing_of_the_order(tmp_path, scores, message):
    with pytest.raises(ValueError, match=f"f: .*{message}"):
        check_scores(tmp_path / "f", {"query_id": "1", "ranked_ids": ["a", "b"], "scores": scores})
