"""What a completion says, read from its JSON: the answer of a server to one request, or a line of a batch."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from diptych.models.server.secret_keys import redacted
from diptych.storage.json_values import encodable

log = logging.getLogger(__name__)

Logprobs = tuple[dict[str, float], ...]  # see `contracts.pipelines.Answer`


class Completion(NamedTuple):
    """What a model answered; `counts` are of tokens."""

    text: str
    finish_reason: str
    counts: dict[str, int]
    logprobs: Logprobs = ()


class Written(NamedTuple):
    """What a model wrote after a prompt. `token_ids` are None where the server gives the text alone."""

    text: str
    finish_reason: str
    token_ids: tuple[int, ...] | None


_MOST_TOKENS = 2**31  # in one answer; what is beyond is no count
_THOUGHT = re.compile(r"reason|think|thought", re.IGNORECASE)
_MOST_COUNTS, _LONGEST_WORD = 32, 64
_MOST_PLACES, _MOST_ALTERNATIVES = 64, 20  # whose logprobs are kept: answers that are asked for them are short


def read_completion(body: Any, key: str = "") -> Completion | None:
    """Text, finish reason, token counts and logprobs of a completion, which some servers leave parts of out; None where
    it holds no message. A refusal that stands apart from the text is given as text, with the finish reason `refusal`.

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
        return Completion(_clean(refusal, key), "refusal", counts)
    said = _word(reason, key) if isinstance(reason, str) else ""
    return Completion(_clean(_text(content), key), said, counts, _logprobs(choice.get("logprobs"), key))


def read_written(body: Any, key: str = "") -> list[Written] | None:
    """What each of the samples of a plain completion says, the texts as `read_completion` has them; None where one says
    nothing.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list) or not choices:
        return None
    written = []
    for choice in choices:
        text = choice.get("text") if isinstance(choice, Mapping) else None
        if not isinstance(text, str):
            return None
        reason, ids = choice.get("finish_reason"), choice.get("token_ids")
        whole = isinstance(ids, list) and all(type(token) is int and 0 <= token < _MOST_TOKENS for token in ids)
        named = _word(reason, key) if isinstance(reason, str) else ""
        written.append(Written(_clean(text, key), named, tuple(ids) if whole else None))
    return written


def read_models(body: Any, key: str = "") -> list[Mapping[str, Any]] | None:
    """What a server says of each model that it holds: `id`, and `max_model_len`, the tokens that it takes, where that
    is said; None where it says nothing.
    """
    models = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(models, list):
        return None
    named = [model for model in models if isinstance(model, Mapping) and isinstance(model.get("id"), str)]
    lengths = [model.get("max_model_len") for model in named]
    return [
        {"id": _clean(model["id"], key), "max_model_len": length if type(length) is int else None}
        for model, length in zip(named, lengths, strict=True)
    ]


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


def _logprobs(given: Any, key: str) -> Logprobs:
    """Of the last tokens of an answer: a verdict stands behind thoughts. None of any where a place cannot be read,
    since the places would be others.
    """
    places = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(places, list):
        return ()
    found = []
    for place in places[-_MOST_PLACES:]:
        others = place.get("top_logprobs") if isinstance(place, Mapping) else None
        by_token: dict[str, float] = {}
        for one in [place, *(others[:_MOST_ALTERNATIVES] if isinstance(others, list) else ())]:
            token, logprob = (one.get(name) if isinstance(one, Mapping) else None for name in ("token", "logprob"))
            if not isinstance(token, str) or not isinstance(logprob, int | float) or not -math.inf < logprob < 1e-3:
                return ()
            by_token.setdefault(_clean(token, key), min(float(logprob), 0.0))  # rounding may lead above 0
        found.append(by_token)
    return tuple(found)


@cache
def _say_that_estimates_count() -> None:
    log.warning("the server counts tokens in a way that cannot be; where it does, the estimates of cost count")
