"""Answers of a server in the place of those that a model of this process writes: what is asked, and what is read."""

from __future__ import annotations

from collections.abc import Sequence

from diptych.contracts.news import FusionExample, TextTokenizer
from diptych.contracts.pipelines import Failure
from diptych.contracts.prompts import PromptAnswer, PromptRequest
from diptych.systems.decoding import Decoded, Decoder, new_decoded


def check_settings(num_beams: int, names: str) -> None:
    """ValueError for what a server is not asked for."""
    if num_beams > 1:
        raise ValueError(
            f"generation.num_beams={num_beams}: a server is asked for no beams; set generation.num_beams=1, or leave"
            " server out"
        )
    if names != "any":
        raise ValueError(
            f"generation.names={names}: a server is not told which tokens may follow; set generation.names=any, or"
            " leave server out"
        )


def prompt_request(example: FusionExample, decoder: Decoder, num_answers: int, seed: int) -> PromptRequest:
    """What asks for that many answers, as `decoder` would write them; the server's seed depends on `seed` and query id
    alone.
    """
    is_sampled = decoder.temperature is not None
    return PromptRequest(
        example.query_id,
        example.prompt_ids,
        num_answers=num_answers,
        max_tokens=decoder.max_new_tokens,
        end_tokens=tuple(sorted(decoder.end_of_turn)),
        temperature=decoder.temperature or 0.0,
        min_p=decoder.min_p if is_sampled else 0.0,
        seed=new_decoded(example, 0, seed).draws.getrandbits(31),
    )


def read_answer(answer: PromptAnswer, example: FusionExample, decoder: Decoder, tokenizer: TextTokenizer) -> Decoded:
    """The answer as `decoder` would have written it. Tokens that a server does not give are those of its text."""
    ids, decoded = answer.token_ids, new_decoded(example, 0, 0)
    if ids is None:
        ids = tuple(tokenizer.encode(answer.text, add_special_tokens=False))
    decoder.read(decoded, ids, answer.is_cut)
    return decoded


def check_answered(failures: Sequence[Failure], number: int) -> None:
    """ValueError where some of so many prompts have no answer."""
    if failures:
        first = failures[0]
        raise ValueError(
            f"the server has not answered {len(failures)} of {number} prompts, first {first.record_id!r}:"
            f" {first.reason}: {first.message}; the others' captions are kept;"
            " a pipeline that is run again asks for these alone, and so does an evaluation with resume=FOLDER"
        )
