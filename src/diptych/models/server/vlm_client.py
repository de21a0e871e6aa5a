"""Questions to a vision-language model behind an OpenAI-compatible server: chat messages with pictures."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diptych.contracts.pipelines import Answer, Failure
from diptych.models.server.server_client import ServerClient
from diptych.models.server.server_failures import ServerFailure
from diptych.models.server.taken_parameters import logprobs_of, put_otherwise, taken_parameters

log = logging.getLogger(__name__)

Messages = Sequence[Mapping[str, Any]]

STRUCTURED = ("auto", "on", "off")


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `messages` makes them when their turn has come, in a thread, so that only the pictures in flight
    are in memory; its ValueError becomes the failure `unreadable`.
    """

    request_id: str
    messages: Callable[[], Messages] = field(repr=False)
    max_tokens: int
    response_format: Mapping[str, Any] | None = None
    num_logprobs: int = 0


class VLMClient(ServerClient[Request, Answer]):
    """Answers of `model` from a server (see `ServerClient`). `temperature` None leaves it to the server.

    A parameter that the server refuses is left out, or called otherwise (`put_otherwise`): if the same request is then
    answered, all further ones are put so. `structured` says whether a `response_format` is sent: `on`, `off`, or
    `auto`, which is as long as the server does not refuse it.

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
        super().__init__(base_url, api_key_env, concurrency, timeout_s, max_retries, rng)
        if structured not in STRUCTURED:
            raise ValueError(f"structured={structured!r} is not one of {', '.join(STRUCTURED)}")
        self.model, self.temperature, self.structured = model, temperature, structured
        self._format_taken = structured == "on"  # an answer has shown that the server knows it, or we are to believe so

    async def complete(
        self,
        messages: Messages,
        *,
        max_tokens: int,
        response_format: Mapping[str, Any] | None = None,
        num_logprobs: int = 0,
    ) -> Answer:
        """The model's answer to chat messages, of at most `max_tokens` tokens; with `num_logprobs` of the likeliest in
        the place of each, where the server gives them.

        Raises:
            ServerFailure: no answer could be had; `reason` is one word.
            ValueError: the key is not set.
        """
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), "max_tokens": max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if response_format is not None and self.structured != "off":
            body["response_format"] = dict(response_format)
        body |= logprobs_of(num_logprobs)
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

    async def _ask(self, request: Request) -> Answer | Failure:
        try:
            messages = await asyncio.to_thread(request.messages)
        except ValueError as error:
            return Failure(request.request_id, "unreadable", str(error))
        form, num_logprobs = request.response_format, request.num_logprobs
        return await self.complete(
            messages, max_tokens=request.max_tokens, response_format=form, num_logprobs=num_logprobs
        )

    async def _answer(self, body: Mapping[str, Any]) -> Answer:
        completion, latency_s = await self._tried(lambda server: server.complete(body))
        return Answer(completion.text, completion.finish_reason, completion.counts, latency_s, completion.logprobs)
