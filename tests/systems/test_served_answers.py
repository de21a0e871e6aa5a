"""Captions of a server that wraps a model, against those of the same model in this process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import patience
from diptych.contracts.news import FusionExample
from diptych.models.server.prompt_client import PromptClient
from diptych.models.server.server_failures import ServerFailure
from diptych.systems.caption_generation import CaptionGenerator
from scripted_server import Server, running
from served_model import writing
from toy_language_model import GREEDY, SAMPLED, Letters, Scripted, ToyLanguageModel, make_prompts, run

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Signs(Letters):
    """Letters whose tokens can be had from a text of single signs."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(sign) - 55 for sign in text]


def served(output, settings, *steps, prompts=None, context=None, tokenizer=None, **options):
    """The records of a server of these steps, and what it was asked."""
    with running(Server(list(steps), [{"id": "toy", "max_model_len": context}])) as server:
        client = PromptClient("toy", server.url, concurrency=3, timeout_s=patience.SECONDS, max_retries=0)
        written = CaptionGenerator(settings).generate_served(
            client, tokenizer or Letters(), prompts or make_prompts(), output, model_fingerprint="tiny", **options
        )
        return written, server.requests


@pytest.mark.parametrize("target_words", [None, 3])
def test_the_captions_are_those_of_the_model_itself(tmp_path, target_words):
    settings = replace(GREEDY, target_words=target_words)
    expected = run(ToyLanguageModel(), tmp_path / "local.jsonl", settings)
    assert {record["stop_reason"] for record in expected} >= {
        "end_of_turn",
        "target_words" if target_words else "max_new_tokens",
    }
    found, asked = served(tmp_path / "served.jsonl", settings, writing(ToyLanguageModel(), Letters()))
    assert found == expected
    assert (tmp_path / "served.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()
    assert sorted(tuple(body["prompt"]) for body in asked) == sorted(one.prompt_ids for one in make_prompts())
    assert {body["temperature"] for body in asked} == {0.0}


def test_a_server_that_gives_no_tokens(tmp_path):
    model, prompts = Scripted([10, 11, 12]), [FusionExample("q", (10,))]
    for settings in (GREEDY, replace(GREEDY, max_new_tokens=2)):
        name = f"{settings.max_new_tokens}.jsonl"
        expected = run(model, tmp_path / f"local_{name}", settings, prompts)
        step = writing(model, Letters(), says_tokens=False)
        assert served(tmp_path / name, settings, step, prompts=prompts, tokenizer=Signs())[0] == expected


def test_samples_have_their_own_seeds_and_one_is_chosen(tmp_path):
    settings, step = replace(SAMPLED, num_candidates=3), writing(ToyLanguageModel(), Letters())
    found, asked = served(tmp_path / "served.jsonl", settings, step)
    assert len({body["seed"] for body in asked}) == len(found) and {body["n"] for body in asked} == {3}
    assert all(record["caption"] == record["candidates"][record["chosen"]]["caption"] for record in found)
    assert len({record["chosen"] for record in found}) > 1
    assert served(tmp_path / "again.jsonl", settings, step)[0] == found


def test_what_is_written_is_not_asked_again(tmp_path):
    step, output = writing(ToyLanguageModel(), Letters()), tmp_path / "served.jsonl"
    broken = (500, {}, {"error": {"message": "out of order"}})
    expected = run(ToyLanguageModel(), tmp_path / "local.jsonl", GREEDY)
    with pytest.raises(ValueError, match=r"not answered 7 of 11 prompts, .*server_error.* out of order.*resume="):
        served(output, GREEDY, *[step] * 4, broken)
    kept = {json.loads(line)["query_id"] for line in output.read_text().splitlines()}
    assert len(kept) == 4
    with pytest.raises(ValueError, match=r"server_model \(was 'toy', is None\)"):
        run(ToyLanguageModel(), output, GREEDY)
    found, asked = served(output, GREEDY, step)
    assert found == expected and len(asked) == 7
    assert served(output, GREEDY, broken) == (expected, [])
    gone = PromptClient("toy", "http://127.0.0.1:9/v1", max_retries=0)
    with pytest.raises(ServerFailure, match="no connection"):
        CaptionGenerator(GREEDY).generate_served(
            gone, Letters(), make_prompts(), tmp_path / "other.jsonl", model_fingerprint="tiny"
        )
    again = CaptionGenerator(GREEDY).generate_served(gone, Letters(), make_prompts(), output, model_fingerprint="tiny")
    assert again == expected  # there was nothing to ask
    assert output.read_bytes() == (tmp_path / "local.jsonl").read_bytes()


def test_what_a_server_cannot_do_is_said_before_it_is_asked(tmp_path):
    with pytest.raises(
        ValueError, match=r"generation\.num_beams=4: .*set generation\.num_beams=1, or leave server out"
    ):
        served(tmp_path / "p.jsonl", replace(GREEDY, num_beams=4), None)
    with pytest.raises(ValueError, match="leaves no room for max_new_tokens=24 in the model's 30"):
        served(tmp_path / "p.jsonl", GREEDY, None, context=30)
    assert not list(tmp_path.iterdir())
