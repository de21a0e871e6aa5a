"""From what a language model has written to the caption in it: without its thoughts, and no longer than wanted."""

from __future__ import annotations

import re
from itertools import islice

HARD_STOP = 1.25  # a caption without a sentence end is cut at this share of the words wanted

_OPENED, _CLOSED = "<think>", "</think>"
_WORD = re.compile(r"\S+")
# A sentence's last word, then blanks, then the first sign of what follows.
_END = re.compile(r"(?P<word>\S*?)[.!?…]+[\"'”’»)\]]*(?=\s+[\"'“‘«(\[]*(?P<next>\S))")
# Where a full stop says that a word is short, not that a sentence ends: titles, initials ("J.", "U.S."), "No. 3".
_ABBREVIATION = re.compile(
    r"[\"'“‘«(\[]*(?:(?:\w\.)*[A-Z]|[ap]\.m|e\.g|i\.e|Mr|Mrs|Ms|Dr|Prof|Rev|St|Gen|Col|Lt|Sgt|Capt|Sen|Rep|Gov|Jr|Sr|Inc"
    r"|Ltd|Corp|Co|No|vs|Jan|Feb|Aug|Sept?|Oct|Nov|Dec)"
)


def remove_thinking(text: str) -> tuple[str, bool]:
    """The answer without `<think>...</think>`, stripped of outer white space, and whether any was removed.

    Thoughts that never end leave nothing of what follows `<think>`. An end without a beginning, which stands in the
    prompt of some chat templates, ends thoughts that began with the text.
    """
    answer, removed = text, False
    while (start := answer.find(_OPENED)) >= 0 or _CLOSED in answer:
        end = answer.find(_CLOSED)
        if 0 <= end < start or start < 0:
            answer = answer[end + len(_CLOSED) :]
        else:
            end = answer.find(_CLOSED, start)
            answer = answer[:start] + (answer[end + len(_CLOSED) :] if end >= 0 else "")
        removed = True
    return answer.strip(), removed


def leaves_thinking_open(prompt: str) -> bool:
    """Whether a prompt ends inside thoughts, so that the answer begins with them."""
    return prompt.rfind(_OPENED) > prompt.rfind(_CLOSED)


def target_end(text: str, target_words: int) -> int | None:
    """Where to cut a text that is still growing (the length of what is kept), or None while it is to grow on.

    That is the first sentence end at or after `target_words` words; it is seen once the next sentence has begun, so
    that "3.5" or "U.S. troops" end none. Without one, it is after `HARD_STOP` times as many words.
    """
    words = [match.end() for match in islice(_WORD.finditer(text), int(HARD_STOP * target_words) + 1)]
    if len(words) <= target_words:  # the last word may still grow
        return None
    hard = words[-2] if len(words) > int(HARD_STOP * target_words) else None
    for match in _END.finditer(text, words[target_words - 2] if target_words > 1 else 0):
        if hard is not None and match.end() >= hard:
            break
        if match.end() >= words[target_words - 1] and _ends_sentence(match):
            return match.end()
    return hard


def _ends_sentence(match: re.Match[str]) -> bool:
    starts = match["next"]
    # U+FFFD stands for a sign of which only some bytes have been written.
    return not starts.islower() and starts != "\ufffd" and not _ABBREVIATION.fullmatch(match["word"])
