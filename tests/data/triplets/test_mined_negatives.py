"""What a checkpoint ranks near the target becomes a distractor, unless it may well be an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.contracts.retrieval import Triplet, TripletSource
from diptych.data.triplets.mined_negatives import MinedNegatives

IDS = list("abcdefgh")
SCORES = [0.9, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3]


class Listed(TripletSource):
    docs_page, splits, root, name = "docs/own_data.md", ("train", "val"), Path("/nowhere"), "listed"

    def __init__(self, *triplets: Triplet) -> None:
        self.listed = triplets

    def triplets(self, split: str) -> list[Triplet]:
        return list(self.listed)


def mined(tmp_path, *triplets: Triplet, lines=None, **settings) -> list[str]:
    """The distractors of each triplet, as a word."""
    path = tmp_path / "predictions.jsonl"
    ranked = {"ranked_ids": IDS, "scores": SCORES, "target_rank": 1}
    lines = lines if lines is not None else [{"query_id": one.query_id, **ranked} for one in triplets]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = MinedNegatives(str(path), **settings).of(Listed(*triplets))
    assert source.triplets("val") == list(triplets)
    return ["".join(triplet.distractors) for triplet in source.triplets("train")]


def one(target: str, reference: str = "h", **more) -> Triplet:
    return Triplet("1", reference, ("red",), target, distractors=("z",), **more)


@pytest.mark.parametrize(
    ("target", "margin", "k", "expected"),
    [
        ("a", 0.0, 3, "bcd"),  # the first place is the target's
        ("c", 0.0, 3, "def"),  # what outranks it may be an answer
        ("c", 0.06, 3, "bde"),  # but for what does so narrowly
        ("c", 1.0, 9, "abdefg"),  # never the reference
        ("a", -0.25, 3, "efg"),  # at a distance below
        ("x", 0.0, 1, "h"[:0]),  # beyond the list: as the last, which is the reference
        ("x", 0.15, 2, "g"),
    ],
)
def test_the_first_that_the_margin_admits(tmp_path, target, margin, k, expected):
    assert mined(tmp_path, one(target), margin=margin, k=k) == [expected]


def test_known_answers_are_none(tmp_path):
    """Those that the record lists, and those of the same words about the same reference."""
    listed = one("a", relevant_ids=("a", "c"))
    same_words = Triplet("2", "h", ("red",), "b")
    assert mined(tmp_path, listed, same_words, k=2, margin=1.0) == ["de", "cd"]


def test_lines_of_another_set_are_not_this_one_s(tmp_path):
    ranked = {"query_id": "1", "scores": [0.5, 0.4]}
    lines = [
        {"set": "listed", "ranked_ids": ["a", "b"], **ranked},
        {"set": "other", "ranked_ids": ["a", "c"], **ranked},
    ]
    assert mined(tmp_path, one("a"), lines=lines) == ["b"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [],
            r"ranks 0 of 1 training queries of listed, not '1': .*evaluate\.py ckpt=RUN split=train`, of the same data",
        ),
        ([{"query_id": "1", "ranked_ids": ["a"]}], r"has no key 'scores'.*predictions\.jsonl of"),
        ([{"query_id": "1", "ranked_ids": ["a"], "scores": []}], r"query '1' has not one score for each"),
    ],
)
def test_other_files_are_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        mined(tmp_path, one("a"), lines=lines)


def test_none_at_all_are_not_mined():
    with pytest.raises(ValueError, match=r"data\.mined\.k=0 must be 1 or more"):
        MinedNegatives("x", k=0)
