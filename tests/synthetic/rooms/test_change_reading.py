"""Sentences about rooms are read as what they claim."""

from __future__ import annotations

import pytest

from diptych.annotation.opposition import CONTRADICTION, conflict
from diptych.synthetic.clauses import PATTERN_WORDS
from diptych.synthetic.rooms.change_reading import read_claims
from diptych.synthetic.rooms.language import NOUNS
from diptych.synthetic.rooms.scene import KINDS
from diptych.text.change_words import ADD_VERBS, CHANGE_VERBS, COLOURS, REMOVE_VERBS, REPLACE_VERBS


def test_every_word_of_the_set_is_known():
    for name, nouns in NOUNS.items():
        for noun in nouns:
            assert [claim.object for claim in read_claims(f"Remove the {noun}.")] == [name]
    for name, kind in KINDS.items():
        words = [*kind.colours, *(word for pattern in kind.patterns for word in PATTERN_WORDS[pattern])]
        for word in words:
            (claim,) = read_claims(f"Make the {NOUNS[name][0]} {word}.")
            assert next(iter(claim.after.values())) in (*kind.colours, *kind.patterns)


@pytest.mark.parametrize(
    ("sentence", "claims"),
    [
        (
            "Replace the lamp with a plant on the left.",
            [("lamp", "remove", {}, {}), ("plant", "add", {}, {"place": "left"})],
        ),
        (
            "The walls and the floor should be blue.",
            [("walls", "change", {}, {"colour": "blue"}), ("floor", "change", {}, {"colour": "blue"})],
        ),
        ("The blue rug replaces the red one.", [("rug", "change", {"colour": "red"}, {"colour": "blue"})]),
        ("The rug is no longer red but green.", [("rug", "change", {"colour": "red"}, {"colour": "green"})]),
        (
            "Make the armchair green, and shift it to the right.",
            [("chair", "change", {}, {"colour": "green"}), ("chair", "change", {}, {"place": "right"})],
        ),
        ("Add another pillow to the bed.", [("pillows", "add", {}, {"count": "more"})]),
        ("Change the number of pillows to one.", [("pillows", "change", {}, {"count": 1})]),
        ("The suitcase has been removed.", [("suitcase", "remove", {}, {})]),
        ("Hang one picture above the headboard.", [("pictures", "add", {}, {"count": 1})]),
        (
            "The lamp moves from the left side to the right side.",
            [("lamp", "change", {"place": "left"}, {"place": "right"})],
        ),
        ("Upgrade the spotlight to a chrome finish.", []),
    ],
)  # fmt: skip
def test_how_models_write(sentence, claims):
    assert [(c.object, c.verb, c.before, c.after) for c in read_claims(sentence)] == claims


@pytest.mark.parametrize("name", COLOURS)
def test_both_readers_know_the_shared_words(name):
    for shade in COLOURS[name]:
        (claim,) = read_claims(f"Make the rug {shade}.")
        assert claim.after == {"colour": name}
        other = "red" if name != "red" else "blue"
        assert conflict(f"Make the rug {shade}.", f"Make the rug {other}.") == CONTRADICTION


@pytest.mark.parametrize(
    ("verbs", "kind"), [(ADD_VERBS, "add"), (REMOVE_VERBS, "remove"), (CHANGE_VERBS + REPLACE_VERBS, "change")]
)
def test_shared_verbs_do_what_they_say(verbs, kind):
    for verb in verbs:
        (claim,) = read_claims(f"{verb.capitalize()} the red lamp.")
        assert (claim.object, claim.verb) == ("lamp", kind)
