"""The calls of the OpenAI Batch API that the batch asker makes. No error holds the key."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, TypeVar

from diptych.models.server.bodies import LARGEST_ANSWER
from diptych.models.server.secret_keys import redacted
from diptych.models.server.server_failures import ServerFailure, failure_of, server_error, shortened
from diptych.models.server.taken_parameters import refused_parameters

log = logging.getLogger(__name__)

_T = TypeVar("_T")

ENDPOINT = "/v1/chat/completions"
_TOKEN = "diptych_token"
_CREATE_TRIES = 5
_LOOKS = 3  # a batch created a moment ago may not be listed yet
_LONGEST_WAIT_S = 10.0
_FILE_TRIES = 3
_MOST_LISTED = 10_000  # batches that are looked through for one
_LONGEST_ID, _MOST_ERRORS = 256, 100_000


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """What a server says is wrong with a batch or with a `line` of its file, from 1; `parameters` are those of the
    request that it does not take.
    """

    message: str
    code: str
    line: int | None
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenBatch:
    """A batch as it stands at the server. Whatever the server sent, it has this form, and does not hold the key."""

    batch_id: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    problems: tuple[BatchProblem, ...]


def seen_batch(batch: Any, key: str) -> SeenBatch:
    """The batch that an answer of the server describes."""
    errors = getattr(getattr(batch, "errors", None), "data", None)
    errors = errors[:_MOST_ERRORS] if isinstance(errors, list) else []
    return SeenBatch(
        shortened(str(batch.id), key),
        shortened(str(getattr(batch, "status", None)), key),
        _file_id(getattr(batch, "output_file_id", None), key),
        _file_id(getattr(batch, "error_file_id", None), key),
        tuple(_problem(error, key) for error in errors),
    )


def _problem(error: Any, key: str) -> BatchProblem:
    said = {name: getattr(error, name, None) for name in ("message", "code", "param")}
    line = getattr(error, "line", None)
    message, code = shortened(str(said["message"] or error), key), shortened(str(said["code"]), key)
    return BatchProblem(message, code, line if type(line) is int else None, refused_parameters(said))


def _file_id(name: Any, key: str) -> str | None:
    return name if isinstance(name, str) and _usable_id(name, key) else None


def _usable_id(name: str, key: str) -> bool:
    """An id goes into addresses and the ledger: printable, not long, and without the key."""
    plain = name.isascii() and name.isprintable() and not {*"/?#% "} & {*name}
    return bool(name.strip(".")) and len(name) <= _LONGEST_ID and plain and redacted(name, key) == name


class BatchServer:
    """A server through an open client of the package openai. All methods raise ServerFailure where there is no answer.

    `wait_s` is how long it waits at most between looking for a batch again.
    """

    def __init__(self, client: Any, wait_s: float) -> None:
        self._client = client
        self._wait_s = min(wait_s, _LONGEST_WAIT_S)

    @property
    def key(self) -> str:
        """The key, which is to be in nothing that is kept."""
        return str(self._client.api_key)

    def upload(self, file: IO[bytes]) -> str:
        """The id of a file of requests."""

        def call() -> str:
            file.seek(0)
            return self._id_of(self._client.files.create(file=("requests.jsonl", file), purpose="batch"))

        return self._reached(call)

    def create(self, file_id: str, token: str) -> str:
        """The id of a new batch that carries the token, made once however often the connection breaks.

        A ServerFailure that is `worth_retrying` leaves open whether there is a batch; `search` will tell.
        """
        # The client may not repeat the request itself: each try that arrives makes a batch.
        client = self._client.with_options(max_retries=0)
        for attempt in range(_CREATE_TRIES):
            try:
                return self._reached(
                    lambda: self._id_of(
                        client.batches.create(
                            input_file_id=file_id, endpoint=ENDPOINT, completion_window="24h", metadata={_TOKEN: token}
                        )
                    )
                )
            except ServerFailure as failure:
                if not failure.worth_waiting or attempt + 1 == _CREATE_TRIES:
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
                first, *others = found
                for other in others:
                    log.warning("batch %s was created twice; the second, %s, is cancelled", first, other)
                    self.cancel(other)
                return first
        return None

    def batch(self, batch_id: str) -> SeenBatch | None:
        """The batch as it stands; None where the server knows none of this id."""
        found = self._reached(lambda: _unless_missing(lambda: self._client.batches.retrieve(batch_id)))
        return None if found is None else self._reached(lambda: seen_batch(found, self.key))

    def lines(self, file_id: str) -> Iterator[bytes] | None:
        """The lines of a file, which is kept on the disk meanwhile; None where the server has no such file. Of a line
        of more than 16 MiB only the beginning comes.
        """
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile())
            for attempt in range(_FILE_TRIES):
                try:
                    found = self._reached(lambda: _unless_missing(lambda: self._download(file_id, file)))
                    break
                except ServerFailure as failure:
                    if not failure.worth_waiting or attempt + 1 == _FILE_TRIES:
                        raise
                    log.warning("the file %s broke off, and is fetched again: %s", file_id, failure)
                    time.sleep(max(failure.wait_s, min(self._wait_s, 2.0**attempt)))
            if found is None:
                return None
            stack.pop_all()  # the lines close it
        return _lines(file)

    def _download(self, file_id: str, file: IO[bytes]) -> bool:
        file.seek(0)
        file.truncate()
        with self._client.files.with_streaming_response.content(file_id) as response:
            for block in response.iter_bytes():
                file.write(block)
        return True

    def cancel(self, batch_id: str) -> None:
        """Cancels a batch if that is still possible."""
        try:
            self._reached(lambda: self._client.batches.cancel(batch_id))
        except ServerFailure as failure:
            log.warning("batch %s could not be cancelled: %s", batch_id, failure)

    def _with_token(self, token: str) -> list[str]:
        """The ids of the batches that carry the token, the first to be created first."""
        listed = islice(self._client.batches.list(limit=100), _MOST_LISTED)
        found = [batch for batch in listed if isinstance(batch.metadata, dict) and batch.metadata.get(_TOKEN) == token]
        return [self._id_of(batch) for batch in sorted(found, key=lambda batch: float(batch.created_at or 0))]

    def _id_of(self, thing: Any) -> str:
        name = getattr(thing, "id", None)
        if isinstance(name, int):
            name = str(name)
        if not isinstance(name, str) or not _usable_id(name, self.key):
            said = str(thing if name is None else name)
            raise server_error(f"it gives an id that is none: {shortened(said, self.key)}")
        return name

    def _reached(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        # The error and what it came from may quote the request with its key, so neither is passed on.
        except Exception as error:
            failure = failure_of(error, self.key)
        raise failure


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while line := file.readline(LARGEST_ANSWER):
            yield line
            while not line.endswith(b"\n") and (line := file.readline(LARGEST_ANSWER)):
                continue  # the rest of a line that is too long


def _unless_missing(call: Callable[[], _T]) -> _T | None:
    from openai import NotFoundError

    try:
        return call()
    except NotFoundError:
        return None
