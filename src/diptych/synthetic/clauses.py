"""Parts of English that the worlds' descriptions of change share: articles, wordings, and how clauses are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECOLOUR = (
    "make the {noun} {new}",
    "turn the {noun} {new}",
    "change the {noun} to {new}",
    "change the {noun} from {old} to {new}",
    "the {noun} should be {new}",
    "the {noun} should be {new} instead of {old}",
    "swap the {old} {noun} for {a_new}",
    "replace the {old} {noun} with {a_new}",
    "use {a_new_noun} rather than the {old} {one}",
    "have {a_new_noun} instead",
)
REPATTERN = (
    "make the {noun} {new}",
    "change the {noun} from {old} to {new}",
    "the {noun} should be {new} instead of {old}",
    "swap the {old} {noun} for {a_new}",
    "replace the {old} {noun} with {a_new}",
    "have {a_new_noun} instead",
)
REMOVE = (
    "remove the {noun}",
    "take the {noun} away",
    "take away the {noun}",
    "get rid of the {noun}",
    "there should be no {noun}",
    "leave out the {noun}",
)
PATTERN_WORDS = {
    "plain": ("plain",),
    "striped": ("striped",),
    "checked": ("checked", "chequered"),
    "dotted": ("dotted", "spotted"),
}
_JOINTS = {2: (" and ", ", and ", "; ", ". ", ", then "), 3: (", ", "; ", ". ")}


class Grammar(NamedTuple):
    """Which of a world's nouns take no article: `blue curtains`, `blue wallpaper`."""

    plural: frozenset[str]
    uncountable: frozenset[str]

    def with_article(self, adjective: str, noun: str) -> str:
        """`a blue rug`, but `blue curtains`."""
        phrase = f"{adjective} {noun}"
        return phrase if noun in self.plural or noun in self.uncountable else article(phrase)

    def swap_words(self, noun: str, old: str, new: str) -> dict[str, str]:
        """What the wordings that exchange one adjective for another need."""
        if noun in self.uncountable:
            a_new, one = f"{new} {noun}", noun
        elif noun in self.plural:
            a_new, one = f"{new} ones", "ones"
        else:
            a_new, one = f"{article(new)} one", "one"
        a_new_noun = self.with_article(new, noun)
        return {"noun": noun, "old": old, "new": new, "a_new": a_new, "one": one, "a_new_noun": a_new_noun}


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def article(phrase: str) -> str:
    """The phrase behind `a` or `an`."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def join_clauses(clauses: Sequence[str], rng: np.random.Generator) -> str:
    """One text of the clauses, as one sentence or several, with capitals and full stops or without."""
    if len(clauses) == 1:
        text = clauses[0]
    else:
        joint = pick(rng, _JOINTS[min(len(clauses), 3)])
        last = joint if len(clauses) == 2 or joint == ". " else f"{joint}and "
        text = joint.join(clauses[:-1]) + last + clauses[-1]
    capital = rng.random() < 0.5
    sentences = [text] if ". " not in text else text.split(". ")
    if capital or len(sentences) > 1:
        return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."
    return text
