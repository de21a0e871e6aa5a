"""Patterns of numbers that say what goes wrong: found where they are, silent elsewhere."""

from __future__ import annotations

import math

import pytest

from diptych.results.caption_signatures import caption_signatures

GOOD = {
    "clip_score": 0.70,
    "reference/clip_score": 0.72,
    "cider": 0.5,
    "article_lead/cider": 0.3,
    "base_caption/cider": 0.01,
    "unsupported_entity_rate": 0.02,
    "reference/unsupported_entity_rate": 0.02,
    "length_ratio": 1.1,
    "mean_words": 44.0,
    "mean_reference_words": 40.0,
}


def test_there_is_nothing_to_say_of_good_captions_and_of_no_numbers():
    assert caption_signatures(GOOD) == caption_signatures({}) == caption_signatures({"cider": math.nan}) == []


def test_the_picture_is_described_and_the_event_missed():
    found = caption_signatures(GOOD | {"clip_score": 0.75, "cider": 0.2})
    assert found == [
        "CLIPScore is high (0.750; the reference captions 0.720) and CIDEr low (0.200; no worse: the article's first "
        "sentences (0.300)): the captions tell what can be seen, and not what the article says."
    ]
    assert caption_signatures(GOOD | {"clip_score": 0.75}) == []  # CIDEr is not low
    assert caption_signatures(GOOD | {"cider": 0.2}) == []  # CLIPScore is not high
    without = {name: value for name, value in GOOD.items() if name != "reference/clip_score"}
    assert caption_signatures(without | {"clip_score": 0.9, "cider": 0.1}) == []  # nothing to hold it against


def test_names_that_the_evidence_does_not_hold():
    (found,) = caption_signatures(GOOD | {"unsupported_entity_rate": 0.125})
    assert "12.5 % are not in the evidence, in the reference captions 2.0 %" in found
    without = {name: value for name, value in GOOD.items() if not name.startswith("reference/")}
    (found,) = caption_signatures(without)
    assert "2.0 % are not in the evidence: the model invents" in found
    assert caption_signatures(without | {"unsupported_entity_rate": 0.0}) == []


@pytest.mark.parametrize(("ratio", "word"), [(1.26, "longer"), (0.79, "shorter"), (1.24, None), (0.81, None)])
def test_length(ratio, word):
    found = caption_signatures(GOOD | {"length_ratio": ratio, "mean_words": 46.0})
    # Six words off: exp(-6^2 / (2 * 6^2)) = exp(-1/2) = 0.61
    assert found == (
        []
        if word is None
        else [
            f"Captions are much {word} than the references (46 words, the references 40): CIDEr-D multiplies the score "
            "of such a caption by 0.61 for that alone."
        ]
    )
