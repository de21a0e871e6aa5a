"""What is wrong with prompts, found out before the first one is answered."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from diptych.contracts.news import FusionExample


def context_of(model: nn.Module) -> int | None:
    """How many tokens prompt and answer may have together; None where the model does not say."""
    return getattr(getattr(model, "config", None), "max_position_embeddings", None)


def check_prompts(
    prompts: Sequence[FusionExample],
    context: int | None,
    max_new_tokens: int,
    target_words: int | None,
    compares_queries: bool,
) -> None:
    """That prompts can be answered with so many tokens by a model with a context of so many, and go with the other
    settings: a length for all captions, a choice among candidates that needs several queries.

    Raises:
        ValueError: they do not; says what to change.
    """
    if not prompts:
        raise ValueError("there are no prompts to answer")
    if len(prompts) == 1 and compares_queries:
        raise ValueError(
            "one query has no consensus by CIDEr, which needs several: set "
            "generation.consensus=embedding (system.generator.settings.consensus in a training)"
        )
    if target_words is not None and any(example.target_words for example in prompts):
        raise ValueError(
            f"generation.target_words={target_words}, and every photo has a length of its own (length=...): "
            "leave one of them out"
        )
    seen = set()
    for example in prompts:
        length, name = len(example.prompt_ids), f"query {example.query_id!r}"
        if not length:
            raise ValueError(f"{name} has an empty prompt")
        if name in seen:
            raise ValueError(f"{name} occurs twice; every query is asked once")
        if context is not None and length + max_new_tokens > context:
            raise ValueError(
                f"{name}: its prompt of {length} tokens leaves no room for max_new_tokens="
                f"{max_new_tokens} in the model's {context}; shorten the evidence or lower max_new_tokens"
            )
        seen.add(name)
