from __future__ import annotations

import json

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.fine_fashioniq import FineFashionIQ

RECORDS = [  # invented, in the layout of the published example
    {"target": "B0VAL003", "candidate": "B0VAL002", "finemt": "1. Shorten the sleeves.\n2. Add a belt."},
    {"target": "B0VAL001", "candidate": "B0VAL003", "finemt": "Make it red."},
]


@pytest.fixture
def root(copy_of):
    root = copy_of("fashioniq")
    write(root, RECORDS)
    return root


def write(root, records):
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (root / "captions/fiq.fine.dress.val.jsonl").write_text(lines)


def test_records(root):
    source = FineFashionIQ(root, "dress")
    assert isinstance(source, TripletSource)
    first, second = source.queries("val")
    assert (first.query_id, first.reference_image, first.target_image) == ("dress-0", "B0VAL002", "B0VAL003")
    assert (first.text, second.text) == (RECORDS[0]["finemt"], "Make it red.")
    assert second.relevant_ids == ("B0VAL001",)
    assert source.triplets("val")[0].modification_texts == (RECORDS[0]["finemt"],)
    assert not source.published_counts


def test_the_gallery_is_what_the_pairs_use_and_the_reference_is_out(root):
    source = FineFashionIQ(root, "dress")
    assert [image.image_id for image in source.gallery("val")] == ["B0VAL002", "B0VAL003", "B0VAL001"]
    protocol = source.protocol("val")
    assert (protocol.name, protocol.exclude_reference, protocol.recall_ks) == ("fine_fashioniq", True, (1, 10, 50))
    assert protocol.gallery == "references and targets of the pairs of fiq.fine.dress.val.jsonl"
    assert (protocol.primary_metric, protocol.average_of) == ("average", ("recall_at_10", "recall_at_50"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"target": "B0VAL009"},
            r"1 \(candidate B0VAL002\): key 'target' names 'B0VAL009', which is not in the split's",
        ),
        ({"finemt": " "}, "key 'finemt' is blank"),
        ({"finemt": ["a", "b"]}, "key 'finemt' must be a string"),
    ],
)
def test_broken_records(root, change, message):
    write(root, [RECORDS[0] | change, RECORDS[1]])
    with pytest.raises(ValueError, match=message):
        FineFashionIQ(root, "dress").queries("val")


def test_what_is_missing_is_named(root):
    with pytest.raises(ValueError, match=r"fiq\.fine\.dress\.train\.jsonl is not there; docs/fine_cirr\.md"):
        FineFashionIQ(root, "dress").queries("train")
    with pytest.raises(ValueError, match="no split 'test'; choose one of train, val"):
        FineFashionIQ(root, "dress").queries("test")
    with pytest.raises(ValueError, match="no category 'shoe'"):
        FineFashionIQ(root, "shoe")
