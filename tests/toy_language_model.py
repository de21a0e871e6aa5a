"""A language model of a few lines whose next token depends on every token before it, and a tokenizer of letters."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from diptych.contracts.news import FusionExample
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings

VOCABULARY = 60
END = 1
_STATES = 97


class Letters:
    """Tokens from 10 on are single signs; 2 to 9 are what captions are made of."""

    eos_token_id, pad_token_id = END, None
    special = ("", "", " ", ".", " A", " an", "</think>", "<think>", " It", ". ")

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return "".join(self.special[token] if token < 10 else chr(55 + token) for token in ids)


@dataclass
class Cache:
    state: Tensor

    def batch_select_indices(self, rows: Tensor) -> None:
        self.state = self.state[rows]


class ToyLanguageModel(nn.Module):
    """Called as transformers' causal models are; quick, and the same in batches of any size."""

    def __init__(self) -> None:
        super().__init__()
        table = torch.randn(_STATES, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 2
        self.table = nn.Parameter(table)

    def forward(self, input_ids, attention_mask, past_key_values, **_) -> SimpleNamespace:
        cache = past_key_values or Cache(torch.zeros(len(input_ids), dtype=torch.long))
        for tokens, real in zip(input_ids.T, attention_mask[:, -input_ids.shape[1] :].T, strict=True):
            cache.state = torch.where(real == 1, (cache.state * 5 + tokens + 1) % _STATES, cache.state)
        return SimpleNamespace(logits=self.table[cache.state][:, None], past_key_values=cache)


class Scripted(nn.Module):
    """Writes given tokens, whatever it is asked; then the end of turn."""

    def __init__(self, script: list[int]) -> None:
        super().__init__()
        self.script, self.weight = script, nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, past_key_values, **_) -> SimpleNamespace:
        step = past_key_values or 0
        logits = torch.zeros(len(input_ids), 1, VOCABULARY)
        logits[..., [*self.script, END][step]] = 9
        return SimpleNamespace(logits=logits, past_key_values=step + 1)


def make_prompts(number: int = 11) -> list[FusionExample]:
    """Prompts of 3 to 40 tokens, in no order of length."""
    numbers = random.Random(0)
    return [
        FusionExample(f"q{index}", tuple(numbers.randrange(10, VOCABULARY) for _ in range(numbers.randrange(3, 40))))
        for index in range(number)
    ]


GREEDY = GenerationSettings(max_new_tokens=24, do_sample=False, batch_size=16)
SAMPLED = GenerationSettings(max_new_tokens=24, batch_size=4, seed=7)


def run(model, output: Path, settings: GenerationSettings, examples=None, **options) -> list[dict]:
    options = {"model_fingerprint": "tiny", "show_progress": False} | options
    return CaptionGenerator(settings).generate(model, Letters(), examples or make_prompts(), output, **options)
