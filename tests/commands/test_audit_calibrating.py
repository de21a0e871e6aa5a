"""The audit finds what was planted, and every draw says so."""

from __future__ import annotations

import random

import numpy as np
import pytest

from diptych.annotation.audit import RIGHT, audit_pair
from diptych.commands.audit_calibrating import WORDINGS, CalibrateAudit
from diptych.data.pairs.triplet_pairs import pairs_of
from diptych.storage.json_files import read_json, read_json_lines, write_json_lines
from diptych.storage.record_log import RecordFile
from diptych.synthetic.rooms.scene import sample_hotel
from diptych.synthetic.rooms.source import Rooms
from diptych.synthetic.scenes import find_changes
from diptych.synthetic.server.rooms_language import untrue_change
from tiny_sets import tiny_set


@pytest.mark.parametrize("wording", ["server", "set"])
def test_every_wording_is_read_as_it_is_meant(wording):
    rng, numbers = random.Random(0), np.random.default_rng(0)
    for _ in range(40):
        rooms = sample_hotel(numbers).scenes
        before, after = rng.sample(rooms, 2)
        objects, items = zip(*((room.to_json()["objects"], room.items()) for room in (before, after)), strict=True)
        for change in find_changes(before, after) * 2:
            true = WORDINGS[wording](change, before, rng)
            assert audit_pair([true], *objects).verdicts == (RIGHT,), true
            told = untrue_change(change, *items, rng)
            untrue = WORDINGS[wording](told, before, rng)
            assert audit_pair([untrue], *objects).verdicts[0] in ("wrong", "hallucinated"), untrue


@pytest.fixture
def pairs(tmp_path):
    source = Rooms(tiny_set("rooms", tmp_path / "rooms"))
    lines = [pair.line(tmp_path.resolve()) for pair in pairs_of({"rooms": source}, "val").pairs]
    write_json_lines(tmp_path / "pairs.jsonl", lines)
    return tmp_path / "pairs.jsonl"


def drawn(pairs, folder, **settings):
    settings = {"planted": 0.3, "wording": "server", "num_draws": 6, "num_pairs": 40, "seed": 0, **settings}
    stage = CalibrateAudit(pairs, "val", name="calibrate_audit", output=folder, **settings)
    sink = RecordFile(folder / "work", stage.record_key)
    sink.append(list(stage.process(stage.ids())))
    sink.finish(stage.ids())
    stage.write_output(folder / "work", [])
    return list(sink.records().values()), read_json(folder / "metrics.json")


def test_the_share_that_was_planted_is_found_again(pairs, tmp_path):
    records, result = drawn(pairs, tmp_path / "out")
    for record in records:
        assert record["recovered"] == record["planted"] / record["sentences"]  # all of them, and no other
        assert record["bias"] == 0
        assert record["covered"] == (record["interval"][0] <= 0.3 <= record["interval"][1])
        assert not record["unread"] and not record["false_alarms"] and not record["overlooked"]
    assert len({record["planted"] for record in records}) > 1  # each draw has numbers of its own
    scores = read_json_lines(tmp_path / "out/scores.jsonl", "query_id")
    assert result["metrics"]["recovered"] == pytest.approx(np.mean([one["recovered"] for one in scores.values()]))


def test_rarer_words_are_not_read(pairs, tmp_path):
    fifth, half = (drawn(pairs, tmp_path / w, wording=w)[1]["metrics"]["unread"] for w in ("fifth", "half"))
    assert 0 < fifth < half


def test_a_perfect_audit_keeps_its_promises(pairs, tmp_path):
    _, result = drawn(pairs, tmp_path / "out", perfect=True)
    assert result["metrics"]["covered"] == pytest.approx(0.95)
    assert result["metrics"]["bias"] == result["metrics"]["unread"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wording": "odd"}, "wording=odd: one of server, set, fifth, half"),
        ({"planted": 2}, "planted=2"),
        ({"num_draws": 1}, "num_draws=1, num_pairs=40"),
    ],
)
def test_what_makes_no_sense_is_refused(pairs, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        drawn(pairs, tmp_path / "out", **settings)
