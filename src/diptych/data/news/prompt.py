"""The prompt: what the fuser reads about one photo, as one message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from diptych.contracts.news import Evidence, KeyFacts

# How the facts are called, and how many of each stand in the prompt (published: 3 people, 3 organisations, 3 places,
# 2 events, 3 dates, 3 figures).
FACT_LINES = {
    "people": ("People", 3),
    "organisations": ("Organisations", 3),
    "places": ("Places", 3),
    "events": ("Events", 2),
    "dates": ("Dates", 3),
    "numbers": ("Figures", 3),
}
NO_ARTICLE = "No article was found for this photo."


class PromptTemplate:
    """Puts base caption, article and instructions into one message, in a fixed order.

    `opening` says the task, `visual` and `context` head the description of the photo and the article; `instructions`
    are numbered in their order, those that are null are left out, `{words}` in them becomes `words`, the length asked
    for unless a photo has one of its own. `example` is a worked one, or null. `cue` ends the message. Lines with
    nothing to say are left out.
    """

    def __init__(
        self,
        opening: str,
        visual: str,
        context: str,
        words: str | int,
        instructions: Mapping[str, str | None],
        example: str | None,
        cue: str,
    ) -> None:
        self.opening, self.visual, self.context = opening, visual, context
        self.words, self.example, self.cue = str(words), example, cue
        self._instructions = [text for text in instructions.values() if text is not None]
        self.instructions = [text.replace("{words}", self.words) for text in self._instructions]

    def message(self, base_caption: str, evidence: Evidence, words: int | None = None) -> str:
        """The user message for one photo; the base caption and any part of the evidence may be empty. `words` is the
        photo's own length.
        """
        asked = self.words if words is None else str(words)
        instructions = [text.replace("{words}", asked) for text in self._instructions]
        parts = [self.opening]
        if base_caption.strip():
            parts.append(f"{self.visual} {_one_line(base_caption)}")
        parts.append("\n".join([self.context, *_context_lines(evidence)]))
        parts.append("\n".join(f"{number}. {text}" for number, text in enumerate(instructions, start=1)))
        if len(instructions) == 1:
            parts[-1] = instructions[0]
        if self.example is not None:
            parts.append(self.example.strip())
        parts.append(self.cue)
        return "\n\n".join(part for part in parts if part)


def evidence_text(evidence: Evidence) -> str:
    """All that a prompt says of the article: what a caption may claim."""
    return "\n".join(_context_lines(evidence)) if evidence.article_id is not None else ""


def readable_date(date: str) -> str:
    """An ISO 8601 date as `27 February 2022`; anything else as it is."""
    try:
        moment = datetime.fromisoformat(date.replace("Z", "+00:00"))
    except ValueError:
        return date
    return f"{moment.day} {moment:%B %Y}"


def _context_lines(evidence: Evidence) -> list[str]:
    if evidence.article_id is None:
        return [NO_ARTICLE]
    lines = [f"Topic: {evidence.topic.title()}"] if evidence.topic else []
    if evidence.title.strip():
        lines.append(f"Title: {_one_line(evidence.title)}")
    if evidence.date:
        lines.append(f"Published: {readable_date(evidence.date)}")
    lines += _fact_lines(evidence.facts)
    if evidence.text.strip():
        lines.append(f"Text: {_one_line(evidence.text)}")
    return lines or [NO_ARTICLE]


def _fact_lines(facts: KeyFacts) -> list[str]:
    lines = []
    for kind, (label, limit) in FACT_LINES.items():
        values = getattr(facts, kind)[:limit]
        if values:
            lines.append(f"{label}: {', '.join(values)}")
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())
