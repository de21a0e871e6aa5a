"""The lines of a batch's output and error files (OpenAI Batch API): answers, and why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diptych.contracts.pipelines import Answer, Failure
from diptych.models.server.completion import read_completion
from diptych.models.server.server_failures import reason_of, shortened
from diptych.storage.json_values import json_value

_AGAIN = {"server_error": "the server failed", "rate_limited": "the server was asked too much"}


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request that may be answered if it is sent again. `reason` is a short fixed word."""

    reason: str
    message: str


def read_line(line: str | bytes) -> tuple[str, Answer | Failure | Unanswered] | None:
    """The `custom_id` of a line with what became of its request; None for what is no line of results.

    `Failure` is what would happen again (`bad_request`, `refused_by_server`). Latency is 0: batches have none.
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
        return key, _of_error(error)
    body, status = response.get("body"), response.get("status_code")
    if status == 200:
        return key, _of_completion(body)
    inner = body.get("error") if isinstance(body, Mapping) else None
    return key, _of_status(key, status, inner or error)


def _of_completion(body: Any) -> Answer | Unanswered:
    completion = read_completion(body)
    if completion is None:
        return Unanswered("server_error", f"the answer holds no choice: {_said(body)}")
    return Answer(*completion, 0.0)


def _of_error(error: Any) -> Unanswered:
    """A request that the batch did not come to: it expired, was cancelled, or failed before."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return Unanswered(code if isinstance(code, str) and code else "no_answer", _said(error))


def _of_status(key: str, status: Any, error: Any) -> Failure | Unanswered:
    said = f"{status}: {_said(error)}"
    code = error.get("code") if isinstance(error, Mapping) else None
    # Without the code of a 429: a quota that was used up within a batch may be there again for the next one.
    reason = reason_of(status, code if status != 429 else None) if isinstance(status, int) else "server_error"
    if reason in _AGAIN:
        return Unanswered(reason, f"{_AGAIN[reason]} ({said})")
    what = "refuses" if reason == "refused_by_server" else "cannot use"
    return Failure(key, reason, f"the server {what} this request ({said})")


def _said(value: Any) -> str:
    message = value.get("message") if isinstance(value, Mapping) else None
    return shortened(str(message or value))
