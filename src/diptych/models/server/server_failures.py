"""Why a server gave no answer, in one word, and whether it helps to ask again. No message holds the key."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from diptych.models.server.bodies import TooLargeBody
from diptych.models.server.secret_keys import redacted, without_logins
from diptych.models.server.taken_parameters import refused_parameters
from diptych.storage.json_values import encodable, json_value

_LONGEST_MESSAGE = 400  # characters of what a server says; some send the whole request back
_MOST_READ = 2**16
_LONGEST_WAITED_S = 600.0  # what a server may ask for (Retry-After) before it counts as a refusal
_LONGEST_ASKED_S = 86_400.0  # a day; who asks for more is not waited for, and a number of any length is no message
_REFUSALS = {401: "the key", 402: "the account", 404: "the address or the model"}
_REFUSED_CODES = ("content_policy_violation", "content_filter")
_OUT_OF_QUOTA = "insufficient_quota"
_OWN_FAULT = (400, 413, 422)  # of the request; whatever else is unknown may go by
_MOVED = (301, 302, 303, 307, 308)


class ServerFailure(ValueError):
    """No answer could be had.

    `reason` is `rate_limited`, `timeout`, `connection`, `server_error` (which may help to be asked again:
    `worth_retrying`), `bad_request` or `refused_by_server`. `concerns_all` says that every other request would fail
    the same way. `wait_s` is how long the server asks to be left alone; 0 where it does not say. `parameters` are those
    of the request that the server does not take (`refused_parameters`).
    """

    def __init__(
        self, reason: str, message: str, worth_retrying: bool = False, concerns_all: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.reason, self.worth_retrying, self.concerns_all, self.wait_s = reason, worth_retrying, concerns_all, wait_s
        self.parameters: tuple[str, ...] = ()

    @property
    def worth_waiting(self) -> bool:
        """Whether it may help to ask again after `wait_s`, and that is not too long."""
        return self.worth_retrying and self.wait_s <= _LONGEST_WAITED_S


# What a library raises, and code that reads what it gives, where the JSON has another shape than it ought to have.
_ODD_SHAPES = (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


def failure_of(error: Exception, key: str) -> ServerFailure:
    """What an error of the package openai, or of reading an answer, means; others are raised. `key` is removed from
    what the server says.
    """
    import openai

    if isinstance(error, ServerFailure):
        return error
    if isinstance(error, (openai.APITimeoutError, TimeoutError, asyncio.TimeoutError)):
        return timed_out()
    if isinstance(error, TooLargeBody):
        return too_large(error, key)
    if isinstance(error, OSError):
        return connection_failure(error, key)
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        return too_large(cause, key) if isinstance(cause, TooLargeBody) else connection_failure(cause, key)
    if isinstance(error, openai.APIResponseValidationError) or not isinstance(error, openai.APIStatusError):
        if isinstance(error, (openai.OpenAIError, ValueError, *_ODD_SHAPES)):
            return server_error(f"its answer cannot be read: {shortened(error, key)}")
        raise error
    return _of_status(error.status_code, error.response.headers, shortened(error, key), error.code, key)


def timed_out() -> ServerFailure:
    """No answer within the time limit."""
    return ServerFailure("timeout", "the server gave no answer in time; raise timeout_s", worth_retrying=True)


def connection_failure(cause: BaseException, key: str) -> ServerFailure:
    """The server cannot be reached, or was lost before it answered."""
    said = shortened(cause, key)
    return ServerFailure(
        "connection", f"no connection to the server, or it broke ({said}); look at base_url", worth_retrying=True
    )


def server_error(message: str) -> ServerFailure:
    """A fault of the server's own, such as an answer that is none."""
    return ServerFailure("server_error", f"the server failed: {message}", worth_retrying=True)


def no_completion(body: bytes, key: str, wanted: str = "chat completion") -> ServerFailure:
    """An answer that is none of what was wanted."""
    said = shortened(body[:_MOST_READ].decode("utf-8", "replace"), key)
    return server_error(f"its answer is no {wanted}: {said}")


def too_large(error: BaseException, key: str) -> ServerFailure:
    """An answer of more bytes than are read."""
    return server_error(f"its answer is not read: {shortened(error, key)}")


def refused_answer(status: int, headers: Mapping[str, str], body: bytes, key: str) -> ServerFailure:
    """What an HTTP answer means whose status says that it is no success. `key` is removed from what the server says."""
    text = body[:_MOST_READ].decode("utf-8", "replace")
    try:
        content = json_value(text)
    except ValueError:
        content = text
    message, code = said_in(content, text)
    failure = _of_status(status, headers, shortened(message, key), code, key)
    if failure.reason == "bad_request":
        failure.parameters = refused_parameters(content)
    return failure


def said_in(content: Any, text: str) -> tuple[str, Any]:
    """Message and code of an error's JSON: in OpenAI's form, in that of other servers, or whatever stands there, which
    is `text` as a text.
    """
    error = content.get("error", content) if isinstance(content, dict) else content
    if not isinstance(error, dict):
        return str(error), None
    return str(error.get("message") or text), error.get("code")


def reason_of(status: int, code: Any) -> str:
    """The one word for an HTTP status that is no success, with the code of the error that came with it.

    `rate_limited` and `server_error` may help to be asked again; `refused_by_server` and `bad_request` come again. Only
    a status that says so is the request's own fault.
    """
    if status in _REFUSALS or status == 403:
        return "refused_by_server"
    if status == 429:
        return "refused_by_server" if code == _OUT_OF_QUOTA else "rate_limited"
    if status not in _OWN_FAULT:
        return "server_error"
    return "refused_by_server" if code in _REFUSED_CODES else "bad_request"


def shortened(said: str | BaseException, key: str = "") -> str:
    """What a server says, on one line, without its end (some send the whole request back), the key, and logins in
    addresses.
    """
    text = " ".join(str(said).split()) or ("nothing" if isinstance(said, str) else type(said).__name__)
    return without_logins(redacted(encodable(text[:_MOST_READ]), key))[:_LONGEST_MESSAGE]


def moved(location: str, key: str) -> ServerFailure:
    """The server sends its clients elsewhere, where the key and the question are not to go."""
    message = f"the server says that it is at {shortened(location, key)}; if that is right, set base_url to it"
    return ServerFailure("refused_by_server", message, concerns_all=True)


def _of_status(status: int, headers: Mapping[str, str], said: str, code: Any, key: str) -> ServerFailure:
    if status in _MOVED and headers.get("location"):
        return moved(headers["location"], key)
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
    """Seconds that a server asks to wait (`Retry-After`, as a number or a date), a day at most; 0 where it does not
    say.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, LookupError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_ASKED_S) if math.isfinite(seconds) else 0.0
