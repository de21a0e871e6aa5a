"""Prompts that a server answers in the place of a model of this process, token by token the same."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from diptych.contracts.pipelines import Failure


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """A prompt of `token_ids`, to which so many answers are wanted, each of at most `max_tokens` tokens and ending with
    one of `end_tokens`.

    A `temperature` of 0 is the likeliest token each time; tokens less likely than `min_p` times the likeliest are left
    out. `seed` decides the samples.
    """

    request_id: str
    token_ids: tuple[int, ...]
    num_answers: int
    max_tokens: int
    end_tokens: tuple[int, ...]
    temperature: float
    min_p: float
    seed: int


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """What a server wrote. `token_ids`, with the end token where there was one, are None where it gives the text alone;
    `is_cut` says that it ends where the limit of tokens was.
    """

    text: str
    token_ids: tuple[int, ...] | None
    is_cut: bool


class PromptServer(Protocol):
    """A server that holds a language model under the name `model`."""

    model: str
    base_url: str | None

    def context(self) -> int | None:
        """How many tokens prompt and answer may have together; None where the server does not say. ValueError where it
        cannot be reached, or does not hold the model.
        """

    def results_together(
        self, requests: Iterable[PromptRequest]
    ) -> Generator[list[tuple[str, Sequence[PromptAnswer] | Failure]], None, None]:
        """The ids of the requests with their answers, or why there are none, as they come: those together that came
        since the last. ValueError where the server refuses what all have in common.
        """
