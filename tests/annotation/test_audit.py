"""What sentences claim is judged by the scenes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diptych.annotation.audit import (
    HALLUCINATED,
    RIGHT,
    UNREAD,
    WRONG,
    audit_pair,
    audit_table,
    claimed_kinds,
    judge,
    num_objects,
    summarise,
    true_changes,
)
from diptych.annotation.verification_question import VerificationPrompt
from diptych.synthetic.rooms import scene as rooms
from diptych.synthetic.rooms.change_reading import Claim
from diptych.synthetic.rooms.language import describe_changes
from diptych.synthetic.scenes import find_changes

BEFORE = {
    "rug": {"colour": "red", "pattern": "striped"},
    "lamp": None,
    "pillows": {"colour": "white", "count": 2},
    "chair": {"colour": "blue", "place": "left"},
    "plant": {"size": "small", "place": "right"},
}
AFTER = {
    "rug": {"colour": "blue", "pattern": "striped"},
    "lamp": {"colour": "green", "place": "left"},
    "pillows": {"colour": "white", "count": 3},
    "chair": {"colour": "blue", "place": "left"},
    "plant": None,
}


@pytest.fixture
def every_change_as_likely(monkeypatch):
    """The set itself recolours almost always."""
    monkeypatch.setattr(rooms, "_ATTRIBUTE_WEIGHTS", dict.fromkeys(rooms._ATTRIBUTE_WEIGHTS, 1.0))
    kinds = {name: dataclasses.replace(kind, weight=1.0) for name, kind in rooms.KINDS.items()}
    monkeypatch.setattr(rooms, "KINDS", kinds)


def test_the_sets_own_sentences_are_read_right(every_change_as_likely):
    """All of them say exactly what changed; of the way back none of them is right."""
    rng = np.random.default_rng(3)
    num_texts = 0
    for _ in range(150):
        hotel = rooms.sample_hotel(rng)
        for one, other in ((0, 1), (0, 2), (4, 0), (5, 6), (0, 7)):
            before, after = hotel.scenes[one], hotel.scenes[other]
            text = describe_changes(find_changes(before, after), before, rng)
            objects = [room.to_json()["objects"] for room in (before, after)]
            there, back = audit_pair([text], *objects), audit_pair([text], *reversed(objects))
            assert there.verdicts == (RIGHT,) and not there.missed, text
            assert back.verdicts != (RIGHT,), text
            num_texts += 1
    assert num_texts == 750


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (Claim("rug", "change", {"colour": "red"}, {"colour": "blue"}), RIGHT),
        (Claim("rug", "change", {}, {"colour": "green"}), WRONG),
        (Claim("rug", "change", {"colour": "white"}, {"colour": "blue"}), WRONG),
        (Claim("rug", "change", {}, {"pattern": "striped"}), WRONG),
        (Claim("rug", "change", {}, {"pattern": "striped", "colour": "blue"}), RIGHT),
        (Claim("rug", "remove"), WRONG),
        (Claim("lamp", "add", {}, {"colour": "green"}), RIGHT),
        (Claim("lamp", "add", {}, {"colour": "red"}), WRONG),
        (Claim("lamp", "remove"), WRONG),
        (Claim("plant", "remove", {"size": "small"}), RIGHT),
        (Claim("plant", "state", {}, {"size": "small"}), WRONG),
        (Claim("pillows", "add", {}, {"count": "more"}), RIGHT),
        (Claim("pillows", "add", {}, {"count": 1}), RIGHT),
        (Claim("pillows", "remove", {"count": 1}), WRONG),
        (Claim("pillows", "state", {"count": 2}, {"count": 3}), RIGHT),
        (Claim("chair", "change", {}, {"colour": "blue"}), HALLUCINATED),
        (Claim("sofa", "add"), HALLUCINATED),
    ],
)
def test_claims_are_judged_by_both_scenes(claim, verdict):
    assert judge(claim, BEFORE, AFTER)[0] == verdict


def test_counts_of_a_pair():
    sentences = [
        "Make the rug blue.",
        "Add a red lamp.",
        "Make the chair green and add a third pillow.",
        "The light is softer.",
    ]
    audit = audit_pair(sentences, BEFORE, AFTER)
    assert audit.verdicts == (RIGHT, WRONG, HALLUCINATED, UNREAD)
    assert true_changes(BEFORE, AFTER) == [
        ("rug", "colour"), ("lamp", "presence"), ("pillows", "count"), ("plant", "presence"),
    ]  # fmt: skip
    assert audit.missed[0] == ("lamp", "presence") and ("plant", "presence") in audit.missed
    assert audit.counts["changed_objects"] == 4 and audit.counts["missed_objects"] == 1
    assert audit.counts["claimed_objects"] == 4 and audit.counts["hallucinated_objects"] == 1


def test_what_is_said_twice_is_one_claim_as_bad_as_the_worst():
    said = [
        "Make the rug blue.",
        "Turn the rug blue.",
        "Make the rug white.",
        "Make the chair green.",
        "Add a green lamp.",
    ]
    counts = audit_pair(said, BEFORE, AFTER).counts
    names = ("claims", "right_claims", "wrong_claims", "hallucinated_claims")
    assert [counts[name] for name in names] == [3, 1, 1, 1] and counts["sentences"] == 5


def test_rates_are_sums_over_pairs_with_intervals():
    pairs = [audit_pair(["Make the rug blue."], BEFORE, AFTER).counts] * 3
    pairs += [audit_pair(["Make the chair red.", "Add a lamp."], BEFORE, AFTER).counts] * 3
    summary = summarise(pairs)
    assert summary["sentences_right"]["rate"] == pytest.approx(6 / 9) and summary["sentences_right"]["of"] == 9
    low, high = summary["sentences_hallucinated"]["interval"]
    assert 0 <= low < 3 / 9 < high <= 0.5 + 1e-9
    assert summary == summarise(pairs)
    table = audit_table({"three_stage": summary, "one_stage": summarise([])})
    assert "three_stage" in table and "66.7 [" in table and table.splitlines()[1].endswith("none")


@pytest.mark.parametrize(
    ("claim", "kinds"),
    [
        (Claim("rug", "change", {"pattern": "striped"}, {"colour": "blue"}), ("colour",)),
        (Claim("rug", "change", {}, {"pattern": "plain", "colour": "blue"}), ("colour", "pattern")),
        (Claim("rug", "change", {"colour": "red"}), ("unstated",)),
        (Claim("rug", "state", {}, {"colour": "blue"}), ("colour",)),
        (Claim("lamp", "state", {}, {"colour": "green"}), ("presence",)),
        (Claim("lamp", "add", {}, {"colour": "green"}), ("presence",)),
        (Claim("plant", "remove", {"size": "small"}), ("presence",)),
        (Claim("sofa", "state", {}, {"size": "large"}), ("presence",)),
        (Claim("pillows", "add", {}, {"count": 1}), ("count",)),
        (Claim("pillows", "state", {}, {"count": 3}), ("count",)),
        (Claim("chair", "change", {}, {"place": "other"}), ("place",)),
    ],
)
def test_a_claim_is_of_the_kinds_that_it_says_changed(claim, kinds):
    assert claimed_kinds(claim, BEFORE, AFTER) == kinds


def test_kinds_of_a_pair_worked_out_by_hand():
    """Of four true changes (colour, count, twice presence) the colour is stated; the chair's colour is invented, and
    the lamp is of another one.
    """
    audit = audit_pair(["Make the rug blue and the chair green.", "Add a red lamp."], BEFORE, AFTER)
    nothing = dict.fromkeys(("right_claims", "wrong_claims", "hallucinated_claims", "missed_changes"), 0)
    assert audit.kinds == {
        "colour": {**nothing, "claims": 2, "right_claims": 1, "hallucinated_claims": 1, "changes": 1},
        "presence": {**nothing, "claims": 1, "wrong_claims": 1, "changes": 2, "missed_changes": 2},
        "count": {**nothing, "claims": 0, "changes": 1, "missed_changes": 1},
    }  # fmt: skip
    assert num_objects(BEFORE, AFTER) == 5 and num_objects({**BEFORE, "plant": None}, AFTER) == 4


def test_a_verification_prompt_needs_its_slot():
    assert VerificationPrompt("Is it so? {sentence}").render(sentence="A {b}.", domain="x") == "Is it so? A {b}."
    with pytest.raises(ValueError, match="no slot"):
        VerificationPrompt("Is it so?")
