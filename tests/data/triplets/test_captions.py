from __future__ import annotations

from collections import Counter

import pytest
import torch

from diptych.contracts.retrieval import Triplet
from diptych.data.triplets.captions import CAPTION_POLICIES, choose_text, expand

TWO = Triplet("q1", "a", (" add a lamp ", "remove the rug"), "b", ("c", "d"))
ONE = Triplet("q2", "e", ("darker",), "f")


@pytest.mark.parametrize(
    ("policy", "texts"),
    [
        ("random", [(" add a lamp ", "remove the rug"), ("darker",)]),
        ("explode", [(" add a lamp ",), ("remove the rug",), ("darker",)]),
        ("first", [(" add a lamp ",), ("darker",)]),
        ("join", [("add a lamp remove the rug",), ("darker",)]),
    ],
)
def test_each_policy(policy, texts):
    records = expand([TWO, ONE], policy)
    assert [record.modification_texts for record in records] == texts
    assert records[-1].query_id == "q2" and records[-1].target_image == "f"
    for record in records[:-1]:
        assert (record.query_id, record.reference_image, record.target_image) == ("q1", "a", "b")
        assert record.distractors == ("c", "d")


def test_an_unknown_policy_is_named():
    assert set(CAPTION_POLICIES) == {"random", "join", "explode", "first"}
    with pytest.raises(
        ValueError, match=r"data\.training\.caption_policy='all' is not one of random, join, explode, first"
    ):
        expand([ONE], "all")


def test_wordings_are_drawn_uniformly_and_again_from_the_same_seed():
    triplet = Triplet("q", "a", ("x", "y", "z"), "b")
    draws = [choose_text(triplet, torch.Generator().manual_seed(seed)) for seed in range(3000)]
    again = [choose_text(triplet, torch.Generator().manual_seed(seed)) for seed in range(3000)]
    assert draws == again
    assert all(900 < count < 1100 for count in Counter(draws).values()) and len(set(draws)) == 3


def test_a_single_wording_uses_up_no_randomness():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert choose_text(ONE, generator) == "darker"
    assert torch.equal(generator.get_state(), before)
