"""Prompts as token ids to a language model behind a server like vLLM's, which holds it under a name."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.contracts.pipelines import Failure
from diptych.contracts.prompts import PromptAnswer, PromptRequest
from diptych.models.server.finish_reasons import is_broken_off, is_cut, is_filtered
from diptych.models.server.server_client import ServerClient


class PromptClient(ServerClient[PromptRequest, Sequence[PromptAnswer]]):
    """What `model` writes after prompts, by `/v1/completions` (see `ServerClient`); `base_url` is vLLM's by default.

    Raises:
        ValueError: a setting makes no sense.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = "http://localhost:8000/v1",
        api_key_env: str | None = None,
        concurrency: int = 128,
        timeout_s: float = 600.0,
        max_retries: int = 5,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(base_url, api_key_env, concurrency, timeout_s, max_retries, rng)
        self.model = model

    def context(self) -> int | None:
        """How many tokens prompt and answer may have together; None where the server does not say.

        Raises:
            ValueError: the server cannot be reached, or does not hold the model.
        """
        held = {model["id"]: model["max_model_len"] for model in asyncio.run(self._models())}
        if self.model not in held:
            raise ValueError(
                f"server.model={self.model!r} is none of those that the server holds: {', '.join(map(repr, held))}"
            )
        return held[self.model]

    async def _models(self) -> list[Mapping[str, Any]]:
        try:
            return (await self._tried(lambda server: server.models()))[0]
        finally:
            await self.close()

    async def _ask(self, request: PromptRequest) -> list[PromptAnswer] | Failure:
        written, _ = await self._tried(lambda server: server.write(self._body(request)))
        if len(written) != request.num_answers:
            said = f"the server wrote {len(written)} answers to a prompt, and was asked for {request.num_answers}"
            return Failure(request.request_id, "server_error", said)
        for one in written:
            if is_filtered(one.finish_reason):
                return Failure(request.request_id, "refused", f"the server withholds its answer ({one.finish_reason})")
            if is_broken_off(one.finish_reason):
                return Failure(request.request_id, "server_error", f"it broke off its answer ({one.finish_reason})")
        return [PromptAnswer(one.text, one.token_ids, is_cut(one.finish_reason)) for one in written]

    def _body(self, request: PromptRequest) -> dict[str, Any]:
        """In vLLM's words; of what decides the tokens, nothing is left to what the server's model says of itself."""
        return {
            "model": self.model,
            "prompt": list(request.token_ids),
            "n": request.num_answers,
            "max_tokens": request.max_tokens,
            "stop_token_ids": list(request.end_tokens),
            "ignore_eos": True,  # beside them: vLLM would add those of the model's generation_config.json
            "temperature": request.temperature,
            "min_p": request.min_p,
            "seed": request.seed,
            "top_p": 1.0,
            "top_k": -1,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "return_token_ids": True,
        }
