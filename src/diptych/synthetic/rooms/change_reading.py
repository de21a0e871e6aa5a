"""What a sentence about rooms claims to have changed: objects with what they were and what they are said to become.

Written for the vocabulary of the rooms set, with the synonyms that models use. A clause is a verb and noun phrases;
words such as `from`, `instead of` and `with` say whether an attribute belongs to the time before or after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from diptych.text.change_words import ADD_VERBS, CHANGE_VERBS, COLOURS, REMOVE_VERBS, REPLACE_VERBS

MORE, FEWER, OTHER = "more", "fewer", "other"  # values that only say how: `another pillow`, `on the other side`

_OBJECTS = {
    "walls": "walls wall wallpaper",
    "floor": "floor flooring floorboards carpet carpeting",
    "curtains": "curtains curtain drapes drapery",
    "headboard": "headboard",
    "blanket": "blanket bedspread duvet bedding comforter quilt coverlet bedcover throw",
    "pillows": "pillows pillow cushions cushion",
    "pictures": "pictures picture paintings painting artwork artworks prints",
    "rug": "rug mat",
    "lamp": "lamp",
    "plant": "plant houseplant",
    "chair": "chair armchair",
    "suitcase": "suitcase luggage",
    "bed": "bed",
    "wardrobe": "wardrobe closet cupboard",
    "window": "window windows",
    "view": "view",
    "ceiling": "ceiling",
    "door": "door",
    "table": "table nightstand desk",
    "mirror": "mirror",
    "clock": "clock",
    "television": "television tv",
    "sofa": "sofa couch",
    "vase": "vase",
}
_ATTRIBUTES: dict[tuple[str, str | int], str] = {
    **{("colour", name): " ".join(shades) for name, shades in COLOURS.items()},
    ("colour", "brown"): "brown tan chocolate",  # which is a thing elsewhere
    ("pattern", "plain"): "plain solid unpatterned",
    ("pattern", "striped"): "striped stripes stripy",
    ("pattern", "checked"): "checked chequered checkered plaid tartan",
    ("pattern", "dotted"): "dotted spotted dots spots polka-dot",
    ("pattern", "floral"): "floral flowered",
    ("place", "left"): "left left-hand",
    ("place", "right"): "right right-hand",
    ("place", OTHER): "opposite",
    ("size", "small"): "small little tiny smaller",
    ("size", "large"): "large big tall larger bigger taller huge",
    ("count", 1): "one single 1",
    ("count", 2): "two pair 2",
    ("count", 3): "three 3",
    ("count", 4): "four 4",
    ("count", MORE): "more another extra additional",
    ("count", FEWER): "fewer",
}
_NOUNS = {word: name for name, words in _OBJECTS.items() for word in words.split()}
_VALUES = {word: value for value, words in _ATTRIBUTES.items() for word in words.split()}
_COUNTED = ("pillows", "pictures")
_PHRASES = {
    "potted plant": "plant",
    "floor lamp": "lamp",
    "standing lamp": "lamp",
    "area rug": "rug",
    "bed cover": "bedcover",
    "polka dots": "dotted",
    "polka dot": "dotted",
    "bedside table": "table",
    "other side": "opposite side",
    "wall art": "artwork",
    "in place of": "instead of",
}
_THING = "|".join(sorted(_NOUNS, key=len, reverse=True))
_ADJECTIVE = "|".join(map(re.escape, sorted(_VALUES, key=len, reverse=True)))
_LOCATION = re.compile(
    r"\b(?:on|above|over|under|beneath|beside|near|behind|against|next to|in front of|at|across|around|along|facing"
    r"|(?:(?<=left )|(?<=right )|(?<=side )|(?<=foot )|(?<=head ))of)"
    rf" (?:the |a |an )?(?:(?:{_ADJECTIVE}) )*(?:{_THING})\b"
)
_PROPERTY = re.compile(
    r"\b(?:colou?rs?|patterns?|shade|number|size|positions?|design|look|placement) (?:of|on|for) (?=the |all )"
)
_JOINT = re.compile(r"\s*(?:[.;:]|,? then\b|,? while\b|,? and\b|,? but\b|,)\s*")
_ADD = "|".join((*ADD_VERBS, "put (?:in|up)", "bring in", "hang", "bring", "set up"))
_REMOVE = "|".join((*REMOVE_VERBS, "take", "get rid of", "do (?:away with|without)", "leave out", "drop", "clear"))
_CHANGE = "|".join((*CHANGE_VERBS, *REPLACE_VERBS, "give", "reduce", "increase", "position"))
_STATE = r"have|use|choose|feature|show|with|now with|put|place|stand|set"
_BE = (
    r"should|is|are|has|have|become|becomes|turn|turns|changes?|stands?|appears?|disappears?|moves?|hangs?|lies|lie"
    r"|sits?|shifts?"
)
_PLURAL_SUBJECT = rf"(?:(?:the|all|a|an|now) )?(?:(?:{_ADJECTIVE}) )*(?:{_THING})(?: (?:on|to|of|at) [a-z ]+?)?"
_LEADING = re.compile(r"^(?:(?:and|then|but|also|additionally|finally|please|,)\b,? ?)+")
_HEAD = re.compile(
    rf"(?:now |instead )?(?:(?:{_ADD}|{_REMOVE}|{_CHANGE}|{_STATE})\b|there (?:should|is|are)\b"
    rf"|{_PLURAL_SUBJECT} (?:now )?(?:{_BE})\b)"
)
_ADD_VERB = re.compile(rf"(?:now )?(?:{_ADD})\b")
_REMOVE_VERB = re.compile(
    rf"(?:now )?(?:{_REMOVE})\b|there (?:should be|is|are) no(?: longer)?\b|without\b|(?:the )?room no longer ha[sd]\b"
)
_GONE = re.compile(r"\b(?:gone|missing|removed|taken away|disappears?|absent|no longer (?:there|present|visible|in))\b")
_APPEARS = re.compile(r"\b(?:added|appears?|introduced|placed in)\b")
_FREE_STATE = re.compile(r"(?:now )?(?:have|use|choose|feature|show|with|now with|there )\b|make it\b")
_PUT = re.compile(r"(?:now )?(?:put|place|set|stand|position)\b(?! the\b)")
_CHANGE_VERB = re.compile(rf"(?:now )?(?:{_CHANGE}|put|place|set|stand|position)\b")
_SUBJECT_ONLY = re.compile(rf"(?:(?:the|all|a|an) )?(?:(?:{_ADJECTIVE}) )*({_THING})")
_PRONOUN = re.compile(r"\b(?:it|them)\b")
_POSSESSIVE = re.compile(rf"\b(?:the )?(?:room|{_THING})'s? (?=[a-z])")
_ROOM = re.compile(
    r"^(?:the )?(?:bed)?room (?:should )?(?:now )?(?:has|have|features?|shows?|contains?|gets?|gains?|receives?)\b"
)
_DECORATE = re.compile(rf"^add (?:a |an )?((?:(?:{_ADJECTIVE}) ?)+)(?:pattern |colou?r )?to (?:the )?({_THING})\b")
_GO = re.compile(rf"^go from ({_ADJECTIVE}) to ({_ADJECTIVE}) ({_THING})\b")
_ONTO_FIXED = re.compile(r"\b(?:to|from|off|for|in|by) (?:the|a) (?:bed|window|wardrobe|door|ceiling|walls?|floor)\b")
_REPLACES = re.compile(r"^(.*?) (?:replaces?|takes? the place of) (.*)$")
_NAMED_PLACE = re.compile(r"\b(?:on|above|over|under|beneath|beside|near|behind|by|with|in|at|against|from)\b")
_BEFORE = ("instead", "rather", "from", "not", "longer")
_AFTER = ("to", "into", "with", "for", "by", "now", "in", "but")
_MARKERS = {**dict.fromkeys(_BEFORE, "before"), **dict.fromkeys(_AFTER, "after")}


@dataclass
class Claim:
    """One object that a sentence says has changed.

    `verb` is `add`, `remove`, `change`, or `state`, which says how things are to be (`have a blue rug`) and leaves open
    whether the object was there. `before` and `after` hold the stated attributes: colour, pattern, place, size, count.
    """

    object: str
    verb: str
    before: dict[str, str | int] = field(default_factory=dict)
    after: dict[str, str | int] = field(default_factory=dict)

    def to_json(self) -> dict[str, str | Mapping[str, str | int]]:
        """The four fields."""
        return {"object": self.object, "verb": self.verb, "before": self.before, "after": self.after}


def read_claims(sentence: str) -> list[Claim]:
    """The changes that a sentence claims, in its order; none where it names no object that is known."""
    claims: list[Claim] = []
    subjects: list[str] = []
    for clause in _clauses(_normalised(sentence)):
        if alone := _SUBJECT_ONLY.fullmatch(clause):  # one of several: `the walls and the floor should be blue`
            subjects.append(_NOUNS[alone.group(1)])
            continue
        if claims and not _names_thing(clause):
            clause = _PRONOUN.sub(f"the {claims[-1].object}", clause, count=1)
        found = _read_clause(clause)
        for subject in subjects if found else ():
            claims.append(Claim(subject, found[-1].verb, dict(found[-1].before), dict(found[-1].after)))
        subjects = []
        claims += found
    return claims


def object_named(name: str) -> str | None:
    """The object that a name in a description is of (`framed prints on the wall`: pictures); None where it is none that
    is known.
    """
    thing = _NAMED_PLACE.split(_normalised(name), maxsplit=1)[0]
    named = [_NOUNS[word] for word in thing.split() if word in _NOUNS]
    return named[-1] if named else None


def _normalised(sentence: str) -> str:
    text = " ".join(re.sub(r"[\"“”!?()]", " ", sentence.lower().replace("’", "'")).split())
    for phrase, word in _PHRASES.items():
        text = re.sub(rf"\b{phrase}\b", word, text)
    return _POSSESSIVE.sub("the ", _PROPERTY.sub("", text))


def _clauses(text: str) -> list[str]:
    """The text cut at joints that a new clause, or a new subject, follows."""
    clauses, start, position = [], 0, 0
    while joint := _JOINT.search(text, position):
        position = max(joint.end(), joint.start() + 1)
        if joint.group().strip() in (".", ";", ":") or _HEAD.match(text, joint.end()):
            clauses.append(text[start : joint.start()])
            start = joint.end()
    stripped = [_LEADING.sub("", clause.strip(" ,")) for clause in [*clauses, text[start:]]]
    return [clause for clause in stripped if clause]


def _read_clause(clause: str) -> list[Claim]:
    clause = _GO.sub(r"change the \3 from \1 to \2", clause)
    clause = _DECORATE.sub(r"make the \2 \1", _ROOM.sub("have", clause))
    replaced = _REPLACES.match(clause)
    if replaced and (thing := _names_thing(replaced.group(1))):
        new, old = replaced.groups()
        clause = f"replace {old} with {new}" if _names_thing(old) else f"change the {thing} from {old} to {new}"
    verb, first, after_noun = _verb(clause)
    # A noun after a preposition of place is where something is, not what changes.
    clause = _LOCATION.sub(" ", clause)
    if verb != "change":
        clause = _ONTO_FIXED.sub(" ", clause)
    return _Phrases(verb, first, after_noun).read(clause)


def _names_thing(text: str) -> str | None:
    """The first noun."""
    return next((word for word in text.split() if word in _NOUNS), None)


def _verb(clause: str) -> tuple[str, str, str]:
    """The verb, and to which time attributes belong that stand before the first noun, and after it."""
    if _REMOVE_VERB.match(clause) or _GONE.search(clause):
        return "remove", "before", "before"
    if _ADD_VERB.match(clause) or (_APPEARS.search(clause) and not clause.startswith("the ")):
        return "add", "after", "after"
    if _FREE_STATE.match(clause) or _PUT.match(clause):
        return "state", "after", "after"
    if _CHANGE_VERB.match(clause) or re.match(r"(?:the|all)\b", clause) or re.search(r"\b(?:turned|changed)\b", clause):
        return "change", "before", "after"
    return "state", "after", "after"


class _Phrases:
    """Reads the noun phrases of one clause, word by word."""

    def __init__(self, verb: str, first: str, after_noun: str) -> None:
        self._verb, self._mode, self._after_noun = verb, first, after_noun
        self._claims: dict[str, Claim] = {}
        self._current: Claim | None = None
        self._pending: list[tuple[str, str | int]] = []
        self._marked = False

    def read(self, clause: str) -> list[Claim]:
        words = re.findall(r"[a-z0-9]+(?:-[a-z]+)?", clause)
        for place, word in enumerate(words):
            if word in _NOUNS:
                self._noun(_NOUNS[word], words[place - 1] if place else "")
            elif word in _MARKERS and self._turns(word):
                self._flush()
                self._mode, self._marked = _MARKERS[word], True
            elif word in _VALUES and not _is_pronoun(words, place):
                self._pending.append(_VALUES[word])
        self._flush()
        return self._resolved()

    def _turns(self, word: str) -> bool:
        """Whether a marker changes the time here; `add a rug to the room` and `in the room` do not."""
        if _MARKERS[word] == "after" and self._verb in ("add", "remove", "state"):
            return self._marked and word == "to"
        return self._current is not None or word == "from"

    def _noun(self, name: str, previous: str) -> None:
        if self._current is None or self._current.object != name:
            self._current = self._claims.setdefault(name, Claim(name, self._verb))
            if self._verb == "change" and len(self._claims) > 1 and self._marked:
                self._current.verb = "add" if self._mode == "after" else "remove"
        if previous == "no" and self._verb in ("state", "change"):
            self._current.verb = "remove"
        elif name in _COUNTED and previous in ("a", "an") and self._verb in ("state", "add"):
            self._pending.append(("count", 1))
        self._flush()
        if not self._marked:
            self._mode = self._after_noun

    def _flush(self) -> None:
        if self._current is not None:
            side = self._current.before if self._mode == "before" else self._current.after
            side.update((name, value) for name, value in self._pending if name not in side)
            self._pending = []

    def _resolved(self) -> list[Claim]:
        """`Replace the lamp with a plant` removes one thing and adds another."""
        claims = list(self._claims.values())
        if self._verb == "change" and any(claim.verb == "add" for claim in claims):
            for claim in claims:
                if claim.verb == "change" and not claim.after:
                    claim.verb = "remove"
        elif self._verb == "change" and len(claims) > 1 and not any(c.verb != "change" for c in claims):
            for claim in claims[:-1]:  # `paint the walls and the floor blue`
                claim.after = claim.after or dict(claims[-1].after)
        return claims


def _is_pronoun(words: list[str], place: int) -> bool:
    """Whether `one` stands for a noun: `the red one`, `a blue one`."""
    previous = words[place - 1] if place else ""
    value = _VALUES.get(previous)
    described = previous in ("a", "an", "the", "this", "that") or (value is not None and value[0] != "count")
    return words[place] == "one" and described
