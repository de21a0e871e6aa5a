"""What is kept of an answer: the caption, why it ended, and how long it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diptych.contracts.news import FusionExample, TextTokenizer
from diptych.storage.json_values import encodable
from diptych.systems.answer_text import leaves_thinking_open, remove_thinking, target_end
from diptych.systems.decoding import TARGET_WORDS, Decoded

_PROMPT_END = 16  # tokens: where a chat template puts what begins an answer


def caption_record(
    example: FusionExample, answers: Sequence[Decoded], tokenizer: TextTokenizer, target_words: int | None
) -> dict[str, Any]:
    """The record of a query; of several answers their list, among which a caption is to be chosen. Captions that are to
    have about `target_words` words, or the query's own number, are cut there.
    """
    candidates = [_outcome(answer, tokenizer, target_words) for answer in answers]
    outcome = candidates[0] if len(candidates) == 1 else {"candidates": candidates}
    return {"query_id": example.query_id, **outcome, "prompt_tokens": len(example.prompt_ids)}


def end_at_target(answer: Decoded, tokenizer: TextTokenizer, target_words: int | None) -> int | None:
    """Where the caption has about as many words as its query wants, or `target_words`; None where it never has."""
    target = answer.example.target_words or target_words
    if target is None or len(answer.token_ids) < target:  # a word has at least one token
        return None
    return target_end(remove_thinking(_text(answer, tokenizer))[0], target)


def described(record: dict[str, Any], describe: Callable[[str], Mapping[str, Any]] | None) -> dict[str, Any]:
    """The record with what `describe` gives of its query.

    Raises:
        ValueError: that would replace something of the record.
    """
    more = describe(record["query_id"]) if describe else {}
    if more.keys() & record.keys():
        raise ValueError(f"what is to be added to a caption's record may not be named {sorted(record)}")
    return {**record, **more}


def count_outcomes(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many captions stopped for which reason, are empty, and had thoughts removed."""
    counts = Counter(f"stopped_by_{record['stop_reason']}" for record in records)
    counts["empty_captions"] = sum(not record["caption"] for record in records)
    counts["think_removed"] = sum(record["think_removed"] for record in records)
    return dict(sorted(counts.items()))


def _outcome(answer: Decoded, tokenizer: TextTokenizer, target_words: int | None) -> dict[str, Any]:
    caption, removed = remove_thinking(_text(answer, tokenizer))
    if answer.stop_reason == TARGET_WORDS:
        caption = caption[: end_at_target(answer, tokenizer, target_words)]
    return {
        "caption": caption,
        "stop_reason": answer.stop_reason,
        "completion_tokens": answer.num_tokens,
        "think_removed": removed,
    }


def _text(answer: Decoded, tokenizer: TextTokenizer) -> str:
    """What the model wrote; where the prompt has begun its thoughts, with their beginning."""
    written = encodable(tokenizer.decode(answer.token_ids, skip_special_tokens=True))
    thinking = leaves_thinking_open(tokenizer.decode(list(answer.example.prompt_ids[-_PROMPT_END:])))
    return f"<think>{written}" if thinking else written
