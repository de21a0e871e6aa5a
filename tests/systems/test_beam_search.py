"""Beam search gives what a plain one gives, prompt by prompt and without a cache."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from diptych.contracts.news import FusionExample
from diptych.systems.beam_search import complete_with_beams
from diptych.systems.caption_generation import CaptionGenerator
from diptych.systems.decoding import new_decoded
from toy_language_model import GREEDY, Letters, ToyLanguageModel, make_prompts

pytestmark = pytest.mark.models

BEAMS, TOKENS = 3, 6


@pytest.fixture(scope="module")
def model(tiny_chat_model):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_model, dtype=torch.float32).eval()
    for parameter in model.parameters():  # a fresh model finds all tokens alike
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return model


@torch.inference_mode()
def plain_search(model, prompt, ends):
    """The best of the beams that have ended, or are cut, by their mean log-probability."""
    beams, ended = [((), 0.0)], []
    for _ in range(TOKENS):
        grown = []
        for tokens, score in beams:
            logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, -1].log_softmax(-1)
            grown += [((*tokens, token), score + value) for token, value in enumerate(logits.tolist())]
        best = sorted(grown, key=lambda one: -one[1])[: 2 * BEAMS]
        ended += [one for one in best[:BEAMS] if one[0][-1] in ends]
        beams = [one for one in best if one[0][-1] not in ends][:BEAMS]
        if len(ended) >= BEAMS:
            break
    else:
        ended += beams
    return max(ended, key=lambda one: one[1] / len(one[0]))[0]


def test_answers_are_those_of_a_plain_search(model):
    numbers = random.Random(1)
    vocabulary = model.config.vocab_size
    prompts = [tuple(numbers.randrange(vocabulary) for _ in range(length)) for length in (4, 9, 6)]
    ends = set(numbers.sample(range(vocabulary), vocabulary // 8))
    answers = [new_decoded(FusionExample(f"q{place}", prompt), 0, 0) for place, prompt in enumerate(prompts)]
    own = model.generation_config
    own.repetition_penalty = 50.0  # has no say
    complete_with_beams(model, answers, BEAMS, ends, 0, TOKENS)
    assert model.generation_config is own
    for answer, prompt in zip(answers, prompts, strict=True):
        expected = plain_search(model, prompt, ends)
        ended = expected[-1] in ends
        assert tuple(answer.token_ids) == (expected[:-1] if ended else expected)
        assert (answer.num_tokens, answer.stop_reason) == (
            len(expected),
            "end_of_turn" if ended else "max_new_tokens",
        )


def test_a_model_without_a_search_is_refused():
    generator = CaptionGenerator(replace(GREEDY, num_beams=2))
    with pytest.raises(ValueError, match="num_beams=2: ToyLanguageModel has no `generate` of transformers"):
        generator.answer(ToyLanguageModel(), Letters(), make_prompts(2))
