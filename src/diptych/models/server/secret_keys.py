"""Keeps the key out of everything that a server says, whatever form it gives it."""

from __future__ import annotations

import base64
import re
from functools import lru_cache

_MASK = "***"
_SHORTEST, _SHORTEST_WORD = 8, 4  # characters: of a key that is looked for in all forms; of one that is hidden at all
# What is set where a server wants no key: no secrets, and words of many an answer.
_PLACEHOLDERS = """
    api-key api_key apikey change-me changeme default dummy empty fake free key-not-needed lm-studio llama llama.cpp
    lmstudio local localhost mock needed no-key no-key-required no-key-needed nokey none not-needed not-required
    not-used notneeded null ollama open openai placeholder public secret sglang test test-key testing token unused vllm
    your-api-key your-key
"""
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")
_SHORTEST_PIECE = 12
_LONGEST_SEARCHED = 2**16  # characters; a longer text that holds the key is not kept at all
# What may stand between the characters of a key without hiding it: blanks, joiners, quotes and marks of line ends.
_BETWEEN = r"(?:[\s\u200b-\u200d\u2060\ufeff\u00ad\ufffd\"'`+|*_]|\\[nrt]|%0[ad]|%20){0,4}?"
_ESCAPE = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|&#x0*([0-9a-f]{2});|&#0*([0-9]{2,3});", re.IGNORECASE
)
_NO_WORD = re.compile(r"[^0-9a-z]+")


def redacted(text: str, key: str) -> str:
    """The text with `***` for the key: as it is, in escapes (percent, JSON, HTML), as base64 or hexadecimal digits,
    backwards, with blanks or quotes between its characters, and half of it alone. A key of 4 to 7 characters is
    hidden where it is a word of its own, as it is or in escapes. Shorter ones, and words such as "none" or "ollama",
    are taken for placeholders.
    """
    if len(key) < _SHORTEST_WORD or key.casefold() in _PLACEHOLDERS.split():
        return text
    if len(key) < _SHORTEST:
        return _word(key).sub(_MASK, text)
    plain = _letters(_ESCAPE.sub(_unescaped, text))
    if not any(_letters(form) in plain for form in _forms(key)):
        return text
    masked, number = _pattern(key).subn(_MASK, text) if len(text) <= _LONGEST_SEARCHED else ("", 0)
    return masked if number else _MASK  # too long to be searched, or written in a way that is not known


def without_logins(text: str) -> str:
    """The text with `***` for names and passwords in addresses, such as that of a proxy."""
    return _LOGIN.sub(f"{_MASK}@", text)


@lru_cache(maxsize=8)
def _word(key: str) -> re.Pattern[str]:
    begins = r"(?:(?<![^\W_])|(?<=%[0-9a-fA-F]{2})|(?<=\\[nrt])|(?<=\\u[0-9a-fA-F]{4}))"  # escapes are no letters
    return re.compile(rf"{begins}{''.join(map(_character, key))}(?![^\W_])")


@lru_cache(maxsize=8)
def _forms(key: str) -> tuple[str, ...]:
    """The key as it may be written, whole forms first."""
    data = key.encode()
    # Three bytes are four characters: behind other text, such as "Bearer ", they begin at one of three places.
    shifted = [base64.b64encode(b"\0" * shift + data)[start:].decode() for shift, start in ((0, 0), (1, 2), (2, 3))]
    coded = [form.rstrip("=")[:-1] if form.endswith("=") else form for form in shifted]  # the last sign is not its own
    forms = [key, key[::-1], data.hex(), *coded, *(form.replace("+", "-").replace("/", "_") for form in coded)]
    half, quarter = len(key) // 2, len(key) // 4
    if half >= _SHORTEST_PIECE:
        forms += [key[:half], key[half:], key[quarter : quarter + half]]
    return tuple(dict.fromkeys(form for form in forms if len(form) >= _SHORTEST and _letters(form)))


@lru_cache(maxsize=8)
def _pattern(key: str) -> re.Pattern[str]:
    return re.compile("|".join(_BETWEEN.join(map(_character, form)) for form in _forms(key)), re.IGNORECASE)


def _character(sign: str) -> str:
    code = f"{ord(sign):02x}"
    return rf"(?:{re.escape(sign)}|%(?:25)*{code}|\\+u00{code}|\\+x{code}|&#x0*{code};|&#0*{ord(sign)};)"


def _unescaped(match: re.Match[str]) -> str:
    *hexadecimal, decimal = match.groups()
    number = int(decimal) if decimal else int(next(filter(None, hexadecimal)), 16)
    return chr(number)


def _letters(text: str) -> str:
    """Letters and digits alone, to see quickly whether a form may be there."""
    return _NO_WORD.sub("", text.lower())
