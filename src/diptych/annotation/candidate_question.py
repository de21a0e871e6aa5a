"""Asking a model whether a picture is what a reference becomes by a text, and how sure it is of its yes or no."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from diptych.annotation.answers import parse
from diptych.annotation.prompt import OneSlotPrompt
from diptych.contracts.pipelines import Answer

NUM_LOGPROBS = 5  # the likeliest tokens in each place that are asked for: yes and no are among them, or never mind


class CandidateVerdict(BaseModel):
    """Whether the candidate is what was asked for."""

    answer: Literal["yes", "no"]


class CandidatePrompt(OneSlotPrompt):
    """A prompt whose `text` has the slot {text} for the modification text; it goes before both pictures, the reference
    first and then the candidate.

    Raises:
        ValueError: the text has no such slot.
    """

    slot = "text"


@dataclass(frozen=True)
class CandidateTask:
    """Candidates are held against what was asked for, in the words of `prompt`."""

    prompt: CandidatePrompt

    def text(self, values: Mapping[str, Any]) -> str:
        """The prompt about the text among `values`."""
        return self.prompt.render(**values)


def yes_probability(answer: Answer) -> float:
    """How likely a yes was, 0 to 1. By the logprobs it is p(yes) / (p(yes) + p(no)) where the verdict was written, in
    whatever spelling of the tokens (`"Yes`); what is not among the likeliest counts 0. Without logprobs, 1 or 0 as the
    answer says. (The probability of a yes as a score: VQAScore, Lin et al., ECCV 2024.)

    Raises:
        InvalidAnswer: the answer is neither, as `parse` has it.
    """
    said = parse(CandidateVerdict, answer).answer
    for place in reversed(answer.logprobs):
        written = next(iter(place))
        if _word(written) == said:
            by_word = {
                word: sum(math.exp(of) for token, of in place.items() if _word(token) == word) for word in ("yes", "no")
            }
            total = sum(by_word.values())
            return by_word["yes"] / total if total else float(said == "yes")
    return float(said == "yes")


def _word(token: str) -> str:
    """A token without what may stick to it: blanks, quotes, brackets."""
    return token.strip(" \n\t\"'{}:,.\u2581\u0120").lower()
