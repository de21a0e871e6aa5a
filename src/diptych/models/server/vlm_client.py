"""Requests to a vision-language model behind an OpenAI-compatible server: many at a time, repeated where that helps."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from diptych.contracts.pipelines import Answer, Failure
from diptych.models.server.chat_server import ChatServer
from diptych.models.server.request_pace import RequestPace
from diptych.models.server.server_failures import ServerFailure
from diptych.models.server.server_settings import check_server, read_key
from diptych.models.server.taken_parameters import put_otherwise, taken_parameters

log = logging.getLogger(__name__)

Messages = Sequence[Mapping[str, Any]]

STRUCTURED = ("auto", "on", "off")
_FIRST_WAIT_S, _LONGEST_BACKOFF_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `messages` makes them when their turn has come, in a thread, so that only the pictures in flight
    are in memory; its ValueError becomes the failure `unreadable`.
    """

    request_id: str
    messages: Callable[[], Messages] = field(repr=False)
    max_tokens: int
    response_format: Mapping[str, Any] | None = None


class VLMClient:
    """Answers of `model` from the server at `base_url` (OpenAI's own by default), at most `concurrency` at a time.

    The key is read from the environment variable `api_key_env` when the first request is sent, and is in no error,
    repr or log; None for servers that want none. `timeout_s` bounds each try as a whole. Busy servers (429), their own
    faults (5xx), timeouts and broken connections are tried again `max_retries` times, after the time that the server
    asks for, or else after exponentially growing times, drawn from `rng`. Each 429 halves the number of requests in
    flight, answers bring it back. `temperature` None leaves it to the server.

    A parameter that the server refuses is left out, or called otherwise (`put_otherwise`): if the same request is then
    answered, all further ones are put so. `structured` says whether a `response_format` is sent: `on`, `off`, or
    `auto`, which is as long as the server does not refuse it.

    Construction does no I/O. Connections are kept alive for as long as one event loop uses them.

    Raises:
        ValueError: a setting makes no sense.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        concurrency: int = 8,
        timeout_s: float = 120.0,
        max_retries: int = 5,
        temperature: float | None = 0.0,
        rng: random.Random | None = None,
        structured: str = "auto",
    ) -> None:
        if concurrency < 1 or not timeout_s > 0 or max_retries < 0:
            raise ValueError(
                f"concurrency={concurrency}, timeout_s={timeout_s}, max_retries={max_retries}: want at least 1,"
                " above 0, and at least 0"
            )
        check_server(base_url, api_key_env)
        if structured not in STRUCTURED:
            raise ValueError(f"structured={structured!r} is not one of {', '.join(STRUCTURED)}")
        self.model, self.base_url, self.api_key_env = model, base_url, api_key_env
        self.concurrency, self.timeout_s, self.max_retries = concurrency, timeout_s, max_retries
        self.temperature = temperature
        self.structured = structured
        self._format_taken = structured == "on"  # an answer has shown that the server knows it, or we are to believe so
        self._rng = rng or random.Random()
        self._connection: tuple[asyncio.AbstractEventLoop, ChatServer, RequestPace] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None}

    # ------------------------------------------------------------------------------------------------ one request

    async def complete(
        self, messages: Messages, *, max_tokens: int, response_format: Mapping[str, Any] | None = None
    ) -> Answer:
        """The model's answer to chat messages, of at most `max_tokens` tokens.

        Raises:
            ServerFailure: no answer could be had; `reason` is one word.
            ValueError: the key is not set.
        """
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), "max_tokens": max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if response_format is not None and self.structured != "off":
            body["response_format"] = dict(response_format)
        known = taken_parameters(self.base_url, self.model)
        changed, refusals = known.changed, []
        while True:  # each round changes at least one of few parameters
            try:
                answer = await self._answer(put_otherwise(body, changed))
                break
            except ServerFailure as failure:
                found = self._refused(failure, put_otherwise(body, changed))
                if not found:
                    raise
                changed |= found
                refusals.append(failure)
        if learnt := known.learn(changed):
            names = ", ".join(sorted(learnt))
            log.warning("the server takes no %s (%s); it is asked otherwise from now on", names, refusals[-1])
        self._format_taken |= "response_format" in body and "response_format" not in changed
        return answer

    def _refused(self, failure: ServerFailure, body: Mapping[str, Any]) -> frozenset[str]:
        """Which parameter of a request to change after a refusal. Where it names none, that may be the form of the
        answer, as long as it is not known that the server takes it.
        """
        if failure.reason != "bad_request":
            return frozenset()
        named = [name for name in failure.parameters if name in body]
        if not named and "response_format" in body and not self._format_taken:
            named = ["response_format"]
        if self.structured == "on":
            named = [name for name in named if name != "response_format"]
        return frozenset(named[:1])

    async def _answer(self, arguments: Mapping[str, Any]) -> Answer:
        server, pace = self._connected()
        for retry in range(self.max_retries + 1):
            failure = None
            async with pace:
                started = time.monotonic()
                try:
                    completion = await server.complete(arguments)
                except ServerFailure as raised:
                    failure = raised
                else:
                    pace.answered()
                    return Answer(*completion, time.monotonic() - started)
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

    def results_together(
        self, requests: Iterable[Request]
    ) -> Generator[list[tuple[str, Answer | Failure]], None, None]:
        """The ids of the requests with their answers, or why there is none, as they come: those together that came
        since the last. `requests` is taken from as soon as one may be sent.

        Raises:
            ServerFailure: the server refuses what all requests have in common: the key, the address, or the model. What
                was on its way then is waited for, and given first.
            ValueError: as `complete`.
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

    async def _together(self, requests: Iterable[Request]) -> AsyncGenerator[list[tuple[str, Answer | Failure]], None]:
        waiting = iter(requests)
        pending: set[asyncio.Task[tuple[str, Answer | Failure]]] = set()
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

    async def _result(self, request: Request) -> tuple[str, Answer | Failure]:
        try:
            messages = await asyncio.to_thread(request.messages)
        except ValueError as error:
            return request.request_id, Failure(request.request_id, "unreadable", str(error))
        try:
            answer = await self.complete(
                messages, max_tokens=request.max_tokens, response_format=request.response_format
            )
        except ServerFailure as failure:
            if failure.concerns_all:
                raise
            return request.request_id, Failure(request.request_id, failure.reason, str(failure))
        return request.request_id, answer
