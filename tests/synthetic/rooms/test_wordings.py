"""Every wording of a change says that change, and nothing else differs between wordings."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from diptych.annotation.audit import audit_pair
from diptych.storage.json_files import read_json
from diptych.synthetic.rooms.change_reading import read_claims
from diptych.synthetic.rooms.scene import KINDS, sample_scene
from diptych.synthetic.rooms.source import Rooms
from diptych.synthetic.rooms.wordings import NUM_WORDINGS, TEMPLATES, clause_in
from diptych.synthetic.scenes import ATTRIBUTES, Item, find_changes
from diptych.synthetic.untruths import sample_item
from tiny_sets import TINY, tiny_set

NUMBERS = range(1, NUM_WORDINGS + 1)


def kind_of(change):
    if change.attribute != "presence":
        return change.attribute
    return "added" if isinstance(change.after, Item) else "removed"


def single_changes():
    """Every kind of change of every object, from its first two values to each other, with the room before it."""
    room = sample_scene(np.random.default_rng(0))
    rng = random.Random(0)
    for name, kind in KINDS.items():
        item = sample_item(kind, rng)
        states = [(item, None), (None, item)] if kind.optional else []
        for attribute in (one for one in ATTRIBUTES if kind.values(one)):
            values = kind.values(attribute)[:2]
            states += [tuple(replace(item, **{attribute: value}) for value in way) for way in (values, values[::-1])]
        for old, new in states:
            before, after = (room.with_items({name: state}) for state in (old, new))
            yield find_changes(before, after)[0], before


CHANGES = list(single_changes())


def clause(wordings, change, before, seed=0):
    return clause_in(wordings, change, before, np.random.default_rng(seed))


def test_every_kind_of_change_has_as_many_wordings_all_different():
    assert {kind_of(change) for change, _ in CHANGES} == set(TEMPLATES)
    assert {kind: len(set(templates)) for kind, templates in TEMPLATES.items()} == dict.fromkeys(TEMPLATES, 14)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_wording_is_read_as_the_change_and_nothing_else(number):
    for change, before in CHANGES:
        text = clause([number], change, before)
        assert "{" not in text and "None" not in text and "  " not in text
        (claim,) = read_claims(text)
        assert claim.object == change.object, text
        kind = kind_of(change)
        if kind == "removed":
            assert claim.verb == "remove", text
        elif kind == "added":
            assert claim.verb in ("add", "state") and claim.after == change.after.to_json(), text
        else:
            assert claim.verb in ("change", "state") and claim.after == {kind: change.after}, text
            assert claim.before in ({}, {kind: change.before}), text


def test_all_other_words_are_the_same_whatever_the_wordings():
    for change, before in CHANGES:
        for seed in range(3):
            alone = {clause([number], change, before, seed) for number in (1, 4)}
            assert len(alone) == 2 and clause([1, 4], change, before, seed) in alone


def test_each_of_the_wordings_is_said():
    for change, before in CHANGES[:3]:
        assert len({clause([1, 4, 9], change, before, seed)[:8] for seed in range(40)}) >= 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tiny_set("rooms", tmp_path_factory.mktemp("data") / "rooms")


def test_a_source_says_its_texts_again_truly_and_the_same_every_time(root):
    written = Rooms(root, TINY)
    for wordings in ([1], [2, 3, 4], [9, 10, 11, 12, 13, 14]):
        source = Rooms(root, TINY, wordings=wordings)
        assert source.triplets("train") == Rooms(root, TINY, wordings=wordings).triplets("train")
        for before, after in zip(written.triplets("train"), source.triplets("train"), strict=True):
            pictures = (before.reference_image, before.target_image)
            assert (after.query_id, after.reference_image, after.target_image) == (before.query_id, *pictures)
            (text,) = after.modification_texts
            scenes = [
                read_json(root / "scenes/train" / name.replace(".jpg", ".json"))["scene"]["objects"]
                for name in pictures
            ]
            audit = audit_pair([text], *scenes)
            assert audit.verdicts == ("right",) and audit.missed == (), text
        aspects = [[query.aspects for query in one.queries("val")] for one in (source, written)]
        assert aspects[0] == aspects[1]
        assert source.protocol("val").text_template == f"the changes in wordings {', '.join(map(str, wordings))}"
    assert Rooms(root, TINY, wordings=None).queries("val") == written.queries("val")


def test_which_wording_it_is_does_not_depend_on_the_place_of_the_record(root, tmp_path):
    copy = tmp_path / "rooms"
    copy.mkdir()
    (copy / "scenes").symlink_to(root / "scenes")
    (copy / "captions").mkdir()
    records = read_json(root / "captions/hotel_train_data.json")
    name = "hotel_train_data.json"
    (copy / "captions" / name).write_text(json.dumps(records[::-1]))
    texts, turned = (
        [triplet.modification_texts for triplet in Rooms(folder, TINY, wordings=[1, 2, 3, 4]).triplets("train")]
        for folder in (root, copy)
    )
    assert turned[::-1] == texts and len(set(texts)) > 12


@pytest.mark.parametrize("wordings", [[], [0], [15], [1, 1]])
def test_wordings_that_there_are_not_are_refused(root, wordings):
    with pytest.raises(ValueError, match="name some of 1 to 14, each once, or null"):
        Rooms(root, TINY, wordings=wordings)
