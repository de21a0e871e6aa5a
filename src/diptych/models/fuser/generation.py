"""Precisions of pretrained models by name, and the tokens that end an answer of one that writes text."""

from __future__ import annotations

from typing import Any

import torch

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def ending_tokens(model: Any, tokenizer: Any) -> set[int]:
    """The ids that end an answer: the tokenizer's, and those of the model's generation config."""
    ends = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
