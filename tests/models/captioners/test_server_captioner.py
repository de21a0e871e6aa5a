"""Captions of a server, by the word that its answer ends with."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.contracts.pipelines import Answer, Failure
from diptych.models.captioners.caption import Caption
from diptych.models.captioners.server import ServerCaptioner
from diptych.models.server.completion import read_completion


def described(choice: dict) -> Caption | Failure:
    """What becomes of a photo whose completion has this choice."""

    class Client:
        def results_together(self, requests):
            yield [
                (request.request_id, Answer(*read_completion({"choices": [choice]})[:3], 0.1)) for request in requests
            ]

    captioner = ServerCaptioner(Client(), "Say what is there.")
    ((name, result),) = captioner.describe_files([("a", Path("a.jpg"))])
    assert name == "a"
    return result


@pytest.mark.hostile("network")
@pytest.mark.parametrize("word", ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "tool_calls", ""])
def test_words_of_an_end_leave_the_caption(word):
    result = described({"message": {"content": " a  tower "}, "finish_reason": word})
    assert result == Caption("a tower", word)


@pytest.mark.hostile("network")
@pytest.mark.parametrize("choice", [{}, {"finish_reason": None}, {"finish_reason": 3}, {"finish_reason": ["length"]}])
def test_no_word_leaves_the_caption(choice):
    assert described({"message": {"content": "a tower"}, **choice}) == Caption("a tower", "")


@pytest.mark.hostile("network")
@pytest.mark.parametrize("word", ["length", "max_tokens", "MAX_TOKENS", "model_length", "FINISH_REASON_MAX_TOKENS"])
def test_words_for_cut_are_one(word):
    assert described({"message": {"content": "a tow"}, "finish_reason": word}) == Caption("a tow", "length")


@pytest.mark.hostile("network")
@pytest.mark.parametrize("word", ["content_filter", "refusal", "SAFETY", "contentFilter", "guardrail_intervened"])
def test_words_for_withheld_are_a_failure(word):
    result = described({"message": {"content": "I will not."}, "finish_reason": word})
    assert isinstance(result, Failure) and result.reason == "refused"
    assert word in result.message and "I will not." in result.message


@pytest.mark.hostile("network")
@pytest.mark.parametrize("word", ["abort", "error", "FINISH_REASON_ERROR"])
def test_an_answer_that_the_server_broke_off_is_a_failure(word):
    result = described({"message": {"content": "a tow"}, "finish_reason": word})
    assert isinstance(result, Failure) and result.reason == "server_error"
    assert word in result.message and "a tow" in result.message


@pytest.mark.hostile("network")
@pytest.mark.parametrize("content", [None, "", " ", 5, [], [{"type": "thinking", "text": "draft"}]])
def test_an_answer_without_a_text_is_blank(content):
    assert described({"message": {"content": content, "reasoning": "?"}, "finish_reason": "stop"}) == Caption(
        "", "stop"
    )


def test_a_refusal_that_stands_apart_is_a_failure():
    result = described({"message": {"content": None, "refusal": "I will not."}, "finish_reason": "stop"})
    assert isinstance(result, Failure) and "I will not." in result.message
