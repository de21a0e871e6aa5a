import re

import numpy as np
import pytest

from diptych.synthetic.clauses import NUMBER_WORDS, PATTERN_WORDS
from diptych.synthetic.rooms.language import NOUNS, describe_change, describe_changes
from diptych.synthetic.rooms.scene import KINDS, sample_hotel, sample_scene
from diptych.synthetic.scenes import Change, Item, find_changes

_BASE = sample_scene(np.random.default_rng(1)).with_items({"pillows": Item("white", count=2)})
_COLOURS = {colour for kind in KINDS.values() for colour in kind.colours}
_SIZES = {"small": ("small", "little"), "large": ("large", "big")}


def _wordings(change, count=200):
    return {describe_change(change, _BASE, np.random.default_rng(seed)) for seed in range(count)}


def _words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def _words_for(attribute, value):
    if attribute == "pattern":
        return set(PATTERN_WORDS[value])
    if attribute == "size":
        return set(_SIZES[value])
    if attribute == "count":
        return {NUMBER_WORDS[value]}
    return {value}


def _examples(count):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        hotel = sample_hotel(rng)
        reference, target = rng.choice(8, 2, replace=False).tolist()
        before, after = hotel.scenes[reference], hotel.scenes[target]
        yield before, find_changes(before, after), rng


def test_texts_mention_every_changed_object_and_its_new_value():
    for before, changes, rng in _examples(400):
        words = _words(describe_changes(changes, before, rng))
        for change in changes:
            nouns = {word for noun in NOUNS[change.object] for word in _words(noun)}
            assert words & (nouns | {noun.rstrip("s") for noun in nouns})
            if isinstance(change.after, Item):
                for attribute, value in change.after.to_json().items():
                    assert words & _words_for(attribute, value)
            elif change.after is not None:
                assert words & _words_for(change.attribute, change.after)


def test_texts_mention_no_other_object_or_colour():
    for before, changes, rng in _examples(400):
        text = describe_changes(changes, before, rng).lower()
        changed = {change.object for change in changes}
        for name, nouns in NOUNS.items():
            if name not in changed:
                assert not any(re.search(rf"\b{noun}\b", text.replace("floor lamp", "lamp")) for noun in nouns), text
        said = set()
        for change in changes:
            for value in (change.before, change.after):
                said |= {value.colour} if isinstance(value, Item) else {value}
        assert (_words(text) & _COLOURS) <= said


def test_texts_are_short_and_varied():
    texts = [describe_changes(changes, before, rng) for before, changes, rng in _examples(400)]
    assert max(len(text.split()) for text in texts) < 50
    assert len(set(texts)) > 380
    for text in texts:
        assert "{" not in text and "None" not in text and "  " not in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change("blanket", "colour", "blue", "green"), "swap the blue duvet for a green one"),
        (Change("blanket", "colour", "blue", "orange"), "replace the blue blanket with an orange one"),
        (Change("curtains", "colour", "red", "white"), "swap the red curtains for white ones"),
        (Change("walls", "colour", "red", "white"), "paint the walls white"),
        (Change("walls", "pattern", "plain", "striped"), "replace the plain wallpaper with striped wallpaper"),
        (Change("pillows", "count", 2, 1), "put one pillow on the bed instead of two"),
        (Change("pillows", "count", 2, 3), "there should be three pillows on the bed"),
        (Change("plant", "size", "small", "large"), "make the plant big"),
        (Change("lamp", "place", "left", "right"), "move the lamp from the left to the right"),
        (Change("plant", "presence", Item(place="left", size="small"), None), "take the plant away"),
        (Change("chair", "presence", None, Item("orange", place="left")), "add an orange armchair on the left"),
        (Change("pictures", "presence", None, Item("red", count=1)), "hang one red painting on the wall"),
        (Change("rug", "presence", None, Item("red", "striped")), "bring in a striped red rug"),
    ],
)
def test_wordings_are_english(change, expected):
    wordings = _wordings(change)
    assert expected in wordings
    assert len(wordings) >= 6


def test_one_picture_is_not_plural():
    before = _BASE.with_items({"pictures": Item("red", count=1)})
    change = Change("pictures", "colour", "red", "blue")
    texts = {describe_change(change, before, np.random.default_rng(seed)) for seed in range(100)}
    assert "make the picture blue" in texts
    assert not any("pictures" in text or "paintings" in text for text in texts)


def test_no_change_is_refused():
    with pytest.raises(ValueError, match="no change"):
        describe_changes((), _BASE, np.random.default_rng(0))
