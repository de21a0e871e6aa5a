"""Marks of a blind review to rates: two annotators on a key small enough for paper."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diptych.annotation.blind_marks import read_blind_review
from diptych.annotation.blind_rates import blind_rates, blind_tables, cohen_kappa, sign_test

# In the second pair the sides are turned.
KEY = {
    "page": "abc",
    "seed": 0,
    "ways": {"three": "t.jsonl", "one": "o.jsonl"},
    "pairs": [
        {"pair_id": "p", "ways": {"A": "three", "B": "one"}, "sentences": {"A": ["a1", "a2"], "B": ["b1"]}},
        {"pair_id": "q", "ways": {"A": "one", "B": "three"}, "sentences": {"A": ["c1"], "B": ["d1"]}},
    ],
}
ANN = {
    "1/A/0": "right", "1/A/1": "hallucinated", "1/A/missed": "no", "1/B/0": "wrong", "1/B/missed": "yes",
    "1/better": "A", "2/A/0": "hallucinated", "2/A/missed": "yes", "2/B/0": "right", "2/B/missed": "no",
    "2/better": "B",
}  # fmt: skip
BOB = {"1/A/0": "right", "1/A/1": "right", "1/B/0": "wrong", "2/A/0": "hallucinated", "2/better": "equal"}


def saved(folder: Path, name: str, marks: dict[str, str], page: str = "abc") -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"page": page, "annotator": name, "marks": marks}))
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "blind_key.json"
    path.write_text(json.dumps(KEY))
    return path


def test_rates_are_those_of_the_ways_whatever_side_they_stood_on(key, tmp_path):
    found = blind_rates(read_blind_review(key, [saved(tmp_path, "ann", ANN), saved(tmp_path, "bob", BOB)]))
    three, one = found["ways"]["three"], found["ways"]["one"]
    assert found["annotators"] == {"ann": 11, "bob": 5} and found["items"] == 11
    of = {name: (entry["rate"], entry["of"]) for name, entry in three.items() if name != "by_annotator"}
    assert of == {  # ann: right, hallucinated, right; bob: right, right
        "sentences_right": (4 / 5, 5), "sentences_wrong": (0, 5), "sentences_hallucinated": (1 / 5, 5),
        "texts_that_miss_a_change": (0, 2),
    }  # fmt: skip
    assert (one["sentences_hallucinated"]["rate"], one["sentences_hallucinated"]["of"]) == (1 / 2, 4)
    assert one["texts_that_miss_a_change"]["rate"] == 1.0 and one["texts_that_miss_a_change"]["of"] == 2
    assert three["by_annotator"]["bob"]["sentences_right"]["of"] == 2
    difference = found["differences"]["ways"]["one"]
    assert found["differences"]["from"] == "three"
    assert difference["sentences_right"]["difference"] == pytest.approx(-4 / 5)
    assert difference["sentences_right"]["p"] == pytest.approx(2 / 4, abs=0.03)  # two pairs: no swap, or both
    assert found["preferences"]["by_annotator"] == {
        "ann": {"three": 2, "one": 0, "equal": 0},
        "bob": {"three": 0, "one": 0, "equal": 1},
    }
    assert found["preferences"]["pairs"] == {"three": 2, "one": 0, "equal": 0} and found["preferences"]["p"] == 0.5
    (agreement,) = found["agreement"]
    # Both marked a1, a2, b1, c1: alike right, wrong, hallucinated; 3/4 alike. By chance (1*2 + 1*1 + 2*1) / 16.
    assert agreement["annotators"] == ["ann", "bob"]
    assert agreement["sentence"]["equal"] == 3 / 4 and agreement["sentence"]["items"] == 4
    assert agreement["sentence"]["kappa"] == pytest.approx((3 / 4 - 5 / 16) / (1 - 5 / 16))
    assert agreement["misses a change"]["kappa"] is None and agreement["misses a change"]["items"] == 0
    assert agreement["better"]["equal"] == 0.0
    assert found["disagreements"] == [
        {"pair_id": "p", "item": "1/A/1", "about": "sentence", "way": "three", "sentence": "a2",
         "marks": {"ann": "hallucinated", "bob": "right"}},
        {"pair_id": "q", "item": "2/better", "about": "better", "marks": {"ann": "three", "bob": "equal"}},
    ]  # fmt: skip
    table = blind_tables(found)
    for words in (
        "ann marked 11 of 11; bob marked 5 of 11",
        "2 disagreements",
        "q (both) better: ann three, bob equal",
    ):
        assert words in table
    assert "sentences hallucinated, bob" in table and "0.64 [" in table and "one - three" in table


def test_one_annotator_is_enough_and_nothing_marked_is_none(key, tmp_path):
    found = blind_rates(read_blind_review(key, [saved(tmp_path, "ann", {})]))
    assert found["agreement"] == [] and found["ways"]["one"]["sentences_right"]["rate"] is None
    assert found["preferences"]["p"] == 1.0 and "none" in blind_tables(found)


def test_cohens_kappa_worked_out_by_hand():
    """Of 50 items 20 are yes and 15 no for both: p_o 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; so 0.2 / 0.5."""
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert cohen_kappa(np.eye(3)) == pytest.approx(1.0)
    assert cohen_kappa(np.array([[0, 1], [1, 0]])) == pytest.approx(-1.0)
    assert cohen_kappa(np.array([[7, 0], [0, 0]])) is None and cohen_kappa(np.zeros((2, 2))) is None


def test_sign_test_is_that_of_a_fair_coin():
    assert sign_test(5, 0) == sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(1, 3) == pytest.approx(2 * (1 + 4) / 16)
    assert sign_test(3, 3) == sign_test(0, 0) == 1.0


def test_files_that_do_not_fit_are_named(key, tmp_path):
    ann = saved(tmp_path, "ann", ANN)
    for marks, page, message in (
        (ANN, "other", r"bob\.json is about another page"),
        ({"3/A/0": "right"}, "abc", r"bob\.json: the page has no mark 'right' for '3/A/0'"),
        ({"1/A/0": "yes"}, "abc", r"bob\.json: the page has no mark 'yes' for '1/A/0'"),
        ([], "abc", r"bob\.json has no marks"),
    ):
        with pytest.raises(ValueError, match=message):
            read_blind_review(key, [ann, saved(tmp_path, "bob", marks, page)])
    with pytest.raises(ValueError, match=r"'ann' has saved another"):
        read_blind_review(key, [ann, ann])
    with pytest.raises(ValueError, match="names no annotator"):
        read_blind_review(key, [saved(tmp_path, " ", ANN)])
    key.write_text("{}")
    with pytest.raises(ValueError, match="is no key of a blind page"):
        read_blind_review(key, [ann])
