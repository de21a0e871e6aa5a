"""Changes of a stall to English: one clause per change, many wordings, nothing said about what stays as it is.

Colours and patterns change, and things go, in the rooms' wordings; the rest is the market's own.
"""

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
    article,
    join_clauses,
    pick,
)
from diptych.synthetic.market.scene import Stall
from diptych.synthetic.scenes import Change, Item

NOUNS: Mapping[str, tuple[str, ...]] = {
    "house": ("house", "house", "facade"),
    "awning": ("awning", "awning", "canopy"),
    "cloth": ("cloth", "tablecloth"),
    "left_crate": ("crate on the left", "left crate", "left-hand crate"),
    "right_crate": ("crate on the right", "right crate", "right-hand crate"),
    "sign": ("sign", "price sign", "board"),
    "seller": ("seller", "vendor"),
    "lanterns": ("lanterns", "paper lanterns"),
    "pumpkins": ("pumpkins",),
    "barrel": ("barrel", "cask"),
    "flowers": ("flowers", "bucket of flowers"),
}
APRONS = ("apron", "seller's apron", "vendor's apron")  # what is coloured of a seller
PLURAL_NOUNS = frozenset({"lanterns", "paper lanterns", "pumpkins", "flowers"})
SINGULARS = {"lanterns": "lantern", "paper lanterns": "paper lantern", "pumpkins": "pumpkin"}
_GRAMMAR = Grammar(PLURAL_NOUNS, frozenset())

_DYE = ("dye the {noun} {new}", "a {noun} dyed {new}, not {old}")
_RESTOCK = (
    "sell {new} instead of {old}",
    "put {new} in the {noun}",
    "fill the {noun} with {new}",
    "the {noun} should hold {new}",
    "swap the {old} for {new}",
    "replace the {old} with {new}",
    "offer {new} rather than {old}",
    "the {old} are sold out, now there are {new}",
)
_REPRICE = (
    "{turn} the price from {old} to {new}",
    "{turn} the price to {new}",
    "set the price to {new}",
    "the price should be {new}",
    "sell it for {new} instead of {old}",
    "the sign should say {new}, not {old}",
    "let it cost {new}",
)
_MOVE = (
    "move the {noun} to the {new}",
    "move the {noun} from the {old} to the {new}",
    "the {noun} stand{s} on the {new}, not on the {old}",
    "shift the {noun} over to the {new} side of the stall",
    "the {noun} should be at the {new} end",
)
_RECOUNT = (
    "there should be {new} {noun}",
    "have {new} {noun} instead of {old}",
    "make it {new} {noun}",
    "change the number of {plural} from {old} to {new}",
    "show {new} {noun} rather than {old}",
)
_ADD = ("add {what}", "set up {what}", "there should be {what}", "now with {what}", "place {what} there")
_HANG = ("add {what}", "hang {what} from the roof", "there should be {what}", "string up {what}")
_HIRE = ("add {what}", "have {what} behind the counter", "there should be {what}", "let {what} serve")


def _describe_item(name: str, item: Item, rng: np.random.Generator) -> str:
    """An object that is new at the stall, with everything that tells it from another of its kind."""
    noun = pick(rng, NOUNS[name])
    adjectives = [item.colour] if item.colour else []
    if name == "seller":
        return f"{article(noun)} in {article(f'{item.colour} apron')}"
    if name == "sign":
        return f"{article(f'{item.colour} {noun}')} with the price {NUMBER_WORDS[item.price or 0]}"
    if noun.startswith("bucket of "):
        phrase = f"a bucket of {item.colour} flowers"
    elif item.count:
        phrase = " ".join([NUMBER_WORDS[item.count], *adjectives, SINGULARS[noun] if item.count == 1 else noun])
    else:
        phrase = _GRAMMAR.with_article(" ".join(adjectives), noun)
    if item.place:
        phrase += pick(
            rng, (f" on the {item.place}", f" at the {item.place} end", f" to the {item.place} of the stall")
        )
    return phrase


def _count_clause(change: Change, noun: str, rng: np.random.Generator) -> str:
    assert isinstance(change.before, int) and isinstance(change.after, int)  # as every `count` is
    counted = SINGULARS[noun] if change.after == 1 else noun
    old, new = NUMBER_WORDS[change.before], NUMBER_WORDS[change.after]
    return pick(rng, _RECOUNT).format(noun=counted, plural=noun, old=old, new=new)


def _price_clause(change: Change, rng: np.random.Generator) -> str:
    assert isinstance(change.before, int) and isinstance(change.after, int)  # as every `price` is
    turn = pick(rng, ("raise", "increase") if change.after > change.before else ("lower", "reduce"))
    return pick(rng, _REPRICE).format(turn=turn, old=NUMBER_WORDS[change.before], new=NUMBER_WORDS[change.after])


def _colour_clause(change: Change, noun: str, rng: np.random.Generator) -> str:
    old, new = str(change.before), str(change.after)
    if change.object == "seller":
        noun = pick(rng, APRONS)
    elif change.object == "flowers":
        noun = "flowers"
    return pick(rng, RECOLOUR + (_DYE if change.object == "cloth" else ())).format(
        **_GRAMMAR.swap_words(noun, old, new)
    )


def describe_change(change: Change, before: Stall, rng: np.random.Generator) -> str:
    """One clause, without capital or full stop, that says the change and nothing else.

    The stall before the change only decides between singular and plural.
    """
    noun = pick(rng, NOUNS[change.object])
    item = before.item(change.object)
    if isinstance(change.after, Item):
        templates = {"lanterns": _HANG, "seller": _HIRE}.get(change.object, _ADD)
        return pick(rng, templates).format(what=_describe_item(change.object, change.after, rng))
    if change.attribute == "count":
        return _count_clause(change, noun, rng)
    if change.attribute == "price":
        return _price_clause(change, rng)
    if item is not None and item.count == 1:
        noun = SINGULARS[noun]
    if change.attribute == "presence":
        return pick(rng, REMOVE).format(noun=noun)
    if change.attribute == "colour":
        return _colour_clause(change, noun, rng)
    old, new = str(change.before), str(change.after)
    if change.attribute == "pattern":
        words = _GRAMMAR.swap_words(noun, pick(rng, PATTERN_WORDS[old]), pick(rng, PATTERN_WORDS[new]))
        return pick(rng, REPATTERN).format(**words)
    if change.attribute == "goods":
        return pick(rng, _RESTOCK).format(noun=noun, old=old, new=new)
    return pick(rng, _MOVE).format(noun=noun, old=old, new=new, s="" if noun in PLURAL_NOUNS else "s")


def describe_changes(changes: Sequence[Change], before: Stall, rng: np.random.Generator) -> str:
    """One text of as many clauses as `before` changes, in random order. Raises ValueError when there are none."""
    if not changes:
        raise ValueError("there is no change to describe: the two days are equal")
    clauses = [describe_change(changes[index], before, rng) for index in rng.permutation(len(changes)).tolist()]
    return join_clauses(clauses, rng)
