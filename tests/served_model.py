"""A language model of this process behind a server that answers prompts as vLLM does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from diptych.contracts.news import FusionExample, TextTokenizer
from diptych.systems.decoding import END_OF_TURN, Decoder, new_decoded


def writing(model: nn.Module, tokenizer: TextTokenizer, says_tokens: bool = True) -> Callable[..., tuple]:
    """A step of a scripted server: what the model writes after a prompt."""

    def step(handler: Any, body: dict[str, Any]) -> tuple[int, dict, dict]:
        ends = body["stop_token_ids"]
        decoder = Decoder(
            end_of_turn=frozenset(ends),
            pad_token_id=ends[0],
            max_new_tokens=body["max_tokens"],
            temperature=body["temperature"] or None,
            min_p=body["min_p"],
            is_long_enough=lambda answer: False,
        )
        example = FusionExample("prompt", tuple(body["prompt"]))
        answers = [new_decoded(example, number, body["seed"]) for number in range(body["n"])]
        decoder.complete(model, answers)
        choices = []
        for index, answer in enumerate(answers):
            ended = answer.stop_reason == END_OF_TURN
            text = tokenizer.decode(answer.token_ids, skip_special_tokens=True)
            choice = {"index": index, "text": text, "finish_reason": "stop" if ended else "length"}
            if says_tokens:
                choice["token_ids"] = [*answer.token_ids, *(ends[:1] if ended else [])]
            choices.append(choice)
        return 200, {}, {"object": "text_completion", "model": body["model"], "choices": choices}

    return step
