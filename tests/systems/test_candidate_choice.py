"""Of a photo's candidates the one that is kept: by support in the evidence first, then by consensus."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.systems.candidate_choice import CandidateChoice

EVIDENCE = {"q": "Ann Lee opened the bridge in Rome on 4 May.", "r": "Nothing."}


class Names:
    """A checker that takes every capitalised word for a claim."""

    name = "capitals"

    def unsupported(self, captions, evidence):
        claims = [[word.strip(".") for word in caption.split() if word[:1].isupper()] for caption in captions]
        return [(sum(word not in text for word in own), len(own)) for own, text in zip(claims, evidence, strict=True)]


def shared_words(candidates):
    """The mean share of words that a candidate has in common with each of the others."""
    values = np.zeros((len(candidates), len(candidates[0])))
    for row, own in enumerate(candidates):
        for column, caption in enumerate(own):
            words = set(caption.split())
            others = [set(other.split()) for place, other in enumerate(own) if place != column]
            values[row, column] = np.mean([len(words & other) / max(1, len(words | other)) for other in others])
    return values


def record(query_id, *captions):
    candidates = [{"caption": caption, "stop_reason": "end_of_turn"} for caption in captions]
    return {"query_id": query_id, "candidates": candidates, "prompt_tokens": 9, "evidence": EVIDENCE[query_id]}


def choose(*records, checker=None):
    return CandidateChoice(shared_words, checker).choose(records, EVIDENCE)


# Three samples agree on a name that the article does not hold; two that agree less are true.
DISAGREEING = record(
    "q",
    "Bob opened the bridge in Rome",
    "Bob opened the bridge in Rome today",
    "Bob opened the bridge in Rome again",
    "Ann opened the bridge",
    "the mayor Lee was there",
)


def test_consensus_and_support_disagree():
    (central,) = choose(DISAGREEING)
    assert (central["chosen"], central["caption"]) == (0, "Bob opened the bridge in Rome")
    assert "claims" not in central["candidates"][0]
    (true,) = choose(DISAGREEING, checker=Names())
    assert (true["chosen"], true["caption"]) == (3, "Ann opened the bridge")
    assert (true["unsupported_claims"], true["claims"]) == (0, 1)
    reasons = [(one["unsupported_claims"], one["claims"]) for one in true["candidates"]]
    assert reasons == [(1, 2), (1, 2), (1, 2), (0, 1), (0, 1)]
    closeness = [one["closeness"] for one in true["candidates"]]
    assert closeness == pytest.approx(
        shared_words([[one["caption"] for one in DISAGREEING["candidates"]]])[0], abs=1e-6
    )


def test_no_candidate_and_no_field_is_lost():
    found = choose(DISAGREEING, record("r", "a", "b c", "C", "D", ""), checker=Names())
    assert [one["query_id"] for one in found] == ["q", "r"]
    for one, given in zip(found, (DISAGREEING, record("r", "a", "b c", "C", "D", "")), strict=True):
        assert [kept["caption"] for kept in one["candidates"]] == [kept["caption"] for kept in given["candidates"]]
        assert (one["prompt_tokens"], one["evidence"]) == (9, EVIDENCE[one["query_id"]])
    assert choose(*found, checker=Names()) == found  # chosen again


def test_of_equals_the_first_is_kept():
    assert choose(record("q", "Ann is here", "Ann was here"), checker=Names())[0]["chosen"] == 0
    assert choose(record("q", "Bob is here", "Ann was here", "Ann was here"), checker=Names())[0]["chosen"] == 1


def test_fewest_in_number_not_in_share():
    """One invention among five names misleads less than two among fifty, though its share is higher."""
    many = " ".join(["Rome"] * 20)
    (found,) = choose(record("q", f"Bob and Eve in {many}", "Bob in Rome", f"Bob and Eve in {many}"), checker=Names())
    assert found["chosen"] == 1


def test_an_empty_caption_does_not_win_by_claiming_nothing():
    assert choose(record("q", "", "Bob is here", " "), checker=Names())[0]["chosen"] == 1
    assert choose(record("q", "", "", " "), checker=Names())[0]["chosen"] == 0
