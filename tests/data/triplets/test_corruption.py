"""Training texts that are made untrue: how many, which, in which words, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from diptych.annotation.audit import audit_pair
from diptych.contracts.retrieval import Triplet
from diptych.data.triplets.augmentation import ColorJitter
from diptych.data.triplets.cir_datamodule import CIRDataModule
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.corruption import Corruption
from diptych.data.triplets.from_files import FromFiles
from diptych.storage.json_files import read_json
from diptych.synthetic.rooms.source import Rooms
from tiny_sets import TINY


@pytest.fixture(scope="module")
def rooms(data):
    return Rooms(data / "rooms", TINY)


def verdict(rooms, triplet, text):
    """What the audit says, which reads the words and knows nothing of how they came about."""
    scenes = [
        read_json(rooms.root / "scenes/train" / name.replace(".jpg", ".json"))["scene"]["objects"]
        for name in (triplet.reference_image, triplet.target_image)
    ]
    (found,) = audit_pair([text], *scenes).verdicts
    return found


@pytest.mark.parametrize("kind", [None, "another_text", *Rooms.untrue_kinds])
def test_what_is_told_is_untrue_of_the_pictures_and_what_was_told_is_true(rooms, kind):
    triplets = {triplet.query_id: triplet for triplet in rooms.triplets("train")}
    corruption = Corruption(0.75) if kind is None else Corruption(0.25, [kind])
    for one in corruption.of(rooms).untrue_texts:
        assert verdict(rooms, triplets[one.query_id], one.text) in ("wrong", "hallucinated"), one
        assert verdict(rooms, triplets[one.query_id], one.true_text) == "right"
        assert kind in (None, one.kind)


def test_the_share_is_exact_and_nothing_else_changes(rooms):
    true = rooms.triplets("train")
    corrupted = Corruption(0.25).of(rooms)
    told = corrupted.triplets("train")
    assert len(true) == 24 and len(corrupted.untrue_texts) == 6
    untrue = {one.query_id: one for one in corrupted.untrue_texts}
    for before, after in zip(true, told, strict=True):
        text = untrue[before.query_id].text if before.query_id in untrue else before.modification_texts[0]
        assert after == replace(before, modification_texts=(text,))
        assert before.query_id not in untrue or untrue[before.query_id].true_text == before.modification_texts[0]
    assert corrupted.triplets("val") == rooms.triplets("val") and corrupted.queries("val") == rooms.queries("val")


def test_left_out_the_untrue_texts_and_nothing_else_are_gone(rooms):
    told, known = Corruption(0.25).of(rooms), Corruption(0.25, leave_out=True).of(rooms)
    untrue = {one.query_id for one in told.untrue_texts}
    assert known.untrue_texts == told.untrue_texts
    assert known.triplets("train") == [one for one in rooms.triplets("train") if one.query_id not in untrue]


def test_a_larger_share_holds_the_untrue_texts_of_a_smaller_one(rooms):
    some, more = (Corruption(untrue, seed=3).of(rooms).untrue_texts for untrue in (0.25, 0.5))
    assert more[: len(some)] == some
    assert Corruption(0.25, seed=4).of(rooms).untrue_texts != some


def test_without_scenes_texts_come_from_another_triplet_of_the_group(data):
    cirr = CIRR(data / "cirr")
    triplets = {triplet.query_id: triplet for triplet in cirr.triplets("train")}
    texts: dict[str, list[Triplet]] = {}
    for triplet in triplets.values():
        texts.setdefault(triplet.modification_texts[0], []).append(triplet)
    for one in Corruption(0.5).of(cirr).untrue_texts:
        own, others = triplets[one.query_id], texts[one.text]
        assert one.kind == "another_text" and own not in others
        in_group = any(other is not own and other.group == own.group for other in triplets.values())
        assert not in_group or own.group in {other.group for other in others}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"untrue": 1.5}, r"data\.corruption\.untrue=1\.5 must be between 0 and 1"),
        ({"untrue": 0.1, "kinds": []}, r"data\.corruption\.kinds is empty"),
        ({"untrue": 0.1, "kinds": ["shuffled"]}, r"kinds names 'shuffled'; rooms knows another_value, .*another_text"),
        ({"untrue": 1.0, "kinds": ["another_attribute"]}, r"of 24 training texts of rooms only \d+ can be made untrue"),
    ],
)
def test_settings_that_cannot_be_are_refused(rooms, settings, message):
    with pytest.raises(ValueError, match=message):
        _ = Corruption(**settings).of(rooms).untrue_texts


def module(rooms, preprocessing, corruption, training=None):
    training = training or FromFiles(batch_size=4, augmentation=ColorJitter())
    found = CIRDataModule({"rooms": rooms}, preprocessing, training, num_workers=0, corruption=corruption)
    found.trainer = SimpleNamespace(max_steps=6, accumulate_grad_batches=1)
    return found


def batches(module):
    module.prepare_for(SimpleNamespace(wants=frozenset()))
    return list(module.train_dataloader())


def test_training_sees_the_same_pictures_in_the_same_order_and_other_words_where_they_are_untrue(
    rooms, tiny_preprocessing
):
    off, zero, half = (module(rooms, tiny_preprocessing, one) for one in (None, Corruption(0.0), Corruption(0.5)))
    assert off.untruths() == zero.untruths() == []
    untrue = {one["query_id"] for one in half.untruths()}
    assert len(untrue) == 12
    for one, other, corrupted in zip(batches(off), batches(zero), batches(half), strict=True):
        assert one.query_ids == other.query_ids == corrupted.query_ids
        assert torch.equal(one.reference, other.reference) and torch.equal(one.reference, corrupted.reference)
        assert torch.equal(one.text.input_ids, other.text.input_ids)
        for place, query_id in enumerate(one.query_ids):
            ids = [batch.text.input_ids[place][batch.text.mask[place]].tolist() for batch in (one, corrupted)]
            assert (ids[0] != ids[1]) == (query_id in untrue)
    assert half.evaluation_sets("val")[0].queries == off.evaluation_sets("val")[0].queries


def test_shards_hold_their_texts_as_written(rooms, tiny_preprocessing):
    class Shards:
        kind = "shards"

    with pytest.raises(ValueError, match="shards hold their texts as they were written"):
        module(rooms, tiny_preprocessing, Corruption(0.5), Shards()).prepare_training()
