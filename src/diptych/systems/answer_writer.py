"""Answers of a model of this process, as many at a time as its device has room for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from diptych.contracts.news import FusionExample
from diptych.systems.beam_search import complete_with_beams
from diptych.systems.decoding import TARGET_WORDS, Decoded, Decoder, new_decoded

log = logging.getLogger(__name__)


@contextmanager
def answering(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode for the time."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class AnswerWriter:
    """Has `model` write as `decoder` says, up to `room` answers at a time, beams counted, and half as many from where
    that is too much for the device.
    """

    def __init__(self, model: nn.Module, decoder: Decoder, room: int, num_beams: int, seed: int) -> None:
        self.model, self.decoder, self.num_beams, self.seed = model, decoder, num_beams, seed
        self.room = room

    def write(self, asked: Sequence[tuple[FusionExample, int]]) -> list[Decoded]:
        """Answers to prompts, by the number of the candidate.

        Raises:
            ValueError: out of memory with one answer.
        """
        answers: list[Decoded] = []
        while len(answers) < len(asked):
            size = max(1, self.room // self.num_beams)
            answers += self._written(asked[len(answers) :][:size])
        return answers

    def _written(self, asked: Sequence[tuple[FusionExample, int]]) -> list[Decoded]:
        """None where they are too many for the device."""
        answers = [new_decoded(example, number, self.seed) for example, number in asked]
        try:
            self._complete(answers)
        except torch.OutOfMemoryError as error:
            if len(asked) == 1:
                raise ValueError(
                    f"out of memory with one answer to a prompt of {len(asked[0][0].prompt_ids)} tokens: lower "
                    "generation.max_new_tokens or num_beams, shorten the evidence, or take a card with more memory, "
                    f"and start again to resume ({error})"
                ) from error
        else:
            return answers
        self.room = len(asked) // 2 * self.num_beams
        log.warning("out of memory with %d answers at a time: %d from here on", len(asked), len(asked) // 2)
        return []

    def _complete(self, answers: Sequence[Decoded]) -> None:
        decoder = self.decoder
        if self.num_beams == 1:
            decoder.complete(self.model, answers)
            return
        limits = (decoder.end_of_turn, decoder.pad_token_id, decoder.max_new_tokens)
        complete_with_beams(self.model, answers, self.num_beams, *limits)
        for answer in answers:
            if decoder.is_long_enough(answer):
                answer.stop_reason = TARGET_WORDS
