from __future__ import annotations

import json

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.m_fashioniq import MFashionIQ

RECORDS = [  # invented, with the keys that the published code reads
    {"target": "B0VAL003", "candidate": "B0VAL002", "mmt": "Shorten the sleeves and add a belt."},
    {"target": "B0VAL001", "candidate": "B0VAL003", "mmt": "Make it red."},
]


@pytest.fixture
def root(copy_of):
    root = copy_of("fashioniq")
    (root / "mmt_captions").mkdir()
    (root / "mmt_captions/cap.dress.val.mmt.json").write_text(json.dumps(RECORDS))
    return root


def test_records_gallery_and_protocol(root):
    source = MFashionIQ(root, "dress")
    assert isinstance(source, TripletSource)
    first, second = source.queries("val")
    assert (first.query_id, first.reference_image, first.target_image) == ("dress-0", "B0VAL002", "B0VAL003")
    assert (first.text, second.text) == (RECORDS[0]["mmt"], "Make it red.")
    assert source.triplets("val")[1].modification_texts == ("Make it red.",)
    assert [image.image_id for image in source.gallery("val")] == ["B0VAL002", "B0VAL003", "B0VAL001"]
    protocol = source.protocol("val")
    assert (protocol.name, protocol.exclude_reference, protocol.recall_ks) == ("m_fashioniq", True, (1, 10, 50))
    assert protocol.gallery == "references and targets of the pairs of cap.dress.val.mmt.json"
    assert protocol.text_template == "{mmt}"


def test_the_folder_of_the_published_code_is_read_too(root):
    path = root / "mmt_captions/cap.dress.val.mmt.json"
    path.rename(root / "captions" / path.name)
    assert len(MFashionIQ(root, "dress").queries("val")) == 2


def test_what_is_missing_or_broken_is_named(root, edit_json):
    edit_json(root / "mmt_captions/cap.dress.val.mmt.json", lambda records: records[1].update(mmt=["a", "b"]))
    with pytest.raises(ValueError, match=r"mmt\.json, record 1 \(candidate B0VAL003\): key 'mmt' must be a string"):
        MFashionIQ(root, "dress").queries("val")
    with pytest.raises(ValueError, match=r"mmt_captions/cap\.dress\.train\.mmt\.json is not there; docs/m_cirr\.md"):
        MFashionIQ(root, "dress").queries("train")
