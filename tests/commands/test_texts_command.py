"""`diptych texts` on generated rooms and on triplets of one's own."""

from __future__ import annotations

import json

import pytest

from diptych.commands.main import run
from tiny_runs import TINY_ROOMS_SIZES
from tiny_sets import tiny_set

pytestmark = pytest.mark.slow


def test_texts_of_several_sources_stand_side_by_side(tmp_path, capsys):
    tiny_set("rooms", tmp_path / "rooms")
    own = tmp_path / "own"
    own.mkdir()
    lines = [
        {
            "query_id": thing,
            "reference_image": "a.jpg",
            "modification_texts": [f"add {thing}", "so"],
            "target_image": "b.jpg",
        }
        for thing in ("one", "two", "three", "four", "five")
    ]
    (own / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["data=[rooms,own_data]", f"data_dir={tmp_path}", *TINY_ROOMS_SIZES, f"data.sources.own_data.root={own}"]
    output = tmp_path / "texts.json"
    assert run("texts", [*words, f"output={output}"]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["rooms", "own_data"] and "10 of 5 records" in table
    found = json.loads(output.read_text())["sources"]
    assert found["rooms"]["sampled"] == found["own_data"]["sampled"] == 5, "on as many texts as the smaller one has"
    assert found["own_data"]["words"]["mean"] == 1.5 and found["own_data"]["tokens"] == {"mean": 3.5, "cut": 0.0}
    assert run("texts", [*words, "sample=1"]) == 2
    assert "of which 1 are to be compared" in capsys.readouterr().err
    assert run("texts", ["data=newsroom"]) == 2
    assert "has no triplets: choose data of composed image retrieval" in capsys.readouterr().err
