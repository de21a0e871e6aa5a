"""What a model is asked about a file of pairs, apart from how it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diptych.annotation.prompt import AnnotationPrompt
from diptych.annotation.verification_question import VerificationPrompt


class Wording(Protocol):
    """How questions are worded."""

    def text(self, values: Mapping[str, Any]) -> str:
        """The text of a question. ValueError where the prompt lacks a slot, or a value."""


class Task(Wording, Protocol):
    """What the stages that ask about pairs need of a task."""

    @property
    def pairs(self) -> str | Path:
        """The file of pairs."""

    @property
    def images_root(self) -> str | Path | None:
        """Where relative paths of images begin; None: beside the file."""


@dataclass(frozen=True)
class AnnotationTask:
    """Images of `domain` are described with at most `max_objects` objects, in the words of `prompt`.

    Raises:
        ValueError: `max_objects` makes no sense.
    """

    prompt: AnnotationPrompt
    pairs: str | Path
    domain: str
    max_objects: int
    images_root: str | Path | None = None

    def __post_init__(self) -> None:
        if self.max_objects < 1:
            raise ValueError(f"max_objects={self.max_objects}: want at least 1")

    def text(self, values: Mapping[str, Any]) -> str:
        """The prompt, its slots filled with `values`, the domain and the number of objects."""
        return self.prompt.render(domain=self.domain, max_objects=self.max_objects, **values)


@dataclass(frozen=True)
class VerificationTask:
    """Sentences about pairs are held against their images, in the words of `prompt`."""

    prompt: VerificationPrompt
    pairs: str | Path
    images_root: str | Path | None = None

    def text(self, values: Mapping[str, Any]) -> str:
        """The prompt about the sentence among `values`."""
        return self.prompt.render(**values)
