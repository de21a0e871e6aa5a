"""Requests to an OpenAI-compatible server: many at a time, repeated where that helps."""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from diptych.contracts.pipelines import Failure
from diptych.models.server.chat_server import ChatServer
from diptych.models.server.request_pace import RequestPace
from diptych.models.server.server_failures import ServerFailure
from diptych.models.server.server_settings import check_server, read_key

_FIRST_WAIT_S, _LONGEST_BACKOFF_S = 0.5, 30.0


class Named(Protocol):
    """What is asked, under a name of its own."""

    @property
    def request_id(self) -> str:
        """The name."""


Asked = TypeVar("Asked", bound=Named)
Given = TypeVar("Given")
Found = TypeVar("Found")


class ServerClient(ABC, Generic[Asked, Given]):
    """Answers from the server at `base_url` (OpenAI's own by default), at most `concurrency` at a time.

    The key is read from the environment variable `api_key_env` when the first request is sent, and is in no error,
    repr or log; None for servers that want none. `timeout_s` bounds each try as a whole. Busy servers (429), their own
    faults (5xx), timeouts and broken connections are tried again `max_retries` times, after the time that the server
    asks for, or else after exponentially growing times, drawn from `rng`. Each 429 halves the number of requests in
    flight, answers bring it back.

    Construction does no I/O. Connections are kept alive for as long as one event loop uses them.

    Raises:
        ValueError: a setting makes no sense.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key_env: str | None,
        concurrency: int,
        timeout_s: float,
        max_retries: int,
        rng: random.Random | None = None,
    ) -> None:
        if concurrency < 1 or not timeout_s > 0 or max_retries < 0:
            raise ValueError(
                f"concurrency={concurrency}, timeout_s={timeout_s}, max_retries={max_retries}: want at least 1,"
                " above 0, and at least 0"
            )
        check_server(base_url, api_key_env)
        self.base_url, self.api_key_env = base_url, api_key_env
        self.concurrency, self.timeout_s, self.max_retries = concurrency, timeout_s, max_retries
        self._rng = rng or random.Random()
        self._connection: tuple[asyncio.AbstractEventLoop, ChatServer, RequestPace] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None}

    # ------------------------------------------------------------------------------------------------ one request

    @abstractmethod
    async def _ask(self, request: Asked) -> Given | Failure:
        """What a request gives. Raises ServerFailure where no answer could be had, and ValueError for a key that is not
        set.
        """

    async def _tried(self, ask: Callable[[ChatServer], Awaitable[Found]]) -> tuple[Found, float]:
        """What `ask` has of the server, tried again where that helps, and the seconds that the last try took."""
        server, pace = self._connected()
        for retry in range(self.max_retries + 1):
            failure = None
            async with pace:
                started = time.monotonic()
                try:
                    found = await ask(server)
                except ServerFailure as raised:
                    failure = raised
                else:
                    pace.answered()
                    return found, time.monotonic() - started
            if not failure.worth_waiting or retry == self.max_retries:
                raise failure
            longest = min(_LONGEST_BACKOFF_S, _FIRST_WAIT_S * 2**retry)
            wait = max(failure.wait_s, longest * self._rng.uniform(0.5, 1.0))
            if failure.reason == "rate_limited":
                pace.refused(started, wait)
            await asyncio.sleep(wait)
        raise AssertionError("the last try has returned or raised")

    async def close(self) -> None:
        """Closes the connections; a later request opens new ones."""
        connection, self._connection = self._connection, None
        if connection is not None and connection[0] is asyncio.get_running_loop():
            await connection[1].close()

    def _connected(self) -> tuple[ChatServer, RequestPace]:
        loop = asyncio.get_running_loop()
        if self._connection is None or self._connection[0] is not loop:
            self._connection = (loop, self._connect(), RequestPace(self.concurrency))
        return self._connection[1:]

    def _connect(self) -> ChatServer:
        return ChatServer(self.base_url, read_key(self.api_key_env), self.timeout_s)

    # ------------------------------------------------------------------------------------------------ many requests

    def results_together(self, requests: Iterable[Asked]) -> Generator[list[tuple[str, Given | Failure]], None, None]:
        """The ids of the requests with their answers, or why there is none, as they come: those together that came
        since the last. `requests` is taken from as soon as one may be sent.

        Raises:
            ServerFailure: the server refuses what all requests have in common: the key, the address, or the model. What
                was on its way then is waited for, and given first.
            ValueError: the key is not set.
        """
        loop = asyncio.new_event_loop()
        together = self._together(requests)
        following: asyncio.Task[Any] | None = None

        async def next_results() -> Any:
            return await anext(together, None)

        try:
            while True:
                following = loop.create_task(next_results())
                results = loop.run_until_complete(following)
                if results is None:
                    return
                yield results
        finally:
            if following is not None and following.cancel():  # interrupted while it waited
                loop.run_until_complete(asyncio.wait([following]))
            loop.run_until_complete(together.aclose())
            loop.run_until_complete(self.close())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _together(self, requests: Iterable[Asked]) -> AsyncGenerator[list[tuple[str, Given | Failure]], None]:
        waiting = iter(requests)
        pending: set[asyncio.Task[tuple[str, Given | Failure]]] = set()
        refusal: ServerFailure | None = None
        try:
            while True:
                for request in islice(waiting, 0 if refusal else self.concurrency - len(pending)):
                    pending.add(asyncio.create_task(self._result(request)))
                if not pending and refusal:
                    raise refusal
                if not pending:
                    return
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                pending -= done
                results = []
                for task in done:
                    try:
                        results.append(task.result())
                    except ServerFailure as failure:  # the others may be answered, and have to be paid for
                        refusal = refusal or failure
                if results:
                    yield results
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _result(self, request: Asked) -> tuple[str, Given | Failure]:
        try:
            return request.request_id, await self._ask(request)
        except ServerFailure as failure:
            if failure.concerns_all:
                raise
            return request.request_id, Failure(request.request_id, failure.reason, str(failure))
