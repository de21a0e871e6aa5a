"""Asking a second model whether one sentence of change holds for two images, and how often it says so."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel

_SLOT = "{sentence}"


class Verdict(BaseModel):
    """Whether the sentence holds."""

    holds: bool


class VerificationPrompt:
    """A prompt whose `text` has the slot {sentence}; it goes before both pictures, the reference first.

    Raises:
        ValueError: the text has no such slot.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        if _SLOT not in self.text:
            raise ValueError(f"the prompt {self.text[:40]!r}... has no slot {_SLOT} for what is to be verified")

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the prompt's words."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def render(self, sentence: str, **_: object) -> str:
        """The prompt about a sentence; what other prompts are given (domain, max_objects) is not needed."""
        return self.text.replace(_SLOT, sentence)
