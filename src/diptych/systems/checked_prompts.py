"""What is wrong with prompts, found out before the first one is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from diptych.contracts.news import FusionExample

if TYPE_CHECKING:
    from diptych.systems.caption_generation import GenerationSettings


def context_of(model: nn.Module) -> int | None:
    """How many tokens prompt and answer may have together; None where the model does not say."""
    return getattr(getattr(model, "config", None), "max_position_embeddings", None)


def check_prompts(prompts: Sequence[FusionExample], context: int | None, settings: GenerationSettings) -> None:
    """That prompts can be answered by a model with a context of so many tokens.

    Raises:
        ValueError: one cannot, or the settings do not go with them; says what to change.
    """
    if not prompts:
        raise ValueError("there are no prompts to answer")
    if len(prompts) == 1 and settings.num_candidates > 1 and settings.consensus == "cider":
        raise ValueError(
            "one query has no consensus by CIDEr, which needs several: set "
            "generation.consensus=embedding (system.generator.settings.consensus in a training)"
        )
    if settings.target_words is not None and any(example.target_words for example in prompts):
        raise ValueError(
            f"generation.target_words={settings.target_words}, and every photo has a length of its own (length=...): "
            "leave one of them out"
        )
    seen = set()
    for example in prompts:
        length, name = len(example.prompt_ids), f"query {example.query_id!r}"
        if not length:
            raise ValueError(f"{name} has an empty prompt")
        if name in seen:
            raise ValueError(f"{name} occurs twice; every query is asked once")
        if context is not None and length + settings.max_new_tokens > context:
            raise ValueError(
                f"{name}: its prompt of {length} tokens leaves no room for max_new_tokens="
                f"{settings.max_new_tokens} in the model's {context}; shorten the evidence or lower max_new_tokens"
            )
        seen.add(name)
