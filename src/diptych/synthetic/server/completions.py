"""Chat completions in OpenAI's form: the answer as a server would send it, with tokens counted, whole or spoilt."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any

from diptych.synthetic.server.faults import chance
from diptych.synthetic.server.rooms_answers import Asked
from diptych.synthetic.server.rooms_images import Picture

_LETTERS_A_TOKEN = 4
_TOKENS_A_MESSAGE = 4
_BASE_TOKENS, _TILE_TOKENS, _TILE = 85, 170, 512
_CONTRARY = {"yes": "no", "no": "yes"}
_LEAST = 1e-9  # of probabilities, whose logarithms are sent
_REFUSAL = "I'm sorry, but I can't help with that request."
_WRONG = ({"items": ["nothing"]}, {"objects": "none", "sentences": "none", "holds": "perhaps"}, ["no", "object"])


def count_tokens(text: str) -> int:
    """About as many as a tokenizer makes of English."""
    return math.ceil(len(text) / _LETTERS_A_TOKEN)


def image_tokens(width: int, height: int, detail: str = "high") -> int:
    """What a picture costs, as OpenAI counts for gpt-4o: within 2048, the short side to at most 768 pixels, then by
    tiles of 512; in low detail always the same.
    """
    if detail == "low":
        return _BASE_TOKENS
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return _BASE_TOKENS + _TILE_TOKENS * math.ceil(width * scale / _TILE) * math.ceil(height * scale / _TILE)


def completion(
    body: Mapping[str, Any], asked: Asked[Picture], answer: Any, fault: str, identifier: str, certainty: float = 1.0
) -> dict[str, Any]:
    """The response body. `fault` is one of the content faults, or ""; beyond `max_tokens` any answer is cut. Where
    logprobs are asked for, a yes or no is as likely as the `certainty`, its contrary as the rest, other tokens certain.
    """
    text = answer if isinstance(answer, str) else json.dumps(answer)
    text, finish_reason, refusal = _spoil(text, fault, identifier)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and count_tokens(text) > limit:
        text, finish_reason = text[: limit * _LETTERS_A_TOKEN], "length"
    prompt = sum(image_tokens(picture.width, picture.height, picture.detail) for picture in asked.pictures)
    prompt += sum(_TOKENS_A_MESSAGE + count_tokens(_text_of(message)) for message in body["messages"])
    written = count_tokens(text or refusal or "")
    return {
        "id": f"chatcmpl-{identifier}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None if refusal else text, "refusal": refusal},
                "logprobs": _logprobs(text or "", certainty) if body.get("logprobs") else None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written},
    }


def _logprobs(text: str, certainty: float) -> dict[str, Any]:
    content = []
    for token in re.findall(r"\w+|\W+", text):
        likely = {token: 1.0}
        if token in _CONTRARY:
            likely = {token: certainty, _CONTRARY[token]: 1 - certainty}
        top = [
            {"token": word, "logprob": math.log(max(share, _LEAST)), "bytes": None} for word, share in likely.items()
        ]
        content.append({**top[0], "top_logprobs": sorted(top, key=lambda one: -one["logprob"])})
    return {"content": content, "refusal": None}


def _spoil(text: str, fault: str, identifier: str) -> tuple[str, str, str | None]:
    """Text, finish reason and refusal."""
    spoilt = {
        "cut": text[: len(text) // 2],
        "empty": "",
        "content_filter": "",
        "fenced": f"```json\n{text}\n```",
        "prose": f"Sure, here is what I see:\n\n{text}\n\nLet me know if you need anything else.",
        "wrong_schema": json.dumps(_WRONG[int(chance(identifier) * len(_WRONG))]),
        "refusal_in_words": _REFUSAL,
    }
    finish_reason = {"cut": "length", "content_filter": "content_filter"}.get(fault, "stop")
    return spoilt.get(fault, text), finish_reason, _REFUSAL if fault == "refusal" else None


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part["text"] for part in content if "text" in part)
