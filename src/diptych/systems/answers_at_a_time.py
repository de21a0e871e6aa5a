"""How many answers a card has room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from diptych.contracts.news import FusionExample
from diptych.parallel.devices import free_memory

ON_CPU = 16
# More are no gain on paper: a token then takes as long as its keys and values take to read. And what is written at a
# time is what a kill loses.
MOST = 128
_SHARE = 0.8  # of what is free: caches that grow by a token leave gaps behind


def answers_at_a_time(model: nn.Module, prompts: Sequence[FusionExample], max_new_tokens: int) -> int:
    """For how many answers, beams counted, the memory of the model's GPU suffices, from 1 to 128; 16 on a CPU."""
    if (free := free_memory(next(model.parameters()).device)) is None:
        return ON_CPU
    config: Any = model.config
    longest = max(len(example.prompt_ids) for example in prompts)
    needed = bytes_per_answer(config.get_text_config(), _item_size(model), longest, max_new_tokens)
    return max(1, min(MOST, int(_SHARE * free) // needed))


def bytes_per_answer(config: Any, itemsize: int, prompt_tokens: int, new_tokens: int) -> int:
    """Bytes of one answer beside the weights, computed from the sizes in transformers' `config` and the bytes of a
    number of the model; not measured.

    - kept: keys and values, 2 x layers x key heads x head width numbers for each token of prompt and answer. A layer's
      are there twice while a token is added to them.
    - of the prompt, while it is read: a layer's activations, four times its widest part in float32 (its gates, and what
      adapters take in); the mask of pads, for each pair of tokens a byte and a number.
    - the scores of the vocabulary for the next token: up to four copies in float64, where it is sampled.
    """
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    key_heads: int = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept: int = 2 * (layers + 1) * key_heads * width * itemsize * (prompt_tokens + new_tokens)
    widest: int = max(getattr(config, "intermediate_size", None) or 4 * config.hidden_size, heads * width)
    scores: int = 32 * config.vocab_size
    return kept + 16 * widest * prompt_tokens + (1 + itemsize) * prompt_tokens**2 + scores


def _item_size(model: nn.Module) -> int:
    """Bytes of a number of what is not quantised, adapters left out."""
    named = ((name, one) for name, one in model.named_parameters() if one.is_floating_point() and "lora_" not in name)
    return max(one.element_size() for _, one in named)
