"""How many layers are computed again is a question of memory alone. tests/fake_gpu holds the bytes against a count."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Gemma2Config, Gemma2Model, Qwen3Config, Qwen3Model

from diptych.models.fuser.recomputation import LayerWidths, layers_of, layers_to_recompute

QWEN3_8B = LayerWidths(4096, 4096, 1024, 12288, has_head_norms=True, rank=256, has_dropout=False)
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


def layer_of(kind: type, config: type) -> torch.nn.Module:
    model = kind(config(**SIZES, vocab_size=8, num_hidden_layers=2))
    return layers_of(get_peft_model(model, LoraConfig(r=4, target_modules="all-linear")))[0]


def test_the_widths_are_read_from_the_layer():
    widths = LayerWidths.of(layer_of(Qwen3Model, Qwen3Config), rank=4, dropout=0.0)
    assert widths == LayerWidths(32, 32, 16, 48, has_head_norms=True, rank=4, has_dropout=False)


def test_a_layer_of_other_parts_is_not_guessed_at():
    assert LayerWidths.of(layer_of(Gemma2Model, Gemma2Config), rank=4, dropout=0.0) is None


def test_a_token_s_bytes_are_those_worked_out_by_hand():
    numbers = 4 * 4096 + 2 * 4096 + 2 * 1024 + (4096 + 1024) + 4 * 12288 + 7 * 256
    assert QWEN3_8B.kept() == 2 * numbers == 165_376
    assert QWEN3_8B.saved(36, 10) == 26 * 165_376 + 10 * 8192 + 3 * 8192


@pytest.mark.parametrize(
    ("gigabytes", "tokens", "quantization", "expected"),
    [
        (126, 9_000, "none", 0),
        (126, 24_000, "none", 9),
        (126, 24_000, "int8", 9),
        (57, 9_000, "none", 3),
        (57, 24_000, "none", 26),
        (30, 24_000, "none", 32),
        (0.1, 9_000, "none", 36),
        (-5, 9_000, "none", 36),
    ],
)
def test_as_few_layers_are_computed_again_as_fit(gigabytes, tokens, quantization, expected):
    assert layers_to_recompute(QWEN3_8B, 36, tokens, gigabytes * 1e9, quantization) == expected
