"""Whether descriptions keep their words where nothing changed: counts worked out by hand."""

from __future__ import annotations

import re

import pytest

from diptych.annotation.descriptor_consistency import (
    descriptions_beside,
    descriptor_counts,
    descriptor_rows,
    descriptor_summaries,
    descriptor_table,
)
from diptych.storage.record_log import RecordLog
from diptych.synthetic.rooms.change_reading import object_named

RUG = {"colour": "blue", "pattern": "plain"}
BEFORE = {"rug": RUG, "walls": {"colour": "white"}, "lamp": {"place": "left"}, "chair": None, "pillows": {"count": 2}}
AFTER = {"rug": RUG, "walls": {"colour": "red"}, "lamp": {"place": "left"}, "chair": {}, "pillows": {"count": 2}}


def described(**objects):
    return [{"name": name.replace("_", " "), "descriptors": list(words)} for name, words in objects.items()]


REFERENCE = described(
    area_rug=("blue", "plain weave", "soft"),
    walls=("white",),
    floor_lamp=("on the left",),
    left_pillow=("round",),
    right_pillow=("square",),
    bed=("wide",),
)


def counts(target, reference=REFERENCE):
    return {name: number for name, number in descriptor_counts(reference, target, BEFORE, AFTER).items() if number}


def test_the_same_words_for_all_objects():
    assert counts(REFERENCE) == {
        "unchanged_objects": 3,  # rug, lamp, pillows; the bed is in no scene
        "twice_described": 3,
        "alike_objects": 3,
        "descriptors": 6,
        "repeated_descriptors": 6,
        "changed_objects": 1,  # the walls, which have kept their words
        "changed_alike": 1,
    }


def test_other_words_for_what_is_the_same_and_for_what_is_not():
    target = described(
        rug=("Blue", "flat weave"), wall=("red",), cushions_on_the_bed=("square", "round", "new"), chair=("old",)
    )
    assert counts(target) == {
        "unchanged_objects": 3,
        "left_out_objects": 1,  # the lamp
        "twice_described": 2,
        "descriptors": 5,
        "repeated_descriptors": 3,  # blue whatever the case, round, square
        "changed_objects": 1,
    }


def test_what_is_in_no_scene_or_gone_is_not_judged():
    assert counts(REFERENCE, described(chair=("old",), bed=("wide",), clock=("round",))) == {}


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        ("framed prints on the wall", "pictures"),
        ("wall pictures", "pictures"),
        ("tall floor lamp", "lamp"),
        ("bed blanket", "blanket"),
        ("lamp beside the bed", "lamp"),
        ("pair of pillows", "pillows"),
        ("The Potted Plant", "plant"),
        ("ashtray", None),
        ("on the wall", None),
    ],
)
def test_names_in_descriptions(name, thing):
    assert object_named(name) == thing


def test_rates_over_pairs():
    records = [
        {"ways": {"a": {"descriptors": descriptor_counts(REFERENCE, REFERENCE, BEFORE, AFTER)}}},
        {"ways": {"a": {"descriptors": descriptor_counts(REFERENCE, described(rug=("soft",)), BEFORE, AFTER)}}},
        {"ways": {"a": {"descriptors": None}}},
    ]
    summaries = descriptor_summaries(records, ["a"])
    assert summaries["a"]["pairs"] == 2
    rates = {heading: (entry["rate"], entry["of"]) for heading, (entry,) in descriptor_rows(summaries)}
    assert rates == {
        "unchanged descriptors repeated": (7 / 9, 9),
        "unchanged objects alike": (3 / 4, 4),
        "unchanged objects left out": (2 / 6, 6),
        "changed objects alike": (1.0, 1),
    }
    assert re.search(r"^unchanged objects alike +75\.0 \[.* of 4$", descriptor_table(summaries), re.MULTILINE)


def test_descriptions_lie_beside_the_sentences_that_were_written_from_them(tmp_path):
    sentences = tmp_path / "write_modifications/records.jsonl"
    assert descriptions_beside(sentences) is None
    RecordLog(tmp_path / "describe_reference/records.jsonl", "image").write([{"image": "r", "objects": REFERENCE}])
    RecordLog(tmp_path / "describe_target/records.jsonl", "pair_id").write([{"pair_id": "p", "objects": REFERENCE}])
    found = descriptions_beside(sentences)
    assert found is not None and len(found.files) == 2
    assert found.counts("p", "r", BEFORE, AFTER) == descriptor_counts(REFERENCE, REFERENCE, BEFORE, AFTER)
    assert found.counts("q", "r", BEFORE, AFTER) is None and found.counts("p", "s", BEFORE, AFTER) is None
    assert descriptions_beside(tmp_path / "one_stage/records.jsonl") is None  # they are not what it was written from
