"""What is kept of answers: what they rest on, and of each the caption, why it ended, and how long it is."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from diptych.contracts.news import FusionExample, TextTokenizer
from diptych.storage.json_values import encodable
from diptych.systems.answer_text import leaves_thinking_open, remove_thinking, target_end
from diptych.systems.decoding import TARGET_WORDS, Decoded

_SINCE = ("choice", "num_beams", "names")  # settings that came after files were claimed with the others
_PROMPT_END = 16  # tokens: where a chat template puts what begins an answer


def made_with(settings: Any, prompts: Sequence[FusionExample], model: str, ends: Sequence[int]) -> dict[str, Any]:
    """What the records of a file rest on: the settings, of a dataclass, the model's fingerprint, the tokens that end an
    answer, and a hash of the prompts.
    """
    # Not the batch size: who runs out of memory may lower it and go on.
    kept = {name: value for name, value in asdict(settings).items() if name != "batch_size"}
    usual = {field.name: field.default for field in fields(settings)}
    for name in _SINCE:  # files of versions that did not have them go on
        if kept[name] == usual[name]:
            del kept[name]
    listed: list[Any] = [(example.query_id, example.prompt_ids) for example in prompts]
    if any(example.target_words for example in prompts):
        listed.append([example.target_words for example in prompts])
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    return {"settings": kept, "model": model, "end_of_turn": list(ends), "prompts": digest}


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
