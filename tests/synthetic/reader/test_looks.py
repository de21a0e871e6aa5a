"""What a reader says of its networks' numbers: surer or less sure, and when the numbers are right."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.synthetic.reader.fields import FIELDS, NOT_THERE, PRESENCE, states_of
from diptych.synthetic.reader.looks import Look, PairLook, changes_seen, described, described_again
from diptych.synthetic.rooms.scene import KINDS, Room, sample_hotel
from diptych.synthetic.scenes import Item, find_changes
from diptych.synthetic.server.rooms_language import changes_between

THRESHOLDS = (-2.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)


def right(scene: Room) -> Look:
    """Numbers of a reader that is sure, and right; of what is absent it knows no attribute."""
    log_probs = []
    for field, state in zip(FIELDS, states_of(scene.items()), strict=True):
        sure = np.full(len(field.values), 0.0 if state == NOT_THERE else -50.0)
        if state != NOT_THERE:
            sure[state] = 0.0
        log_probs.append(sure)
    return Look(log_probs)


def unsure(rng: np.random.Generator) -> Look:
    logits = [rng.normal(scale=3.0, size=len(field.values)) for field in FIELDS]
    return Look([values - np.logaddexp.reduce(values) for values in logits])


def rooms(number: int) -> list[tuple[Room, Room]]:
    rng = np.random.default_rng(number)
    return [(hotel.scenes[0], hotel.scenes[7]) for hotel in (sample_hotel(rng) for _ in range(40))]


@pytest.mark.parametrize("threshold", [0.0, 4.0])
def test_a_reader_that_is_right_says_what_is_there_and_what_changed(threshold):
    for before, after in rooms(0):
        reference, target = before.items(), after.items()
        assert described(right(before), threshold) == reference
        assert described(right(after), threshold) == target
        assert described_again(right(after), reference, threshold) == target
        changes = find_changes(before, after)
        assert changes_between(reference, target) == list(changes)
        happened = {(change.object, change.attribute) for change in changes}
        changed = np.array([9.0 if (field.object, field.attribute) in happened else -9.0 for field in FIELDS])
        seen = changes_seen(PairLook(changed, right(before), right(after)), threshold)
        assert sorted(seen, key=repr) == sorted(changes, key=repr)


def test_a_higher_threshold_claims_less():
    """Of the reference's words ever fewer are exchanged, and of two pictures ever fewer changes are seen."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        one, other = unsure(rng), unsure(rng)
        pair = PairLook(rng.normal(scale=3.0, size=len(FIELDS)), one, other)
        reference = described(one, 0.0)
        kept = alone = seen = None
        for threshold in THRESHOLDS:
            claimed = {c.object for c in changes_between(reference, described_again(other, reference, threshold))}
            assert kept is None or claimed <= kept
            kept = claimed
            attributes = {
                (c.object, c.attribute)
                for c in changes_between(described(one, threshold), described(other, threshold))
                if c.attribute != PRESENCE
            }
            assert alone is None or attributes <= alone
            alone = attributes
            now = {(c.object, c.attribute) for c in changes_seen(pair, threshold)}
            assert seen is None or {name for name, _ in now} <= {name for name, _ in seen}
            seen = now


def test_words_of_the_reference_stand_unless_the_odds_exceed_the_threshold():
    """All that is not so is 50 less likely here."""
    for before, after in rooms(4):
        reference = before.items()
        assert described_again(right(after), reference, 49.0) == after.items()
        assert described_again(right(after), reference, 50.0) == reference


def test_what_appears_or_goes_is_one_change():
    before, after = next(two for two in rooms(5) if any(c.attribute == PRESENCE for c in find_changes(*two)))
    everything = PairLook(np.full(len(FIELDS), 9.0), right(before), right(after))
    optional = {name for name, kind in KINDS.items() if kind.optional}
    seen = changes_seen(everything, 0.0)
    assert all((change.attribute == PRESENCE) == (change.object in optional) for change in seen)


def test_a_description_says_one_thing_of_each_object_however_unsure():
    look = unsure(np.random.default_rng(2))
    said = described(look, 1e9)
    assert said.keys() == described(look, 0.0).keys()
    assert all(len(item.to_json()) == 1 for item in said.values())


def test_what_the_reference_does_not_say_is_not_said_of_the_target():
    before, after = rooms(3)[0]
    vague = {"walls": Item(colour=before.items()["walls"].colour)}
    again = described_again(right(after), vague, 2.0)
    assert again["walls"].pattern is None
    assert {name: item for name, item in again.items() if name != "walls"} == {
        name: item for name, item in after.items().items() if name != "walls" and KINDS[name].optional
    }
