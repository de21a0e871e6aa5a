"""What a chat completion says, read from its JSON: the answer of a server to one request, or a line of a batch."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from diptych.models.server.secret_keys import redacted
from diptych.storage.json_values import encodable

log = logging.getLogger(__name__)

Completion = tuple[str, str, dict[str, int]]  # text, finish reason, token counts

_MOST_TOKENS = 2**31  # in one answer; what is beyond is no count
_THOUGHT = re.compile(r"reason|think|thought", re.IGNORECASE)
_MOST_COUNTS, _LONGEST_WORD = 32, 64


def read_completion(body: Any, key: str = "") -> Completion | None:
    """Text, finish reason and token counts of a completion, which some servers leave parts of out; None where it holds
    no message. A refusal that stands apart from the text is given as text, with the finish reason `refusal`.

    Whatever stands in `body`, the texts are as `encodable` has them, and do not hold `key`. Counts are at least 0 and
    below 2^31; others are left out, so that the estimate counts.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        return None
    content, refusal = message.get("content"), message.get("refusal")
    counts, reason = _counts(body.get("usage"), key), choice.get("finish_reason")
    if not content and isinstance(refusal, str) and refusal:
        return _clean(refusal, key), "refusal", counts
    return _clean(_text(content), key), _word(reason, key) if isinstance(reason, str) else "", counts


def _clean(text: str, key: str) -> str:
    return redacted(encodable(text), key)


def _word(text: str, key: str) -> str:
    return " ".join(_clean(text, key).split())[:_LONGEST_WORD]


def _text(content: Any) -> str:
    """The text of a message; some servers answer in parts, of which some are what the model thought before."""
    if isinstance(content, list):
        said = (part for part in content if isinstance(part, Mapping) and not _THOUGHT.search(str(part.get("type"))))
        texts = (part.get("text") for part in said)
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _counts(usage: Any, key: str) -> dict[str, int]:
    if not isinstance(usage, Mapping):
        return {}
    counts = {}
    for name, count in list(usage.items())[:_MOST_COUNTS]:
        if type(count) is int and 0 <= count < _MOST_TOKENS:  # True is an int too
            counts[_word(str(name), key)] = count
        elif count is not None and name in ("prompt_tokens", "completion_tokens"):
            _say_that_estimates_count()
    return counts


@cache
def _say_that_estimates_count() -> None:
    log.warning("the server counts tokens in a way that cannot be; where it does, the estimates of cost count")
