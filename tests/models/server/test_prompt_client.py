"""Against a real server on the loopback: what it does with each request is a list of steps."""

from __future__ import annotations

import random
import re
from itertools import chain
from typing import Any

import pytest

import patience
from diptych.contracts.pipelines import Failure
from diptych.contracts.prompts import PromptAnswer, PromptRequest
from diptych.models.server.completion import read_models, read_written
from diptych.models.server.prompt_client import PromptClient
from scripted_server import Server, running

pytestmark = pytest.mark.processes

ASKED = PromptRequest("q", (5, 6), 2, 9, (1, 2), temperature=0.7, min_p=0.1, seed=3)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def client(server: Server, **settings: Any) -> PromptClient:
    return PromptClient("fuser", server.url, timeout_s=patience.SECONDS, rng=random.Random(0), **settings)


def choices(*given: tuple[str, str, Any]) -> tuple[int, dict, dict]:
    listed = [{"text": text, "finish_reason": reason, "token_ids": ids} for text, reason, ids in given]
    return 200, {}, {"choices": listed}


def results(*steps: Any) -> tuple[Server, list]:
    with running(Server(list(steps))) as server:
        return server, list(chain.from_iterable(client(server, max_retries=1).results_together([ASKED])))


def test_what_is_asked_and_read():
    server, found = results(choices(("a b", "stop", [7, 1]), ("a", "length", None)))
    assert found == [("q", [PromptAnswer("a b", (7, 1), False), PromptAnswer("a", None, True)])]
    assert server.paths == {"/v1/completions"}
    plain = {"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    asked = {"model": "fuser", "prompt": [5, 6], "n": 2, "max_tokens": 9, "stop_token_ids": [1, 2]}
    sampling = {"temperature": 0.7, "min_p": 0.1, "seed": 3, "return_token_ids": True, "ignore_eos": True}
    assert server.requests == [asked | sampling | plain]


@pytest.mark.parametrize(
    ("step", "reason", "said"),
    [
        (choices(("a", "stop", [7])), "server_error", "wrote 1 answers to a prompt, and was asked for 2"),
        (choices(("a", "stop", [7]), ("", "content_filter", [])), "refused", r"withholds .*content_filter"),
        (choices(("a", "stop", [7]), ("b", "abort", [8])), "server_error", r"broke off its answer \(abort\)"),
        ((400, {}, {"error": {"message": "too long"}}), "bad_request", "too long"),
        ((200, {}, {"choices": [{"message": {"content": "a"}}]}), "server_error", "its answer is no completion"),
    ],
)
def test_what_is_no_answer(step, reason, said):
    ((name, failure),) = results(step)[1]
    assert isinstance(failure, Failure) and (name, failure.reason) == ("q", reason)
    assert re.search(said, failure.message)


def test_the_model_has_to_be_there():
    with running(Server([], [{"id": "other"}, {"id": "fuser", "max_model_len": 4096}])) as server:
        assert client(server).context() == 4096
        server.models[1] = {"id": "fuser"}
        assert client(server).context() is None
        del server.models[1]
        with pytest.raises(ValueError, match=r"server\.model='fuser' is none of those that the server holds: 'other'"):
            client(server).context()


def test_no_text_holds_the_key_and_no_token_is_a_stranger():
    key = "sk-the-secret-of-this-test"
    (written,) = read_written({"choices": [{"text": f"a {key}", "finish_reason": key, "token_ids": [-1]}]}, key) or ()
    assert written == ("a ***", "***", None)
    assert read_models({"data": [{"id": key, "max_model_len": True}, {}, 3]}, key) == [
        {"id": "***", "max_model_len": None}
    ]
    assert read_written({"choices": []}) is None and read_written([]) is None and read_models({"data": 3}) is None
