"""English word stems as Snowball's stemmer of 2006 to 2018 gives them (Porter, "The English (Porter2) stemming
algorithm", snowballstem.org): the version inside METEOR 1.5. Later versions treat some words in another way, which is
why no package does it here (snowballstemmer on PyPI follows the latest).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_VOWELS = frozenset("aeiouy")
_NO_SHORT_END = _VOWELS | frozenset("wxY")
_STEMS = {
    "skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl", "gently": "gentl",
    "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl",
} | {word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")}  # fmt: skip
_PLURAL_ONLY = frozenset(["inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"])
_REGION = re.compile(r"[^aeiouy]*[aeiouy]+[^aeiouy]")
_FIRST_REGION = re.compile(r"gener|commun|arsen|[^aeiouy]*[aeiouy]+[^aeiouy]")
_DOUBLE = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")
_SECOND = {
    "tional": "tion", "enci": "ence", "anci": "ance", "abli": "able", "entli": "ent", "izer": "ize", "ization": "ize",
    "ational": "ate", "ation": "ate", "ator": "ate", "alism": "al", "aliti": "al", "alli": "al", "fulness": "ful",
    "ousli": "ous", "ousness": "ous", "iveness": "ive", "iviti": "ive", "biliti": "ble", "bli": "ble", "ogi": "og",
    "fulli": "ful", "lessli": "less", "li": "",
}  # fmt: skip
_THIRD = {
    "tional": "tion", "ational": "ate", "alize": "al", "icate": "ic", "iciti": "ic", "ical": "ic", "ful": "",
    "ness": "", "ative": "",
}  # fmt: skip
_FOURTH = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ism", "ate", "iti", "ous", "ive",
    "ize", "ion",
)  # fmt: skip


@lru_cache(maxsize=1 << 17)
def english_stem(word: str) -> str:
    """The stem of a word in lower case; words of one or two letters are their own."""
    if word in _STEMS or len(word) < 3:
        return _STEMS.get(word, word)
    word = re.sub("^y", "Y", word.removeprefix("'"))
    word = re.sub("([aeiouy])y", r"\1Y", word)  # a y that is a consonant
    first, second = _regions(word)
    word = _without_plural(word)
    if word not in _PLURAL_ONLY:
        word = _without_past(word, first)
        if word[-1:] in ("y", "Y") and len(word) > 2 and word[-2] not in _VOWELS:
            word = word[:-1] + "i"
        word = _without_suffix(word, first, second)
    return word.replace("Y", "y")


def _regions(word: str) -> tuple[int, int]:
    """Where R1 and R2 begin: after the first consonant that follows a vowel, and after the next such one in R1."""
    found = _FIRST_REGION.match(word)
    first = found.end() if found else len(word)
    found = _REGION.match(word, first)
    return first, found.end() if found else len(word)


def _longest(word: str, suffixes: Iterable[str]) -> str:
    return max((suffix for suffix in suffixes if word.endswith(suffix)), key=len, default="")


def _without_plural(word: str) -> str:
    word = word.removesuffix(_longest(word, ("'", "'s", "'s'")))
    suffix = _longest(word, ("sses", "ied", "ies", "s", "us", "ss"))
    if suffix == "sses":
        return word[:-2]
    if suffix in ("ied", "ies"):
        return word[:-3] + ("i" if len(word) > 4 else "ie")
    return word[:-1] if suffix == "s" and not _VOWELS.isdisjoint(word[:-2]) else word


def _without_past(word: str, first: int) -> str:
    suffix = _longest(word, ("eed", "eedly", "ed", "edly", "ing", "ingly"))
    left = word.removesuffix(suffix)
    if suffix in ("eed", "eedly"):
        return left + "ee" if len(left) >= first else word
    if not suffix or _VOWELS.isdisjoint(left):
        return word
    if left.endswith(("at", "bl", "iz")):
        return left + "e"
    if left.endswith(_DOUBLE):
        return left[:-1]
    return left + "e" if len(left) == first and _ends_short(left) else left


def _ends_short(word: str) -> bool:
    if len(word) == 2:
        return word[0] in _VOWELS and word[1] not in _VOWELS
    return len(word) > 2 and word[-1] not in _NO_SHORT_END and word[-2] in _VOWELS and word[-3] not in _VOWELS


def _without_suffix(word: str, first: int, second: int) -> str:
    suffix = _longest(word, _SECOND)
    left = word.removesuffix(suffix)
    wanted = {"ogi": "l", "li": "cdeghkmnrt"}.get(suffix)
    if suffix and len(left) >= first and (not wanted or left[-1:] in tuple(wanted)):
        word = left + _SECOND[suffix]
    suffix = _longest(word, _THIRD)
    left = word.removesuffix(suffix)
    if suffix and len(left) >= (second if suffix == "ative" else first):
        word = left + _THIRD[suffix]
    suffix = _longest(word, _FOURTH)
    left = word.removesuffix(suffix)
    if suffix and len(left) >= second and (suffix != "ion" or left.endswith(("s", "t"))):
        word = left
    left = word[:-1]
    if word.endswith("e") and (len(left) >= second or (len(left) >= first and not _ends_short(left))):
        return left
    return left if word.endswith("ll") and len(left) >= second else word
