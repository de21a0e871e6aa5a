"""Two sentences that cannot stand in one text: they contradict each other, or say the same.

Read by rules for short English instructions, which is what the prompts ask for. What the rules cannot read counts as
compatible: they are made to be right where they speak, not to find everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain

from diptych.text.change_words import ADD_VERBS, CHANGE_VERBS, COLOURS, REMOVE_VERBS, REPLACE_VERBS

CONTRADICTION, REPETITION = "contradiction", "repetition"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SAME_WORDS = 0.8  # share of the words of both (Jaccard) from which two sentences say the same

_ADD = frozenset(ADD_VERBS) | _words("insert")
_REMOVE = frozenset(REMOVE_VERBS)
_CHANGE = frozenset(CHANGE_VERBS) | _words("widen narrow lengthen shorten brighten darken raise lower reposition")
_VERBS = _ADD | _REMOVE | _CHANGE | frozenset(REPLACE_VERBS)
_LINKS = _words("should is are be becomes become must")
_STOPS = _words(
    "to with from into in on at beside near next above below under over behind along across against so by for instead"
    " rather that which while featuring between around of"
)
_TOWARDS = _words("to with into from for in by so instead rather")
_GONE = _REMOVE | _words("removed gone deleted absent")
_FILLERS = _words("the a an some its their all more new now also then and please there")
_COLOURS = frozenset(chain(*COLOURS.values())) | _words(
    "silver gold maroon rose magenta peach coral cream mint turquoise cyan"
)
_OPPOSITES = (
    ("larger bigger large big taller enlarge", "smaller small tiny shrink"),
    ("taller higher tall high raise", "shorter lower short low"),
    ("longer long lengthen", "shorter short shorten"),
    ("wider wide broader widen", "narrower narrow slimmer"),
    ("darker dark dimmer dim darken", "lighter light brighter bright brighten"),
    ("thicker thick", "thinner thin"),
    ("open opened", "closed shut drawn"),
    ("left", "right"),
    ("plain solid", "striped checked chequered dotted floral patterned"),
    ("matte", "glossy shiny"),
    ("rough textured", "smooth"),
    ("round rounded", "square rectangular angular"),
)
_SIDES = tuple((_words(one), _words(other)) for one, other in _OPPOSITES)
_COUNTS = _words("one two three four five six seven eight nine ten")
_VALUES = _COLOURS.union(*(one | other for one, other in _SIDES))
_WORD = re.compile(r"[a-z0-9][a-z0-9'’-]*")


@dataclass(frozen=True)
class _Reading:
    """`verb` is add, remove or change; `kind` the last word of the object, `marks` the words before it; `result` the
    values that it is to have.
    """

    verb: str
    kind: str
    marks: frozenset[str]
    result: frozenset[str]


def conflict(first: str, second: str) -> str | None:
    """`contradiction`, `repetition`, or None for sentences that can follow each other, in either order.

    Contradictions are two changes of one object to opposing values, and the removal of an object that the other
    sentence adds or changes. `Remove the red lamp` and `Add a blue lamp` are about two objects, and stand together.
    """
    words = [frozenset(_WORD.findall(text.lower())) - _FILLERS for text in (first, second)]
    one, other = _read(first), _read(second)
    if one and other and _opposed(one, other):
        return CONTRADICTION
    if len(words[0] & words[1]) >= _SAME_WORDS * len(words[0] | words[1]):
        # one word can be all the difference: the left lamp and the right lamp, blue and green curtains
        return None if (words[0] ^ words[1]) & _VALUES or _numbers(words[0]) != _numbers(words[1]) else REPETITION
    return REPETITION if one and one == other and one.result else None


def _opposed(one: _Reading, other: _Reading) -> bool:
    if one.kind != other.kind or not (one.marks <= other.marks or other.marks <= one.marks):
        return False
    if "remove" in (one.verb, other.verb):
        return one.verb != other.verb
    colours = one.result & _COLOURS, other.result & _COLOURS
    if all(colours) and colours[0].isdisjoint(colours[1]):
        return True
    pairs = ((one.result, other.result), (other.result, one.result))
    return any(a & side and b & against and not (a & against or b & side) for a, b in pairs for side, against in _SIDES)


def _read(sentence: str) -> _Reading | None:
    words = [word for word in _WORD.findall(sentence.lower()) if word not in _FILLERS]
    if words and words[0] in _VERBS:
        verb = words[0]
        phrase, result = _until_stop(words[1:])
        place, result = _place(result)
        if "from" in result and "to" in result[result.index("from") :]:  # from the old value to the new one
            result = result[result.index("to", result.index("from")) :]
    else:
        link = next((number for number, word in enumerate(words) if word in _LINKS), 0)
        phrase, place = _until_stop(words[:link])
        verb, result = "change", words[link + 1 :]
        if _GONE.intersection(result):
            verb = "remove"
    result = _until_old_value(result)
    while verb in _CHANGE and len(phrase) > 1 and phrase[-1] in _VALUES:  # `make the curtains blue`
        result = [*result, phrase.pop()]
    if not phrase:
        return None
    kind, marks = phrase[-1].removesuffix("s"), frozenset([*phrase[:-1], *place]) - _STOPS
    if verb in _ADD:
        return _Reading("add", kind, marks, frozenset(phrase) & _VALUES)
    if verb in _REMOVE:
        return _Reading("remove", kind, marks | frozenset(result) - _STOPS, frozenset())
    # Some verbs are values themselves: `shorten the curtains`.
    return _Reading("change", kind, marks, frozenset([*result, words[0]]) & _VALUES)


def _until_old_value(result: list[str]) -> list[str]:
    """Without what stands behind `instead of` and `rather than`."""
    end = next((number for number, word in enumerate(result) if word in ("instead", "rather")), len(result))
    return result[:end]


def _until_stop(words: list[str]) -> tuple[list[str], list[str]]:
    stop = next((number for number, word in enumerate(words) if word in _STOPS), len(words))
    return words[:stop], words[stop:]


def _place(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands behind an object, split into where it is and what it is to become."""
    if not words or words[0] in _TOWARDS:
        return [], words
    end = next((number for number, word in enumerate(words) if word in _TOWARDS), 2)
    return words[:end], words[end:]


def _numbers(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if word in _COUNTS or word.isdigit())
