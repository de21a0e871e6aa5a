"""How many answers a card has room for, from memory figures that are made up."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import Qwen3Config

from diptych.contracts.news import FusionExample
from diptych.systems import answers_at_a_time as module
from diptych.systems.answers_at_a_time import answers_at_a_time, bytes_per_answer

QWEN3_8B = Qwen3Config(
    vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32,
    num_key_value_heads=8, head_dim=128,
)  # fmt: skip
TINY = Qwen3Config(
    vocab_size=10, hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=6,
)  # fmt: skip


class Model(nn.Module):
    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
        self.packed = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
        self.lora_A = nn.Parameter(torch.zeros(2))


def test_bytes_are_those_worked_out_by_hand():
    # 2 x (3 + 1) x 2 x 6 numbers of 2 bytes for 7 + 4 tokens; 7 times 16 x 24; 49 times 3; 10 times 32.
    assert bytes_per_answer(TINY, 2, 7, 4) == 192 * 11 + 384 * 7 + 3 * 49 + 320
    # 36 layers: 147,456 bytes a token, one layer of them twice.
    assert bytes_per_answer(QWEN3_8B, 2, 0, 1) - 32 * 151936 == 147_456 + 4096


@pytest.mark.parametrize(("free_gib", "expected"), [(0.1, 1), (40, 30), (60, 45), (110, 83), (1000, 128)])
def test_a_card_takes_what_it_has_room_for(monkeypatch, free_gib, expected):
    # 1.05 GiB an answer; a fifth of what is free stays free.
    monkeypatch.setattr(module, "free_memory", lambda device: int(free_gib * 2**30))
    prompts = [FusionExample(str(length), (1,) * length) for length in (20, 3000, 700)]
    assert answers_at_a_time(Model(QWEN3_8B), prompts, 350) == expected


def test_a_cpu_takes_sixteen():
    assert answers_at_a_time(Model(QWEN3_8B), [FusionExample("a", (1,))], 350) == 16
