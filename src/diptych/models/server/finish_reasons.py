"""Why a model stopped, in the words of many servers: only that an answer is not whole makes a difference."""

from __future__ import annotations

import re

# OpenAI and most others say `length`; Anthropic `max_tokens`; Gemini MAX_TOKENS; Mistral and others `model_length`.
_CUT = frozenset(
    (
        "length",
        "max_length",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "max_new_tokens",
        "model_length",
        "token_limit",
        "tokens_limit",
        "length_limit",
        "context_length",
        "context_length_exceeded",
        "model_context_window_exceeded",
        "truncated",
        "incomplete",
    )
)
# OpenAI `content_filter`; Anthropic `refusal`; Bedrock `guardrail_intervened`; the rest are Gemini's.
_FILTERED = frozenset(
    (
        "content_filter",
        "content_filtered",
        "filtered",
        "filter",
        "refusal",
        "refused",
        "safety",
        "moderation",
        "moderated",
        "blocked",
        "blocklist",
        "prohibited_content",
        "policy_violation",
        "content_policy_violation",
        "guardrail_intervened",
        "guardrail",
        "recitation",
        "spii",
        "image_safety",
        "image_prohibited_content",
        "image_recitation",
        "language",
        "sensitive",
    )
)
# vLLM `abort` and `error`, when it is paused or a request fails; SGLang `abort`.
_BROKEN_OFF = frozenset(("abort", "aborted", "error", "cancelled", "canceled"))
_PREFIX = re.compile(r"^(?:finish_?reason|stop_?reason)_")  # FINISH_REASON_SAFETY
_BREAK = re.compile(r"(?<=[a-z])(?=[A-Z])|[\s.-]+")


def is_cut(reason: str) -> bool:
    """Whether the answer ends where the limit of tokens was."""
    return _plain(reason) in _CUT


def is_filtered(reason: str) -> bool:
    """Whether the answer was withheld, whole or in part, or the model refused it."""
    return _plain(reason) in _FILTERED


def is_broken_off(reason: str) -> bool:
    """Whether the server ended the answer for a reason of its own: asked again, it may be whole."""
    return _plain(reason) in _BROKEN_OFF


def _plain(reason: str) -> str:
    return _PREFIX.sub("", _BREAK.sub("_", reason.strip()).lower())
