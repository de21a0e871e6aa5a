"""The lines of a batch's output and error files (OpenAI Batch API): answers, and why there are none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diptych.contracts.pipelines import Answer, Failure
from diptych.models.server.completion import read_completion
from diptych.models.server.server_failures import reason_of, said_in, shortened
from diptych.models.server.taken_parameters import refused_parameters
from diptych.storage.json_values import json_value

_NO_WORD, _LONGEST_REASON = re.compile(r"[^\w.-]"), 64
_AGAIN = {"server_error": "the server failed", "rate_limited": "the server was asked too much"}


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request that may be answered if it is sent again. `reason` is a short fixed word."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that the server cannot use as it was put: `failure`, unless it helps to change the `parameters` that
    the server says it does not take.
    """

    failure: Failure
    parameters: tuple[str, ...] = field(default=())


def read_line(line: str | bytes, secret: str = "") -> tuple[str, Answer | Failure | Refused | Unanswered] | None:
    """The `custom_id` of a line with what became of its request; None for what is no line of results.

    `Failure` is what would happen again (`refused_by_server`). Latency is 0: batches have none. Nothing that is given
    holds `secret`, the key of the server.
    """
    try:
        record = json_value(line)
    except ValueError:
        return None
    key = record.get("custom_id") if isinstance(record, Mapping) else None
    if not isinstance(key, str):
        return None
    response, error = record.get("response"), record.get("error")
    if not isinstance(response, Mapping):
        return key, _of_error(error, secret)
    body, status = response.get("body"), response.get("status_code")
    if status == 200:
        return key, _of_completion(body, secret)
    return key, _of_status(key, status, body or error, secret)


def _of_completion(body: Any, secret: str) -> Answer | Unanswered:
    completion = read_completion(body, secret)
    if completion is None:
        return Unanswered("server_error", f"the answer holds no choice: {shortened(str(body), secret)}")
    return Answer(completion.text, completion.finish_reason, completion.counts, 0.0, completion.logprobs)


def _of_error(error: Any, secret: str) -> Unanswered:
    """A request that the batch did not come to: it expired, was cancelled, or failed before."""
    said, code = said_in(error, str(error))
    reason = _NO_WORD.sub("", shortened(code, secret))[:_LONGEST_REASON] if isinstance(code, str) and code else ""
    return Unanswered(reason or "no_answer", shortened(said, secret))


def _of_status(key: str, status: Any, error: Any, secret: str) -> Failure | Refused | Unanswered:
    message, code = said_in(error, str(error))
    said = f"{shortened(str(status), secret)}: {shortened(message, secret)}"
    # Without the code of a 429: a quota that was used up within a batch may be there again for the next one.
    reason = reason_of(status, code if status != 429 else None) if isinstance(status, int) else "server_error"
    if reason in _AGAIN:
        return Unanswered(reason, f"{_AGAIN[reason]} ({said})")
    if reason == "refused_by_server":
        return Failure(key, reason, f"the server refuses this request ({said})")
    return Refused(Failure(key, reason, f"the server cannot use this request ({said})"), refused_parameters(error))
