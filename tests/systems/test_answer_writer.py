"""What happens where a device has no room for a batch of answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from toy_language_model import GREEDY, SAMPLED, ToyLanguageModel, make_prompts, run


@pytest.fixture
def toy() -> ToyLanguageModel:
    return ToyLanguageModel()


@pytest.mark.parametrize("settings", [SAMPLED, replace(SAMPLED, num_candidates=3, batch_size=8)])
def test_a_batch_that_is_too_large_is_halved(toy, tmp_path, monkeypatch, caplog, settings):
    expected = run(toy, tmp_path / "expected.jsonl", settings)
    forward, sizes = toy.forward, []

    def fail_late(input_ids, past_key_values, **inputs):
        sizes.append(len(input_ids))
        if len(input_ids) > 2 and past_key_values is not None:  # some tokens have been written by then
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids=input_ids, past_key_values=past_key_values, **inputs)

    monkeypatch.setattr(toy, "forward", fail_late)
    assert run(toy, tmp_path / "predictions.jsonl", settings) == expected
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == f"out of memory with {sizes[0]} answers at a time: {sizes[0] // 2} from here on"
    assert sizes.count(sizes[0]) <= 2  # it is not tried again


def test_out_of_memory_with_one_answer_says_what_to_lower(toy, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(toy, "forward", fail)
    with pytest.raises(ValueError, match=r"with one answer to a prompt of \d+ tokens: lower generation.max_new_tokens"):
        run(toy, tmp_path / "predictions.jsonl", SAMPLED)


def test_the_model_is_left_as_it_was(toy, tmp_path):
    toy.train()
    run(toy, tmp_path / "predictions.jsonl", GREEDY, make_prompts(2))
    assert toy.training
