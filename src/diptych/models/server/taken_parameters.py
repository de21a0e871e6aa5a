"""Which parameters of a request a server takes, learnt from what it refuses: servers and models differ.

Newer models of OpenAI take `max_completion_tokens` for `max_tokens`, no `temperature` and no `logprobs`; many servers
know no `response_format`. What was asked stays the same question, however it has to be put.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

LIMIT, OTHER_LIMIT = "max_tokens", "max_completion_tokens"
_LOGPROBS = ("logprobs", "top_logprobs")  # go together
LEARNT = (LIMIT, "temperature", "response_format", *_LOGPROBS)  # what can be called otherwise, or left out
_NO_SUCH_THING = ("unsupported_parameter", "unsupported_value", "unknown_parameter", "unrecognized_parameter")
_REFUSING = re.compile(
    r"un(?:supported|recogni[sz]ed|known|expected|available)"
    r"|not (?:be )?(?:(?:currently|yet) )?(?:support|permit|allow|accept|recogni[sz]|implement|available|used|set)"
    r"|n[o']t (?:support|accept|take|allow|know|use|set)|no (?:such|longer)|extra_forbidden|extra (?:inputs|fields?)"
    r"|forbidden|deprecated|instead|omit|remove|only the default|only .{1,20}(?:allowed|supported)"
    r"|(?:invalid|unexpected) (?:param|arg|field|key|property)",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(r"too (?:large|long|many|high|big)|exceed|maximum context|context length", re.IGNORECASE)
_NAMES = re.compile(rf"(?<!\w)(?:{'|'.join(LEARNT)})(?!\w)")
_LONGEST_SEARCHED = 2**14


def refused_parameters(error: Any) -> tuple[str, ...]:
    """Which of `LEARNT` the JSON (or text) of a refusal says that the server does not take: in OpenAI's fields `param`
    and `code`, or in words; the first to be named first, since others may be those that it does take. None where it
    finds fault with a value, as with a limit that is too high.
    """
    inner = error.get("error", error) if isinstance(error, Mapping) else error
    param, code = (inner.get(name) for name in ("param", "code")) if isinstance(inner, Mapping) else (None, None)
    said = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False, default=str)
    said = said[:_LONGEST_SEARCHED]
    in_words = _REFUSING.search(said) is not None and not _TOO_MUCH.search(said)
    if not in_words and code not in _NO_SUCH_THING:
        return ()
    if isinstance(param, str) and (named := _named(param)):
        return named
    return _named(said)


def _named(said: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(match[0] for match in _NAMES.finditer(said)))


class TakenParameters:
    """What is known of one model at one server: `changed` are the parameters that it is sent otherwise, or not."""

    def __init__(self) -> None:
        self.changed: frozenset[str] = frozenset()

    def learn(self, names: frozenset[str]) -> frozenset[str]:
        """These are sent otherwise from now on, too; returns those that were not already."""
        new = names - self.changed
        self.changed |= new
        return new


@cache
def taken_parameters(base_url: str | None, model: str) -> TakenParameters:
    """What this process knows of a model at a server: the stages of a pipeline share it."""
    return TakenParameters()


def put_otherwise(body: Mapping[str, Any], changed: frozenset[str]) -> dict[str, Any]:
    """The body without what `changed` names. The limit of an answer's tokens never goes, and is called otherwise."""
    gone = changed.union(_LOGPROBS) if changed.intersection(_LOGPROBS) else changed
    kept = {name: value for name, value in body.items() if name not in gone}
    if LIMIT in changed and LIMIT in body:
        kept[OTHER_LIMIT] = body[LIMIT]
    return kept


def logprobs_of(number: int) -> dict[str, Any]:
    """What asks for the logprobs of so many tokens in each place; nothing where that is none."""
    return dict(zip(_LOGPROBS, (True, number), strict=True)) if number else {}
