"""Changes to English: one clause per change, many wordings, nothing said about what stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diptych.synthetic.rooms.scene import Change, Item, Scene

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
PATTERN_WORDS: Mapping[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "striped": ("striped",),
    "checked": ("checked", "chequered"),
    "dotted": ("dotted", "spotted"),
}
NUMBER_WORDS = ("no", "one", "two", "three")
PLURAL_NOUNS = frozenset({"walls", "curtains", "drapes", "pillows", "pictures", "paintings"})
UNCOUNTABLE_NOUNS = frozenset({"wallpaper", "flooring"})
SINGULARS = {"pillows": "pillow", "pictures": "picture", "paintings": "painting"}
SIZE_WORDS: Mapping[str, tuple[str, ...]] = {"small": ("small", "little"), "large": ("large", "big")}

_RECOLOUR = (
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
_PAINT = ("paint the {noun} {new}", "repaint the {old} {noun} in {new}")
_REPATTERN = (
    "make the {noun} {new}",
    "change the {noun} from {old} to {new}",
    "the {noun} should be {new} instead of {old}",
    "swap the {old} {noun} for {a_new}",
    "replace the {old} {noun} with {a_new}",
    "have {a_new_noun} instead",
)
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
_REMOVE = (
    "remove the {noun}",
    "take the {noun} away",
    "take away the {noun}",
    "get rid of the {noun}",
    "there should be no {noun}",
    "leave out the {noun}",
)
WHERE = {"pillows": "on the bed", "pictures": "on the wall"}
_JOINTS = {2: (" and ", ", and ", "; ", ". ", ", then "), 3: (", ", "; ", ". ")}


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _with_article(adjective: str, noun: str) -> str:
    """`a blue rug`, but `blue curtains` and `blue wallpaper`."""
    phrase = f"{adjective} {noun}"
    return phrase if noun in PLURAL_NOUNS or noun in UNCOUNTABLE_NOUNS else _article(phrase)


def _swap_words(noun: str, old: str, new: str) -> dict[str, str]:
    """What the templates that exchange one adjective for another need."""
    if noun in UNCOUNTABLE_NOUNS:
        a_new, one = f"{new} {noun}", noun
    elif noun in PLURAL_NOUNS:
        a_new, one = f"{new} ones", "ones"
    else:
        a_new, one = f"{_article(new)} one", "one"
    return {"noun": noun, "old": old, "new": new, "a_new": a_new, "one": one, "a_new_noun": _with_article(new, noun)}


def _pattern_word(pattern: str, rng: np.random.Generator) -> str:
    return _pick(rng, PATTERN_WORDS[pattern])


def _describe_item(name: str, item: Item, rng: np.random.Generator) -> str:
    """An object that is new in the room, with everything that tells it from another of its kind."""
    noun = _pick(rng, NOUNS[name])
    adjectives = [_pick(rng, SIZE_WORDS[item.size])] if item.size else []
    if item.pattern:
        adjectives.append(_pattern_word(item.pattern, rng))
    adjectives += [item.colour] if item.colour else []
    if item.count == 1:
        phrase = f"one {' '.join(adjectives)} {SINGULARS[noun]}"
    elif item.count:
        phrase = f"{NUMBER_WORDS[item.count]} {' '.join(adjectives)} {noun}"
    else:
        phrase = _with_article(" ".join(adjectives), noun)
    if item.place:
        phrase += _pick(
            rng, (f" on the {item.place}", f" on the {item.place} side", f" to the {item.place} of the bed")
        )
    elif name in WHERE:
        phrase += f" {WHERE[name]}"
    return phrase


def _count_clause(change: Change, noun: str, rng: np.random.Generator) -> str:
    assert isinstance(change.before, int) and isinstance(change.after, int)  # as every `count` is
    old, new = change.before, change.after
    counted = SINGULARS[noun] if new == 1 else noun
    words = {"noun": counted, "plural": noun, "old": NUMBER_WORDS[old], "new": NUMBER_WORDS[new]}
    return _pick(rng, _RECOUNT).format(where=WHERE[change.object], **words)


def describe_change(change: Change, before: Scene, rng: np.random.Generator) -> str:
    """One clause, without capital or full stop, that says the change and nothing else.

    The room before the change only decides between singular and plural.
    """
    noun = _pick(rng, NOUNS[change.object])
    item = before.item(change.object)
    if isinstance(change.after, Item):
        templates: tuple[str, ...] = _HANG if change.object == "pictures" else _ADD
        return _pick(rng, templates).format(what=_describe_item(change.object, change.after, rng))
    if change.attribute == "count":
        return _count_clause(change, noun, rng)
    if item is not None and item.count == 1:
        noun = SINGULARS[noun]
    if change.attribute == "presence":
        return _pick(rng, _REMOVE).format(noun=noun)
    old, new = str(change.before), str(change.after)
    if change.attribute == "colour":
        templates = _RECOLOUR + (_PAINT if noun == "walls" else ())
        return _pick(rng, templates).format(**_swap_words(noun, old, new))
    if change.attribute == "pattern":
        words = _swap_words(noun, _pattern_word(old, rng), _pattern_word(new, rng))
        return _pick(rng, _REPATTERN).format(**words)
    if change.attribute == "size":
        words = _swap_words(noun, _pick(rng, SIZE_WORDS[old]), _pick(rng, SIZE_WORDS[new]))
        return _pick(rng, _RESIZE).format(**words)
    return _pick(rng, _MOVE).format(noun=noun, old=old, new=new)


def describe_changes(changes: Sequence[Change], before: Scene, rng: np.random.Generator) -> str:
    """One text of as many clauses as `before` changes, in random order. Raises ValueError when there are none."""
    if not changes:
        raise ValueError("there is no change to describe: the two rooms are equal")
    clauses = [describe_change(changes[index], before, rng) for index in rng.permutation(len(changes)).tolist()]
    if len(clauses) == 1:
        text = clauses[0]
    else:
        joint = _pick(rng, _JOINTS[min(len(clauses), 3)])
        last = joint if len(clauses) == 2 or joint == ". " else f"{joint}and "
        text = joint.join(clauses[:-1]) + last + clauses[-1]
    capital = rng.random() < 0.5
    sentences = [text] if ". " not in text else text.split(". ")
    if capital or len(sentences) > 1:
        return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."
    return text
