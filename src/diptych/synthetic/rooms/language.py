"""Changes to English: one clause per change, many wordings, nothing said about what stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diptych.synthetic.clauses import (
    NUMBER_WORDS,
    PATTERN_WORDS,
    RECOLOUR,
    REMOVE,
    REPATTERN,
    Grammar,
    join_clauses,
    pick,
)
from diptych.synthetic.rooms.scene import Room
from diptych.synthetic.scenes import Change, Item

NOUNS: Mapping[str, tuple[str, ...]] = {
    "walls": ("walls", "walls", "wallpaper"),
    "floor": ("floor", "flooring"),
    "curtains": ("curtains", "curtains", "drapes"),
    "headboard": ("headboard",),
    "blanket": ("blanket", "bedspread", "duvet"),
    "pillows": ("pillows",),
    "pictures": ("pictures", "paintings"),
    "rug": ("rug", "rug", "mat"),
    "lamp": ("lamp", "floor lamp", "standing lamp"),
    "plant": ("plant", "potted plant"),
    "chair": ("chair", "armchair"),
    "suitcase": ("suitcase",),
}
PLURAL_NOUNS = frozenset({"walls", "curtains", "drapes", "pillows", "pictures", "paintings"})
UNCOUNTABLE_NOUNS = frozenset({"wallpaper", "flooring"})
SINGULARS = {"pillows": "pillow", "pictures": "picture", "paintings": "painting"}
SIZE_WORDS: Mapping[str, tuple[str, ...]] = {"small": ("small", "little"), "large": ("large", "big")}

_PAINT = ("paint the {noun} {new}", "repaint the {old} {noun} in {new}")
_MOVE = (
    "move the {noun} to the {new}",
    "move the {noun} from the {old} to the {new}",
    "put the {noun} on the {new} side",
    "the {noun} should stand on the {new}",
    "the {noun} stands on the {new}, not on the {old}",
    "shift the {noun} over to the {new} side of the bed",
)
_RESIZE = (
    "make the {noun} {new}",
    "swap the {old} {noun} for {a_new}",
    "replace the {old} {noun} with {a_new}",
    "the {noun} should be {new}, not {old}",
)
_RECOUNT = (
    "have {new} {noun} {where}",
    "there should be {new} {noun} {where}",
    "put {new} {noun} {where} instead of {old}",
    "use {new} {noun} {where} rather than {old}",
    "make it {new} {noun} {where}",
    "change the number of {plural} from {old} to {new}",
)
_ADD = ("add {what}", "put in {what}", "bring in {what}", "there should be {what}", "now with {what}")
_HANG = ("add {what}", "hang {what}", "there should be {what}", "put up {what}")
GRAMMAR = Grammar(PLURAL_NOUNS, UNCOUNTABLE_NOUNS)
WHERE = {"pillows": "on the bed", "pictures": "on the wall"}


def pattern_word(pattern: str, rng: np.random.Generator) -> str:
    """A word for a pattern."""
    return pick(rng, PATTERN_WORDS[pattern])


def describe_item(name: str, item: Item, rng: np.random.Generator) -> str:
    """An object that is new in the room, with everything that tells it from another of its kind."""
    noun = pick(rng, NOUNS[name])
    adjectives = [pick(rng, SIZE_WORDS[item.size])] if item.size else []
    if item.pattern:
        adjectives.append(pattern_word(item.pattern, rng))
    adjectives += [item.colour] if item.colour else []
    if item.count == 1:
        phrase = f"one {' '.join(adjectives)} {SINGULARS[noun]}"
    elif item.count:
        phrase = f"{NUMBER_WORDS[item.count]} {' '.join(adjectives)} {noun}"
    else:
        phrase = GRAMMAR.with_article(" ".join(adjectives), noun)
    if item.place:
        phrase += pick(rng, (f" on the {item.place}", f" on the {item.place} side", f" to the {item.place} of the bed"))
    elif name in WHERE:
        phrase += f" {WHERE[name]}"
    return phrase


def _count_clause(change: Change, noun: str, rng: np.random.Generator) -> str:
    assert isinstance(change.before, int) and isinstance(change.after, int)  # as every `count` is
    old, new = change.before, change.after
    counted = SINGULARS[noun] if new == 1 else noun
    words = {"noun": counted, "plural": noun, "old": NUMBER_WORDS[old], "new": NUMBER_WORDS[new]}
    return pick(rng, _RECOUNT).format(where=WHERE[change.object], **words)


def describe_change(change: Change, before: Room, rng: np.random.Generator) -> str:
    """One clause, without capital or full stop, that says the change and nothing else.

    The room before the change only decides between singular and plural.
    """
    noun = pick(rng, NOUNS[change.object])
    item = before.item(change.object)
    if isinstance(change.after, Item):
        templates: tuple[str, ...] = _HANG if change.object == "pictures" else _ADD
        return pick(rng, templates).format(what=describe_item(change.object, change.after, rng))
    if change.attribute == "count":
        return _count_clause(change, noun, rng)
    if item is not None and item.count == 1:
        noun = SINGULARS[noun]
    if change.attribute == "presence":
        return pick(rng, REMOVE).format(noun=noun)
    old, new = str(change.before), str(change.after)
    if change.attribute == "colour":
        templates = RECOLOUR + (_PAINT if noun == "walls" else ())
        return pick(rng, templates).format(**GRAMMAR.swap_words(noun, old, new))
    if change.attribute == "pattern":
        words = GRAMMAR.swap_words(noun, pattern_word(old, rng), pattern_word(new, rng))
        return pick(rng, REPATTERN).format(**words)
    if change.attribute == "size":
        words = GRAMMAR.swap_words(noun, pick(rng, SIZE_WORDS[old]), pick(rng, SIZE_WORDS[new]))
        return pick(rng, _RESIZE).format(**words)
    return pick(rng, _MOVE).format(noun=noun, old=old, new=new)


def describe_changes(changes: Sequence[Change], before: Room, rng: np.random.Generator) -> str:
    """One text of as many clauses as `before` changes, in random order. Raises ValueError when there are none."""
    if not changes:
        raise ValueError("there is no change to describe: the two rooms are equal")
    clauses = [describe_change(changes[index], before, rng) for index in rng.permutation(len(changes)).tolist()]
    return join_clauses(clauses, rng)
