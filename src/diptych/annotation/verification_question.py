"""Asking a second model whether one sentence of change holds for two images, and how often it says so."""

from __future__ import annotations

from pydantic import BaseModel

from diptych.annotation.prompt import OneSlotPrompt


class Verdict(BaseModel):
    """Whether the sentence holds."""

    holds: bool


class VerificationPrompt(OneSlotPrompt):
    """A prompt whose `text` has the slot {sentence}; it goes before both pictures, the reference first.

    Raises:
        ValueError: the text has no such slot.
    """

    slot = "sentence"
