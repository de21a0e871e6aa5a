"""The calls of the OpenAI Batch API that the batch asker makes. No error holds the key."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import IO, Any, TypeVar

from diptych.models.server.server_failures import ServerFailure, failure_of

log = logging.getLogger(__name__)

_T = TypeVar("_T")

ENDPOINT = "/v1/chat/completions"
_TOKEN = "diptych_token"
_CREATE_TRIES = 5
_LOOKS = 3  # a batch created a moment ago may not be listed yet
_LONGEST_WAIT_S = 10.0


class BatchServer:
    """A server through an open client of the package openai. All methods raise ServerFailure where there is no answer.

    `wait_s` is how long it waits at most between looking for a batch again.
    """

    def __init__(self, client: Any, wait_s: float) -> None:
        self._client = client
        self._wait_s = min(wait_s, _LONGEST_WAIT_S)

    def upload(self, file: IO[bytes]) -> str:
        """The id of a file of requests."""

        def call() -> str:
            file.seek(0)
            return str(self._client.files.create(file=("requests.jsonl", file), purpose="batch").id)

        return self._reached(call)

    def create(self, file_id: str, token: str) -> str:
        """The id of a new batch that carries the token, made once however often the connection breaks.

        A ServerFailure that is `worth_retrying` leaves open whether there is a batch; `search` will tell.
        """
        # The client may not repeat the request itself: each try that arrives makes a batch.
        client = self._client.with_options(max_retries=0)
        for attempt in range(_CREATE_TRIES):
            try:
                batch = self._reached(
                    lambda: client.batches.create(
                        input_file_id=file_id, endpoint=ENDPOINT, completion_window="24h", metadata={_TOKEN: token}
                    )
                )
                return str(batch.id)
            except ServerFailure as failure:
                if not failure.worth_retrying or attempt + 1 == _CREATE_TRIES:
                    raise
                log.warning("a batch could not be created, and is tried again: %s", failure)
                time.sleep(max(failure.wait_s, min(self._wait_s, 2.0**attempt)))
                if found := self.search(token):
                    return found
        raise AssertionError("the last try has returned or raised")

    def search(self, token: str) -> str | None:
        """The id of the batch that carries a token. Of several the first counts, and the others are cancelled."""
        for look in range(_LOOKS):
            if look:
                time.sleep(self._wait_s)
            if found := self._reached(lambda: self._with_token(token)):
                first, *others = sorted(found, key=lambda batch: batch.created_at or 0)
                for other in others:
                    log.warning("batch %s was created twice; the second, %s, is cancelled", first.id, other.id)
                    self.cancel(other.id)
                return str(first.id)
        return None

    def batch(self, batch_id: str) -> Any | None:
        """The batch as it stands; None where the server knows none of this id."""
        return self._reached(lambda: _unless_missing(lambda: self._client.batches.retrieve(batch_id)))

    def content(self, file_id: str) -> bytes | None:
        """The content of a file; None where the server has no such file."""
        return self._reached(lambda: _unless_missing(lambda: bytes(self._client.files.content(file_id).content)))

    def cancel(self, batch_id: str) -> None:
        """Cancels a batch if that is still possible."""
        try:
            self._reached(lambda: self._client.batches.cancel(batch_id))
        except ServerFailure as failure:
            log.warning("batch %s could not be cancelled: %s", batch_id, failure)

    def _with_token(self, token: str) -> list[Any]:
        return [batch for batch in self._client.batches.list(limit=100) if (batch.metadata or {}).get(_TOKEN) == token]

    def _reached(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        # The error and what it came from may quote the request with its key, so neither is passed on.
        except Exception as error:
            failure = failure_of(error, self._client.api_key)
        raise failure


def _unless_missing(call: Callable[[], _T]) -> _T | None:
    from openai import NotFoundError

    try:
        return call()
    except NotFoundError:
        return None
