"""What a chat completion says, read from its JSON: the answer of a server to one request, or a line of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Completion = tuple[str, str, dict[str, int]]  # text, finish reason, token counts


def read_completion(body: Any) -> Completion | None:
    """Text, finish reason and token counts of a completion, which some servers leave parts of out; None where it holds
    no message. A refusal that stands apart from the text is given as text, with the finish reason `refusal`.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        return None
    content, refusal = message.get("content"), message.get("refusal")
    usage, reason = body.get("usage"), choice.get("finish_reason")
    counts = {name: n for name, n in usage.items() if isinstance(n, int)} if isinstance(usage, Mapping) else {}
    if not content and isinstance(refusal, str) and refusal:
        return refusal, "refusal", counts
    return _text(content), reason if isinstance(reason, str) else "", counts


def _text(content: Any) -> str:
    """The text of a message; some servers answer in parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""
