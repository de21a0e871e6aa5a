"""What a small run of the annotation leaves behind, for the tests of the review page and of the data card."""

import json
from pathlib import Path

from PIL import Image

from diptych.storage.record_log import RecordLog

NASTY = 'Put a <b>"blue"</b> rug & a lamp in.'


def write_annotated_pairs(tmp_path: Path) -> Path:
    """Two pairs with descriptions and sentences, and a third without."""
    out = tmp_path / "triplets"
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("c.png", "green")):
        Image.new("RGB", (40, 30), colour).save(tmp_path / name)
    pairs = [("one", "a.png", "b.png"), ("two", "b.png", "c.png"), ("three", "c.png", "a.png")]
    (tmp_path / "pairs.json").write_text(
        json.dumps([{"pair_id": p, "reference_image": r, "target_image": t} for p, r, t in pairs])
    )
    rug, lamp = {"name": "Rug", "descriptors": ["red", "round"]}, {"name": "lamp", "descriptors": ["brass"]}
    work = out / "work"
    RecordLog(work / "describe_reference" / "records.jsonl", "image").write(
        [{"image": str((tmp_path / "a.png").resolve()), "objects": [rug, lamp]}]
    )
    RecordLog(work / "describe_target" / "records.jsonl", "pair_id").write(
        [{"pair_id": "one", "objects": [{"name": "rug", "descriptors": ["blue", "round"]}], "reuse": 0.5}]
    )
    RecordLog(work / "write_modifications" / "records.jsonl", "pair_id").write(
        [{"pair_id": "one", "sentences": ["Make the rug blue.", NASTY]}, {"pair_id": "two", "sentences": ["Add it."]}]
    )
    RecordLog(work / "verify_sentences" / "records.jsonl", "sentence_id").write(
        [{"sentence_id": "one/0", "pair_id": "one", "sentence": "Make the rug blue.", "holds": False}]
    )
    return out
