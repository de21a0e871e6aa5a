"""Answers by beam search, as transformers has it: several beginnings are kept, and the likeliest whole answer wins."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from diptych.systems.decoding import END_OF_TURN, MAX_NEW_TOKENS, Decoded, pad_left


@contextmanager
def _own_config(model: nn.Module, config: Any) -> Iterator[None]:
    """The model's generation config, which fills in what a given one leaves out, is `config` for the time; the one that
    a PEFT model hands down too.
    """
    inner: Any = getattr(getattr(model, "base_model", None), "model", None)
    parts: list[Any] = [model, inner]
    holders = [one for one in parts if hasattr(one, "generation_config")]
    before = [one.generation_config for one in holders]
    try:
        for one in holders:
            one.generation_config = config
        yield
    finally:
        for one, own in zip(holders, before, strict=True):
            one.generation_config = own


@torch.inference_mode()
def complete_with_beams(
    model: nn.Module,
    answers: Sequence[Decoded],
    num_beams: int,
    end_of_turn: Collection[int],
    pad_token_id: int,
    max_new_tokens: int,
) -> None:
    """Fills the answers in with the likeliest of `num_beams`, by the mean log-probability of their tokens.

    An answer ends with a token of `end_of_turn` or after `max_new_tokens`; the search for a prompt is over when all
    its beams have ended. The model's own generation config has no say.

    Raises:
        ValueError: the model has no beam search.
        torch.OutOfMemoryError: `num_beams` times the batch is too large for the device.
    """
    from transformers import GenerationConfig  # takes seconds, and only beams need it

    if not callable(generate := getattr(model, "generate", None)):
        raise ValueError(f"num_beams={num_beams}: {type(model).__name__} has no `generate` of transformers; set 1")
    batch = pad_left([answer.example for answer in answers], pad_token_id).to(next(model.parameters()).device)
    settings = GenerationConfig(
        num_beams=num_beams,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(end_of_turn),
        pad_token_id=pad_token_id,
        early_stopping=True,
        length_penalty=1.0,
        use_cache=True,
    )
    with _own_config(model, GenerationConfig()):
        found = generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, generation_config=settings)
    for answer, ids in zip(answers, found[:, batch.input_ids.shape[1] :].tolist(), strict=True):
        end = next((place for place, token in enumerate(ids) if token in end_of_turn), None)
        answer.token_ids = ids if end is None else ids[:end]
        answer.num_tokens = len(ids) if end is None else end + 1
        answer.stop_reason = MAX_NEW_TOKENS if end is None else END_OF_TURN
