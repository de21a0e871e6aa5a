"""Pairs of a triplet dataset as the records of a stage."""

from __future__ import annotations

import pytest

from diptych.data.pairs.image_pairs import read_pairs
from diptych.stages.annotation.list_pairs import ListPairs
from diptych.storage.record_log import RecordLog
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.rooms.source import Rooms


def test_some_of_the_pairs_are_drawn_and_the_annotation_reads_them(tmp_path):
    generate_rooms(tmp_path / "rooms", RoomsSettings(0, 1, 2, 1, 4, 6), num_workers=1)
    rooms = Rooms(tmp_path / "rooms")
    every = ListPairs(rooms, "val")
    assert len(every.ids()) == 12
    drawn = [ListPairs(rooms, "val", 5, seed).ids() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 5
    assert [name for name in every.ids() if name in drawn[0]] == drawn[0]
    records = list(every.process(every.ids()[3:]))
    RecordLog(tmp_path / "records.jsonl", "pair_id").write(records)
    pairs = read_pairs(tmp_path / "records.jsonl").pairs
    assert [pair.pair_id for pair in pairs] == every.ids()[3:]
    assert all(pair.reference_image.endswith(".jpg") and pair.group for pair in pairs)
    with pytest.raises(ValueError, match="number=13: val of rooms has 12 pairs"):
        ListPairs(rooms, "val", 13).ids()
    with pytest.raises(ValueError, match="number=0: want at least 1"):
        ListPairs(rooms, "val", 0)
