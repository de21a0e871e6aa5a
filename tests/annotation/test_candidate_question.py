"""How sure a model is of a yes or no to a candidate."""

from __future__ import annotations

import math

import pytest

from diptych.annotation.answers import InvalidAnswer
from diptych.annotation.candidate_question import CandidatePrompt, yes_probability
from diptych.contracts.pipelines import Answer


def answer(text, *places):
    logs = [{token: math.log(share) for token, share in place.items()} for place in places]
    return Answer(text, "stop", {}, 0.0, logs)


YES, NO = '{"answer": "yes"}', '{"answer": "no"}'


@pytest.mark.parametrize(
    ("text", "places", "probability"),
    [
        (YES, (), 1.0),
        (NO, (), 0.0),
        (YES, ({"{": 1.0}, {"yes": 0.6, "no": 0.2}, {"}": 1.0}), 0.75),
        (NO, ({'"no': 0.6, '"No': 0.1, ' "yes': 0.3},), 0.3),
        (NO, ({"no": 0.9, "maybe": 0.1},), 0.0),
        (YES, ({"no": 0.9, "yes": 0.1}, {"yes": 0.5, "no": 0.5}), 0.5),  # the place where it was written last
        (YES, ({"no": 0.9, "yes": 0.1},), 1.0),  # the place of another word
    ],
)
def test_the_probability_of_a_yes(text, places, probability):
    assert yes_probability(answer(text, *places)) == pytest.approx(probability)


@pytest.mark.parametrize("text", ["yes", '{"answer": "maybe"}', '{"answer": true}', "", '{"holds": true}'])
def test_what_is_neither_yes_nor_no_is_asked_again(text):
    with pytest.raises(InvalidAnswer):
        yes_probability(answer(text))


def test_the_prompt_has_a_slot_for_the_text():
    assert CandidatePrompt("Is it {text}?").render(text="blue {text}", domain="hotel") == "Is it blue {text}?"
    with pytest.raises(ValueError, match=r"has no slot {text}"):
        CandidatePrompt("Is it {sentence}?")
