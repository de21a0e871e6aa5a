"""Why a server gave no answer, in one word, and whether it helps to ask again. No message holds the key."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from diptych.storage.json_values import json_value

_LONGEST_MESSAGE = 400  # characters of what a server says; some send the whole request back
_REFUSALS = {401: "the key", 402: "the account", 404: "the address or the model"}
_REFUSED_CODES = ("content_policy_violation", "content_filter")
_OUT_OF_QUOTA = "insufficient_quota"


class ServerFailure(ValueError):
    """No answer could be had.

    `reason` is `rate_limited`, `timeout`, `connection`, `server_error` (which may help to be asked again:
    `worth_retrying`), `bad_request` or `refused_by_server`. `concerns_all` says that every other request would fail
    the same way. `wait_s` is how long the server asks to be left alone; 0 where it does not say.
    """

    def __init__(
        self, reason: str, message: str, worth_retrying: bool = False, concerns_all: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.reason, self.worth_retrying, self.concerns_all, self.wait_s = reason, worth_retrying, concerns_all, wait_s


def failure_of(error: Exception, key: str) -> ServerFailure:
    """What an error of the package openai means; others are raised. `key` is removed from what the server says."""
    import openai

    if isinstance(error, ServerFailure):
        return error
    if isinstance(error, (openai.APITimeoutError, asyncio.TimeoutError)):
        return timed_out()
    if isinstance(error, openai.APIConnectionError):
        return connection_failure(error.__cause__ or error, key)
    if isinstance(error, openai.APIResponseValidationError) or not isinstance(error, openai.APIStatusError):
        if isinstance(error, (openai.OpenAIError, ValueError)):
            return server_error(f"its answer cannot be read: {_shortened(error, key)}")
        raise error
    return _of_status(error.status_code, error.response.headers, _shortened(error, key), error.code)


def timed_out() -> ServerFailure:
    """No answer within the time limit."""
    return ServerFailure("timeout", "the server gave no answer in time; raise timeout_s", worth_retrying=True)


def connection_failure(cause: BaseException, key: str) -> ServerFailure:
    """The server cannot be reached, or was lost before it answered."""
    said = _shortened(cause, key)
    return ServerFailure(
        "connection", f"no connection to the server, or it broke ({said}); look at base_url", worth_retrying=True
    )


def server_error(message: str) -> ServerFailure:
    """A fault of the server's own, such as an answer that is none."""
    return ServerFailure("server_error", f"the server failed: {message}", worth_retrying=True)


def no_completion(body: bytes, key: str) -> ServerFailure:
    """An answer that holds no message of a model."""
    return server_error(f"its answer is no chat completion: {_shortened(body.decode('utf-8', 'replace'), key)}")


def refused_answer(status: int, headers: Mapping[str, str], body: bytes, key: str) -> ServerFailure:
    """What an HTTP answer means whose status says that it is no success. `key` is removed from what the server says."""
    message, code = _said(body)
    return _of_status(status, headers, _shortened(message, key), code)


def _said(body: bytes) -> tuple[str, Any]:
    """Message and code of an error: in OpenAI's form, in that of other servers, or whatever stands there."""
    text = body.decode("utf-8", "replace")
    try:
        content = json_value(text)
    except ValueError:
        return text, None
    error = content.get("error", content) if isinstance(content, dict) else content
    if not isinstance(error, dict):
        return str(error), None
    return str(error.get("message") or text), error.get("code")


def reason_of(status: int, code: Any) -> str:
    """The one word for an HTTP status that is no success, with the code of the error that came with it.

    `rate_limited` and `server_error` may help to be asked again; `refused_by_server` and `bad_request` come again.
    """
    if status in _REFUSALS or status == 403:
        return "refused_by_server"
    if status == 429:
        return "refused_by_server" if code == _OUT_OF_QUOTA else "rate_limited"
    if status >= 500 or status in (408, 409, 425):
        return "server_error"
    return "refused_by_server" if code in _REFUSED_CODES else "bad_request"


def shortened(said: str) -> str:
    """What a server says, on one line and without its end: some send the whole request back."""
    return " ".join(said.split())[:_LONGEST_MESSAGE]


def _of_status(status: int, headers: Mapping[str, str], said: str, code: Any) -> ServerFailure:
    reason = reason_of(status, code)
    if status in _REFUSALS:  # what a server says about a key may quote parts of it
        said = "" if status == 401 else f": {said}"
        return ServerFailure(reason, f"the server refuses {_REFUSALS[status]} ({status}){said}", concerns_all=True)
    if reason == "refused_by_server" and status == 429:
        return ServerFailure(reason, f"the account's quota is used up (429): {said}", concerns_all=True)
    if reason == "rate_limited":
        wait_s = asked_wait(headers)
        asked = f"; it asks to wait {wait_s:.0f} s" if wait_s else ""
        message = f"the server is asked too much (429){asked}; lower concurrency: {said}"
        return ServerFailure(reason, message, worth_retrying=True, wait_s=wait_s)
    if reason == "server_error":
        failure = server_error(f"{status}: {said}")
        failure.wait_s = asked_wait(headers)
        return failure
    what = "refuses" if reason == "refused_by_server" else "cannot use"
    return ServerFailure(reason, f"the server {what} this request ({status}): {said}")


def asked_wait(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait (`Retry-After`, as a number or a date); 0 where it does not say."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def _shortened(said: str | BaseException, key: str) -> str:
    text = " ".join(str(said).split()) or ("nothing" if isinstance(said, str) else type(said).__name__)
    return shortened(text.replace(key, "***") if key else text)
