"""Where a sentence speaks of the pictures themselves, which a training text must not: `the lamp in image 2`."""

from __future__ import annotations

import re

_MENTION = re.compile(
    r"\b(?:image|photo(?:graph)?|picture)s?\s*(?:#\s*)?(?:\d+\b|one\b|two\b|(?-i:[AB])\b)"
    r"|\b(?:first|second|reference|target|original|source|query|retrieved|previous|earlier|later|other|both|two|these|"
    r"this|input|given)\s+images?\b"
    r"|\b(?:reference|target|source|query|retrieved|input)\s+(?:photo(?:graph)?|picture)s?\b"
    r"|\bthe\s+images?\b"
    # A picture can also hang on the wall of the room, so it counts only where it is what something is looked up in.
    r"|\b(?:in|from|than|compared (?:to|with))\s+the\s+(?:first|second|other|original|previous)\s+"
    r"(?:photo(?:graph)?|picture|one)s?\b",
    re.IGNORECASE,
)


def image_mention(text: str) -> str | None:
    """The words that speak of one of the two pictures, or None. `Add a second picture above the bed` does not."""
    found = _MENTION.search(text)
    return found.group() if found else None
