"""What every captioner gives, and how captions are decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Caption:
    """What a model wrote for one photo. `stop_reason` is `stop` where the model ended it and `length` where the limit
    of tokens did; servers have more words. `text` is blank where the model had nothing to say.
    """

    text: str
    stop_reason: str


@dataclass(frozen=True, slots=True)
class DecodingSettings:
    """How a caption is searched for: the likeliest of `num_beams`, without chance. New tokens are counted, neither the
    prompt's nor the image's; `repetition_penalty` weighs on the tokens of the prompt too.

    The defaults are the published ones for InstructBLIP (max_length=350, min_length=50, whose count depended on the
    version of transformers).

    Raises:
        ValueError: a value makes no sense.
    """

    max_new_tokens: int = 350
    min_new_tokens: int = 50
    num_beams: int = 5
    length_penalty: float = 1.0
    repetition_penalty: float = 1.1

    def __post_init__(self) -> None:
        if not 0 <= self.min_new_tokens <= self.max_new_tokens or self.max_new_tokens < 1:
            raise ValueError(
                f"min_new_tokens={self.min_new_tokens}, max_new_tokens={self.max_new_tokens}: want"
                " the first from 0 to the second, and the second at least 1"
            )
        if self.num_beams < 1 or not self.repetition_penalty > 0:
            raise ValueError(
                f"num_beams={self.num_beams}, repetition_penalty={self.repetition_penalty}: want at least 1 and above 0"
            )

    def second_try(self) -> DecodingSettings:
        """The published settings for photos whose first caption was blank."""
        return replace(self, length_penalty=1.2, repetition_penalty=1.12)

    def generation_arguments(self) -> dict[str, Any]:
        """What `generate` of transformers wants; a checkpoint's own sampling settings are switched off."""
        beams = {"length_penalty": self.length_penalty, "early_stopping": True} if self.num_beams > 1 else {}
        return {
            "do_sample": False,
            "max_new_tokens": self.max_new_tokens,
            "min_new_tokens": self.min_new_tokens,
            "num_beams": self.num_beams,
            "repetition_penalty": self.repetition_penalty,
            **beams,
        }
