"""Prompts of the annotation stages: a text with slots for what a pair brings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import ClassVar

from diptych.storage.key import key_of

SLOTS = ("max_objects", "domain", "reference", "target")
_SLOT = re.compile(r"\{([a-z_]+)\}")
_SETTINGS = ("max_objects", "domain")  # a prompt may do without these


class AnnotationPrompt:
    """A prompt whose `text` has the slots {max_objects}, {domain}, {reference} and {target}, some or all of them; other
    braces stay as they are.

    `domains` are the words for {domain} by the name of the domain; None: the name itself stands there.

    Raises:
        ValueError: the text is blank, or has a slot that there is none for.
    """

    def __init__(self, text: str, domains: Mapping[str, str] | None = None) -> None:
        self.text, self.domains = text.strip(), None if domains is None else dict(domains)
        self.slots = frozenset(_SLOT.findall(self.text))
        unknown = sorted(self.slots - set(SLOTS))
        if not self.text or unknown:
            what = f"has the slot {{{unknown[0]}}}" if unknown else "is blank"
            raise ValueError(f"the prompt {what}; it may use {', '.join(f'{{{name}}}' for name in SLOTS)}")

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for all of the prompt's words."""
        return key_of([self.text, self.domains])

    def render(self, **values: str | int) -> str:
        """The prompt with its slots filled; what a value holds in braces is not filled again.

        Raises:
            ValueError: a slot has no value, the domain is not known, or the prompt has no slot for a description.
        """
        missing = sorted(self.slots - values.keys())
        unplaced = sorted(values.keys() - self.slots - set(_SETTINGS))
        if missing or unplaced:
            what = f"needs {', '.join(missing)}" if missing else f"has no slot {{{unplaced[0]}}} for what it is given"
            raise ValueError(f"the prompt {self.text[:40]!r}... {what}")
        if self.domains is not None and "domain" in self.slots:
            name = values["domain"]
            if name not in self.domains:
                raise ValueError(
                    f"domain={name} is not one of {', '.join(self.domains)}, which the prompt has words for"
                )
            values = {**values, "domain": self.domains[str(name)]}
        return _SLOT.sub(lambda slot: str(values[slot.group(1)]), self.text)


class OneSlotPrompt:
    """A prompt whose `text` has the one slot {`slot`}, which a subclass names.

    Raises:
        ValueError: the text has no such slot.
    """

    slot: ClassVar[str]

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        if f"{{{self.slot}}}" not in self.text:
            raise ValueError(f"the prompt {self.text[:40]!r}... has no slot {{{self.slot}}} for what is to be verified")

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the prompt's words."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def render(self, **values: object) -> str:
        """The prompt with its slot filled; what other prompts are given (domain, max_objects) is not needed."""
        return self.text.replace(f"{{{self.slot}}}", str(values[self.slot]))
