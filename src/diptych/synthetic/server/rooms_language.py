"""Rooms in words and back: descriptors of objects, sentences about changes, and what such words say."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from diptych.synthetic.clauses import NUMBER_WORDS, PATTERN_WORDS
from diptych.synthetic.rooms.change_reading import FEWER, MORE, OTHER, Claim, read_claims
from diptych.synthetic.rooms.language import NOUNS, PLURAL_NOUNS, SINGULARS, SIZE_WORDS, UNCOUNTABLE_NOUNS, WHERE
from diptych.synthetic.rooms.scene import KINDS
from diptych.synthetic.scenes import ATTRIBUTES, Change, Item
from diptych.synthetic.untruths import another_value, of_unchanged, other_values, sample_item

Items = Mapping[str, Item]

_COLOURS = tuple(dict.fromkeys(colour for kind in KINDS.values() for colour in kind.colours))

_KIND_OF = {noun: kind for kind, nouns in NOUNS.items() for noun in (kind, *nouns)}
_KIND_OF |= {SINGULARS[noun]: _KIND_OF[noun] for noun in SINGULARS} | {"wall": "walls", "curtain": "curtains"}
# "floor lamp" before "floor"; pictures hang on the wall and pillows lie on the bed, which says nothing about these.
_NOUN = re.compile(r"\b(?:on the (?:wall|bed)\b|(" + "|".join(sorted(_KIND_OF, key=len, reverse=True)) + r")\b)")
_VALUE_OF: dict[str, tuple[str, Any]] = {colour: ("colour", colour) for colour in _COLOURS}
_VALUE_OF |= {word: ("pattern", pattern) for pattern, words in PATTERN_WORDS.items() for word in words}
_VALUE_OF |= {word: ("size", size) for size, words in SIZE_WORDS.items() for word in words}
_VALUE_OF |= {side: ("place", side) for side in ("left", "right")}
_VALUE_OF |= {NUMBER_WORDS[count]: ("count", count) for count in (1, 2, 3)}
_WORD = re.compile(r"[a-z]+")

_DESCRIPTORS = {
    "colour": ("{value}", "{value} in colour", "coloured {value}", "of a {value} shade"),
    "pattern": ("{value}", "{value} all over", "with a {value} surface"),
    "place": ("on the {value}", "standing to the {value} of the bed", "in the {value} half of the room"),
    "size": ("{value}", "of {value} size"),
    "count": ("{value} in number", "{value} of them", "exactly {value}"),
}
_OWN = re.compile(
    "|".join(
        template.format(value=f"(?:{'|'.join(word for word, value in _VALUE_OF.items() if value[0] == name)})")
        for name, templates in _DESCRIPTORS.items()
        for template in templates
    )
)
_SENTENCES: Mapping[str, tuple[str, ...]] = {
    "colour": (
        "Recolour the {noun} from {old} to {new}.",
        "The {noun} {are} now {new} instead of {old}.",
        "Let {a_new_noun} take the place of the {old_one}.",
        "Choose {a_new_noun}, not {a_old_one}.",
        "Give the {noun} a {new} colour.",
    ),
    "pattern": (
        "Switch the {noun} from {old} to {new}.",
        "The {noun} {are} {new} now, no longer {old}.",
        "Let {a_new_noun} take the place of the {old_one}.",
        "Choose {a_new_noun}, not {a_old_one}.",
    ),
    "place": (
        "Shift the {noun} from the {old} to the {new}.",
        "The {noun} now {stand} on the {new} rather than on the {old}.",
        "Find the {noun} a spot to the {new} of the bed.",
        "Carry the {noun} over to the {new} side of the room.",
    ),
    "size": (
        "Exchange the {old} {noun} for {a_new_one}.",
        "The {noun} {are} {new} now, no longer {old}.",
        "Let {a_new_noun} take the place of the {old_one}.",
        "Choose {a_new_noun}, not {a_old_one}.",
    ),
    "count": (
        "Show {new} {counted} {where}, not {old}.",
        "There {are_new} now {new} {counted} {where} instead of {old}.",
        "Go from {old} to {new} {plural} {where}.",
        "Arrange {new} {counted} {where}.",
    ),
    "added": (
        "Include {what}.",
        "Complete the room with {what}.",
        "The room gains {what}.",
        "Where there was none, show {what}.",
    ),
    "removed": (
        "Do without the {noun}.",
        "The {noun} {are} gone.",
        "Clear the {noun} away.",
        "The room no longer has the {noun}.",
    ),
}
_REMOVAL = re.compile(r"\b(without|gone|away|no longer ha[sd]|remove[sd]?|no more|rid of|leave out|take out)\b")


# -------------------------------------------------------------------------------------------------- to words


def describe_item(kind: str, item: Item, rng: random.Random) -> dict[str, Any]:
    """`{"name", "descriptors"}` of an object: a descriptor for each attribute."""
    descriptors = [
        rng.choice(_DESCRIPTORS[name]).format(value=_word(name, value, rng)) for name, value in item.to_json().items()
    ]
    return {"name": rng.choice(NOUNS[kind]), "descriptors": descriptors}


def say_change(change: Change, item: Item | None, rng: random.Random, turn: int = 0) -> str:
    """One sentence about a change. `item` is the object before it; another `turn` takes another wording."""
    noun = rng.choice(NOUNS[change.object])
    attribute = change.attribute
    if attribute == "presence":
        attribute = "removed" if change.after is None else "added"
    template = _SENTENCES[attribute][turn % len(_SENTENCES[attribute])]
    if isinstance(change.after, Item):  # it is added
        return template.format(what=_whole(change.object, noun, change.after, rng))
    if item is not None and item.count == 1 and attribute != "count":
        noun = SINGULARS[noun]
    words = {
        "noun": noun,
        "are": "are" if noun in PLURAL_NOUNS else "is",
        "stand": "stand" if noun in PLURAL_NOUNS else "stands",
    }
    if attribute == "removed":
        return template.format(**words)
    old, new = (_word(attribute, value, rng) for value in (change.before, change.after))
    words |= {"old": old, "new": new, "where": WHERE.get(change.object, ""), "plural": noun}
    words |= {"a_new_noun": _with_article(new, noun), "a_new_one": _one(new, noun), "a_old_one": _one(old, noun)}
    words |= {"old_one": f"{old} {_pronoun(noun)}"}
    words |= {"counted": SINGULARS.get(noun, noun) if change.after == 1 else noun}
    return template.format(are_new="is" if change.after == 1 else "are", **words)


def _word(attribute: str, value: Any, rng: random.Random) -> str:
    if attribute == "count":
        return NUMBER_WORDS[value]
    return rng.choice({"pattern": PATTERN_WORDS, "size": SIZE_WORDS}.get(attribute, {}).get(value, (value,)))


def _with_article(adjective: str, noun: str) -> str:
    if noun in PLURAL_NOUNS or noun in UNCOUNTABLE_NOUNS:
        return f"{adjective} {noun}"
    return f"a {adjective} {noun}"  # no adjective here begins with a vowel


def _pronoun(noun: str) -> str:
    return noun if noun in UNCOUNTABLE_NOUNS else "ones" if noun in PLURAL_NOUNS else "one"


def _one(adjective: str, noun: str) -> str:
    return _with_article(adjective, noun).removesuffix(noun) + _pronoun(noun)


def _whole(kind: str, noun: str, item: Item, rng: random.Random) -> str:
    adjectives = " ".join(
        _word(name, value, rng) for name in ("size", "pattern", "colour") if (value := getattr(item, name))
    )
    if item.count:
        counted = SINGULARS[noun] if item.count == 1 else noun
        return f"{NUMBER_WORDS[item.count]} {adjectives} {counted} {WHERE[kind]}"
    return _with_article(adjectives, noun) + (f" on the {item.place}" if item.place else "")


# ------------------------------------------------------------------------------------------------ from words


def kind_of(name: str) -> str | None:
    """The kind that an object's name stands for."""
    return _KIND_OF.get(name.lower()) or next(iter(kinds_in(name)), None)


def kinds_in(text: str) -> list[str]:
    """The kinds that a text names, in its order, each once."""
    return list(dict.fromkeys(_KIND_OF[noun] for noun in _NOUN.findall(text.lower()) if noun))


def values_in(text: str) -> dict[str, list[Any]]:
    """The values that a text names, by attribute."""
    values: dict[str, list[Any]] = {}
    for word in _WORD.findall(text.lower()):
        if word in _VALUE_OF:
            attribute, value = _VALUE_OF[word]
            values.setdefault(attribute, []).append(value)
    return values


def is_own(objects: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list of objects is in words of `describe_item`."""
    descriptors = [descriptor for described in objects for descriptor in described["descriptors"]]
    return all(isinstance(descriptor, str) and _OWN.fullmatch(descriptor) for descriptor in descriptors)


def read_items(objects: Sequence[Mapping[str, Any]]) -> dict[str, Item]:
    """A list of objects as states by kind; what is no object of a room is left out, of several the first counts."""
    items: dict[str, Item] = {}
    for described in objects:
        kind = kind_of(str(described.get("name", "")))
        if kind is not None and kind not in items:
            values = values_in("; ".join(map(str, described.get("descriptors", ()))))
            items[kind] = Item(
                **{name: found[0] for name, found in values.items() if found[0] in KINDS[kind].values(name)}
            )
    return items


# --------------------------------------------------------------------------------------------------- changes


def changes_between(before: Items, after: Items) -> list[Change]:
    """What differs between two sets of objects, in the order of `KINDS`; an attribute unknown on one side does not."""
    changes = []
    for kind in KINDS:
        old, new = before.get(kind), after.get(kind)
        if old is None or new is None:
            if old is not new:
                changes.append(Change(kind, "presence", old, new))
            continue
        for name in ATTRIBUTES:
            one, other = getattr(old, name), getattr(new, name)
            if one is not None and other is not None and one != other:
                changes.append(Change(kind, name, one, other))
    return changes


def untrue_change(change: Change, before: Items, after: Items, rng: random.Random) -> Change:
    """A change that did not happen: this one with another outcome, one of an object that stayed as it is, or an object
    that is in neither room.
    """
    told = [another_value(KINDS, change, before, after, rng), of_unchanged(KINDS, "colour", before, after, rng)]
    options = [option for option in told if option is not None]
    absent = [kind for kind in ("rug", "lamp", "chair") if kind not in before and kind not in after]
    if absent or not options:
        kind = rng.choice(absent or ["rug"])
        colours = tuple(items[kind].colour for items in (before, after) if kind in items)
        options.append(Change(kind, "presence", None, sample_item(KINDS[kind], rng, colours)))
    return rng.choice(options)


def misdescribed(kind: str, item: Item, rng: random.Random) -> Item:
    """The object with one attribute wrong."""
    name = rng.choice(list(item.to_json()))
    return replace(item, **{name: rng.choice(other_values(KINDS[kind], name, (getattr(item, name),)))})


def is_true(sentence: str, before: Items, after: Items) -> bool:
    """Whether a sentence about changes holds: each object that it names changed, and no value in it is another's."""
    kinds, values = kinds_in(sentence), values_in(sentence)
    removal = _REMOVAL.search(sentence.lower()) is not None
    for kind in kinds:
        changes = changes_between(
            {kind: before[kind]} if kind in before else {}, {kind: after[kind]} if kind in after else {}
        )
        states = [items[kind] for items in (before, after) if kind in items]
        if not changes or removal != (kind not in after):
            return False
        for name, found in values.items():
            known = {getattr(state, name) for state in states}
            if KINDS[kind].values(name) and not known.issuperset(found):
                return False
        if changes[0].attribute != "presence" and not any(c.after in values.get(c.attribute, ()) for c in changes):
            return False
    return bool(kinds)


def is_result(text: str, before: Items, after: Items) -> bool:
    """Whether a room is what another becomes by a text: of the objects that the text names each has changed once, as
    far as it says how, and nothing else has.
    """
    found, claims = changes_between(before, after), read_claims(text)
    changes = {change.object: change for change in found}
    return (
        bool(claims)
        and len(found) == len(changes)
        and changes.keys() == {claim.object for claim in claims}
        and all(_tells(claim, changes[claim.object]) for claim in claims)
    )


def _tells(claim: Claim, change: Change) -> bool:
    """Whether what the claim says of the object afterwards is so; `more` and `the other side` are taken for true."""
    if change.attribute == "presence":
        if change.after is None:
            return claim.verb == "remove"
        known = change.after.to_json() if isinstance(change.after, Item) else {}
    else:
        known = {change.attribute: change.after}
    return all(known.get(name, value) == value or value in (MORE, FEWER, OTHER) for name, value in claim.after.items())
