from __future__ import annotations

import json

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.m_cirr import MCIRR

TEXT = "Add a kite, and replace the sky with a grey one."


@pytest.fixture
def root(copy_of):
    """CIRR's invented records with other texts, as the published code reads them."""
    root = copy_of("cirr")
    records = json.loads((root / "captions/cap.rc2.val.json").read_text())
    for record in records:
        del record["caption"]
        record["mmt"] = TEXT
    (root / "mmt_captions").mkdir()
    (root / "mmt_captions/cap.rc2.val.mmt.json").write_text(json.dumps(records))
    return root


def test_pairs_gallery_and_metrics_are_cirrs(root):
    source, cirr = MCIRR(root), CIRR(root)
    assert isinstance(source, TripletSource)
    ours, theirs = source.queries("val"), cirr.queries("val")
    assert [query.query_id for query in ours] == [query.query_id for query in theirs] == ["101", "90"]
    assert {query.text for query in ours} == {TEXT}
    assert [query.group_member_ids for query in ours] == [query.group_member_ids for query in theirs]
    assert source.gallery("val") == cirr.gallery("val")
    protocol = source.protocol("val")
    assert (protocol.name, protocol.text_template, protocol.subset_ks) == ("m_cirr_val", "{mmt}", (1, 2, 3))
    assert protocol.exclude_reference and source.submission_format is None


def test_records_without_an_id_are_called_by_their_position(root, edit_json):
    path = root / "mmt_captions/cap.rc2.val.mmt.json"
    edit_json(path, lambda records: records[1].pop("pairid"))
    path.rename(root / "captions" / path.name)  # where the published code looks
    assert [query.query_id for query in MCIRR(root).queries("val")] == ["101", "m_cirr-1"]


def test_what_is_missing_or_broken_is_named(root, edit_json):
    edit_json(root / "mmt_captions/cap.rc2.val.mmt.json", lambda records: records[1].pop("mmt"))
    with pytest.raises(ValueError, match=r"cap\.rc2\.val\.mmt\.json, record 1 \(pairid 90\): key 'mmt' is missing"):
        MCIRR(root).queries("val")
    with pytest.raises(ValueError, match=r"mmt_captions/cap\.rc2\.train\.mmt\.json is not there; docs/m_cirr\.md"):
        MCIRR(root).queries("train")
    with pytest.raises(ValueError, match="M-CIRR has no split 'test1'; choose one of train, val"):
        MCIRR(root).queries("test1")
