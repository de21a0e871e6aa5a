"""Answers of a server in the place of those that a model of this process writes: what is asked, and what is read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from diptych.contracts.news import FusionExample, TextTokenizer
from diptych.contracts.pipelines import Failure
from diptych.contracts.prompts import PromptAnswer, PromptRequest
from diptych.systems.decoding import Decoded, Decoder, new_decoded

if TYPE_CHECKING:
    from diptych.systems.caption_generation import GenerationSettings


def check_served(settings: GenerationSettings) -> None:
    """ValueError for settings that a server cannot follow."""
    if settings.num_beams > 1:
        raise ValueError(
            f"generation.num_beams={settings.num_beams}: a server searches with no beams; set generation.num_beams=1,"
            " or leave server out"
        )


def prompt_request(example: FusionExample, settings: GenerationSettings, ends: Collection[int]) -> PromptRequest:
    """The prompt with what the settings say; its seed depends on theirs and on the query id."""
    return PromptRequest(
        example.query_id,
        example.prompt_ids,
        num_answers=settings.num_candidates,
        max_tokens=settings.max_new_tokens,
        end_tokens=tuple(ends),
        temperature=settings.temperature if settings.do_sample else 0.0,
        min_p=settings.min_p if settings.do_sample else 0.0,
        seed=new_decoded(example, 0, settings.seed).draws.getrandbits(31),
    )


def check_answered(failures: Sequence[Failure], number: int) -> None:
    """ValueError where some of so many prompts have no answer."""
    if failures:
        first = failures[0]
        raise ValueError(
            f"the server has not answered {len(failures)} of {number} prompts, first {first.record_id!r}:"
            f" {first.reason}: {first.message}; the others' captions are kept, resume=FOLDER asks for these alone"
        )


def read_answer(answer: PromptAnswer, example: FusionExample, decoder: Decoder, tokenizer: TextTokenizer) -> Decoded:
    """The answer as `decoder` would have written it. Tokens that a server does not give are those of its text."""
    ids, decoded = answer.token_ids, new_decoded(example, 0, 0)
    if ids is None:
        ids = tuple(tokenizer.encode(answer.text, add_special_tokens=False))
    decoder.read(decoded, ids, answer.is_cut)
    return decoded
