"""The documented examples work: the page's own lines are written to disk and read."""

from __future__ import annotations

import re
from pathlib import Path

from diptych.data.triplets.triplet_jsonl import TripletJSONL

PAGE = Path(__file__).resolve().parents[2] / "docs/own_data.md"


def test_the_pages_example_is_read(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "train.jsonl").write_text(example)
    first, second = TripletJSONL(tmp_path).triplets("train")
    assert first.modification_texts == ("a taller lamp", "make the lamp taller")
    assert second.target_image == "images/c.jpg"
    assert TripletJSONL(tmp_path).protocol("train").map_ks == (5, 10, 25, 50)


def test_the_page_lists_every_key():
    keys = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), flags=re.MULTILINE))
    assert keys == {
        "query_id",
        "reference_image",
        "modification_texts",
        "target_image",
        "relevant_ids",
        "group_member_ids",
        "group",
        "distractors",
    }
