"""The HTTP client under the package openai: its answers are bounded, and it goes nowhere but where it was told to."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from openai import DefaultHttpxClient, OpenAI

from diptych.models.server.bodies import LARGEST_ANSWER, TooLargeBody, unpacked
from diptych.models.server.server_settings import server_url
from diptych.parallel.deadline import within

_RETRIES = 5  # of the client itself, with growing waits
_LARGEST_FILE = 4 * 2**30  # bytes of results, which are read line by line
_LONGEST_S, _LONGEST_OF_FILE_S = 120.0, 3600.0  # until an answer has been read; until a file has come, or is sent

# httpx, or what has taken its place in the package openai
_http: Any = importlib.import_module(str(DefaultHttpxClient.__base__.__module__).partition(".")[0])


def open_client(base_url: str | None, key: str) -> OpenAI:
    """A client of the server at `base_url` (None: what the environment says, else OpenAI's own). Redirections are
    failures of their own status: key, organisation, project and questions go nowhere else. Answers are of at most
    16 MiB, files of results of 4 GiB, and are unpacked as they are read.
    """
    http = _Client(follow_redirects=False, event_hooks={"response": [_bound]})
    return OpenAI(api_key=key, base_url=server_url(base_url), max_retries=_RETRIES, http_client=http)


class _Client(DefaultHttpxClient):
    """A client that waits for an answer until a time at most, whatever it is that hangs: a name that is looked up, or
    fields of the answer that come byte by byte. What hangs is left behind.
    """

    def send(self, request: Any, **more: Any) -> Any:
        """As the client's own. What takes too long is a failure of time."""
        path = request.url.path.rstrip("/")
        longest_s = _LONGEST_OF_FILE_S if path.endswith(("/content", "/files")) else _LONGEST_S
        try:
            return within(longest_s, partial(super().send, request, **more), f"asking {request.url.host}")
        except TimeoutError as error:
            raise _http.ReadTimeout(str(error), request=request) from None


def _bound(response: Any) -> None:
    is_file = response.request.url.path.endswith("/content")
    encoding = response.headers.pop("content-encoding", "")
    most, longest_s = (_LARGEST_FILE, _LONGEST_OF_FILE_S) if is_file else (LARGEST_ANSWER, _LONGEST_S)
    response.stream = _BoundedStream(response.stream, encoding, most, time.monotonic() + longest_s)


class _BoundedStream(_http.SyncByteStream):
    """A body, unpacked, of at most `most` bytes, until the time `ends_at`. What breaks it off is an OSError."""

    def __init__(self, packed: Any, encoding: str, most: int, ends_at: float) -> None:
        self._packed, self._encoding, self._most, self._ends_at = packed, encoding, most, ends_at

    def __iter__(self) -> Iterator[bytes]:
        try:
            for block in unpacked(self._packed, self._encoding, self._most):
                if time.monotonic() > self._ends_at:
                    raise TooLargeBody("it takes too long to come")
                yield block
        except _http.TimeoutException as error:
            raise TimeoutError(str(error)) from None
        except _http.HTTPError as error:
            raise ConnectionError(str(error)) from None

    def close(self) -> None:
        self._packed.close()
