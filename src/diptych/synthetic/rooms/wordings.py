"""A change of a room in wordings that are chosen by number, for studies of what a model's training texts sound like.

The set's own texts take any of their many wordings (`language`). Here every kind of change has fourteen, so that some
can be trained on and others kept for evaluation; nouns, adjectives, the order of clauses and how they are joined are
drawn as there, and are the same for the same random numbers whatever the wordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diptych.synthetic.clauses import NUMBER_WORDS, join_clauses, pick
from diptych.synthetic.rooms.language import (
    GRAMMAR,
    NOUNS,
    PLURAL_NOUNS,
    SINGULARS,
    SIZE_WORDS,
    WHERE,
    describe_item,
    pattern_word,
)
from diptych.synthetic.scenes import Change, Item, Scene

NUM_WORDINGS = 14
_LOOKS = (
    "make the {noun} {new}",
    "change the {noun} from {old} to {new}",
    "replace the {old} {noun} with {a_new}",
    "the {noun} should be {new}",
    "have {a_new_noun} instead",
    "swap the {old} {noun} for {a_new}",
    "the {noun} should be {new} instead of {old}",
    "use {a_new_noun} rather than the {old} {one}",
    "let the {noun} become {new}",
    "the {noun} {is} now {new}, no longer {old}",
    "exchange the {old} {noun} for {a_new_noun}",
    "show {a_new_noun} in place of the {old} {one}",
    "the {noun} change{s} from {old} to {new}",
    "turn the {old} {noun} into {a_new}",
)
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "colour": _LOOKS,
    "pattern": _LOOKS,
    "size": _LOOKS,
    "place": (
        "move the {noun} to the {new}",
        "move the {noun} from the {old} to the {new}",
        "put the {noun} on the {new} side",
        "the {noun} should stand on the {new}",
        "shift the {noun} over to the {new} side of the bed",
        "the {noun} should be on the {new} instead of the {old}",
        "place the {noun} on the {new}",
        "have the {noun} on the {new}, not on the {old}",
        "the {noun} stand{s} on the {new} now, no longer on the {old}",
        "set the {noun} on the {new}",
        "transfer the {noun} to the {new} side",
        "let the {noun} stand to the {new} of the bed",
        "relocate the {noun} from the {old} to the {new}",
        "the {noun} move{s} over to the {new}",
    ),
    "count": (
        "have {new} {counted} {where}",
        "put {new} {counted} {where} instead of {old}",
        "there should be {new} {counted} {where}",
        "change the number of {noun} from {old} to {new}",
        "make it {new} {counted} {where}",
        "use {new} {counted} {where} rather than {old}",
        "{new} {counted} {where}, not {old}",
        "the number of {noun} should be {new}",
        "show {new} {counted} {where} in place of {old}",
        "now with {new} {counted} {where}",
        "let there be {new} {counted} {where}",
        "the number of {noun} goes from {old} to {new}",
        "set {new} {counted} {where}, no longer {old}",
        "choose {new} {counted} {where}",
    ),
    "added": (
        "add {what}",
        "there should be {what}",
        "put in {what}",
        "now with {what}",
        "bring in {what}",
        "include {what}",
        "the room should have {what}",
        "have {what} too",
        "introduce {what}",
        "let there be {what}",
        "the room gains {what}",
        "set up {what}",
        "there {is} {what} now",
        "show {what} as well",
    ),
    "removed": (
        "remove the {noun}",
        "take the {noun} away",
        "there should be no {noun}",
        "get rid of the {noun}",
        "leave out the {noun}",
        "take out the {noun}",
        "without the {noun}",
        "delete the {noun}",
        "do without the {noun}",
        "the {noun} {is} gone",
        "clear the {noun} away",
        "the room no longer has the {noun}",
        "drop the {noun}",
        "there {is} no longer any {noun}",
    ),
}


def _values(change: Change, rng: np.random.Generator) -> tuple[str, str]:
    """Words for what it was and what it becomes."""
    old, new = str(change.before), str(change.after)
    if change.attribute == "pattern":
        return pattern_word(old, rng), pattern_word(new, rng)
    if change.attribute == "size":
        return pick(rng, SIZE_WORDS[old]), pick(rng, SIZE_WORDS[new])
    return old, new


def _kind_and_words(change: Change, before: Scene, rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """The key of `TEMPLATES` and the words that its wordings are filled with."""
    if isinstance(change.after, Item):
        plural = (change.after.count or 0) > 1
        return "added", {"what": describe_item(change.object, change.after, rng), "is": "are" if plural else "is"}
    noun, item = pick(rng, NOUNS[change.object]), before.item(change.object)
    if isinstance(change.before, int) and isinstance(change.after, int):
        counted = SINGULARS[noun] if change.after == 1 else noun
        old, new = NUMBER_WORDS[change.before], NUMBER_WORDS[change.after]
        return "count", {"noun": noun, "counted": counted, "where": WHERE[change.object], "old": old, "new": new}
    if item is not None and item.count == 1:
        noun = SINGULARS[noun]
    plural = noun in PLURAL_NOUNS
    words = {"noun": noun, "is": "are" if plural else "is", "s": "" if plural else "s"}
    if change.attribute == "presence":
        return "removed", words
    return change.attribute, words | GRAMMAR.swap_words(noun, *_values(change, rng))


def clause_in(wordings: Sequence[int], change: Change, before: Scene, rng: np.random.Generator) -> str:
    """One clause, without capital or full stop, that says the change and nothing else, in one of the `wordings`, which
    are numbers from 1 to `NUM_WORDINGS`.
    """
    kind, words = _kind_and_words(change, before, rng)
    number = wordings[int(rng.random() * len(wordings))]  # one draw, however many there are
    return TEMPLATES[kind][number - 1].format(**words)


def describe_in(wordings: Sequence[int], changes: Sequence[Change], before: Scene, rng: np.random.Generator) -> str:
    """As `language.describe_changes`, each clause in one of the `wordings`, drawn evenly."""
    order = rng.permutation(len(changes)).tolist()
    return join_clauses([clause_in(wordings, changes[index], before, rng) for index in order], rng)
