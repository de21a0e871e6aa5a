from __future__ import annotations

import json

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.fine_cirr import FineCIRR

TEXT = "1. Add a second kite.\n2. Replace the sky with a grey one."


@pytest.fixture
def root(copy_of):
    """CIRR's invented records with other texts, a line each, as the published example has them."""
    root = copy_of("cirr")
    records = json.loads((root / "captions/cap.rc2.val.json").read_text())
    for record in records:
        del record["caption"], record["target_soft"]
        record["finemt"] = TEXT
    (root / "finemt_captions").mkdir()
    (root / "finemt_captions/cirr.fine.val.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return root


def test_pairs_gallery_and_metrics_are_cirrs(root):
    source, cirr = FineCIRR(root), CIRR(root)
    assert isinstance(source, TripletSource)
    for ours, theirs in zip(source.queries("val"), cirr.queries("val"), strict=True):
        assert ours.text == TEXT
        assert (ours.query_id, ours.reference_image, ours.target_image, ours.group_member_ids) == (
            *(theirs.query_id, theirs.reference_image, theirs.target_image),
            theirs.group_member_ids,
        )
    assert source.gallery("val") == cirr.gallery("val")
    assert source.triplets("val")[0].modification_texts == (TEXT,)
    ours, theirs = source.protocol("val"), cirr.protocol("val")
    assert (ours.name, ours.text_template) == ("fine_cirr_val", "{finemt}")
    assert (ours.gallery, ours.exclude_reference, ours.recall_ks, ours.subset_ks, ours.average_of) == (
        *(theirs.gallery, theirs.exclude_reference, theirs.recall_ks, theirs.subset_ks),
        theirs.average_of,
    )
    assert source.submission_format is None and not source.published_counts


def test_the_folder_of_the_published_code_is_read_too(root):
    (root / "finemt_captions/cirr.fine.val.jsonl").rename(root / "captions/cirr.fine.val.jsonl")
    assert len(FineCIRR(root).queries("val")) == 2


def test_what_is_missing_or_broken_is_named(root, tmp_path):
    path = root / "finemt_captions/cirr.fine.val.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n\n{second.replace('finemt', 'caption')}\n")
    with pytest.raises(ValueError, match=r"cirr\.fine\.val\.jsonl.*3 \(pairid 90\): key 'finemt' is missing"):
        FineCIRR(root).queries("val")
    path.write_text(f"{first}\n{first}\n")
    with pytest.raises(ValueError, match="query id '101' occurs twice"):
        FineCIRR(root).queries("val")
    with pytest.raises(ValueError, match=r"finemt_captions/cirr\.fine\.train\.jsonl is not there; docs/fine_cirr\.md"):
        FineCIRR(root).queries("train")
    for split in ("test", "test1"):
        with pytest.raises(ValueError, match=f"Fine-CIRR has no split '{split}'; choose one of train, val"):
            FineCIRR(root).queries(split)
    with pytest.raises(ValueError, match=r"docs/fine_cirr\.md says how to get it"):
        FineCIRR(tmp_path / "none").queries("val")
