from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.lasco import LaSCo


def record(qid: int, reference: int, text: str, target: int, split: str = "val") -> dict:
    """Invented, in the published layout."""
    named = {
        key: [number, f"{split}2014/COCO_{split}2014_{number:012d}.jpg"]
        for key, number in (("query-image", reference), ("target-image", target))
    }
    return {"qid": qid, "query-text": text, **named}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "lasco"
    files = {
        "lasco_train.json": [record(9000, 9, "The cat sleeps", 30, "train")],
        "lasco_train_corpus.json": {str(number): f"train2014/COCO_train2014_{number:012d}.jpg" for number in (30, 9)},
        "lasco_val.json": [
            record(28714000, 28714, "The person is riding the bike", 277005),
            record(42001, 42, "There are two dogs", 73),
            record(42001, 42, "There are no dogs", 277005),
        ],
        "lasco_val_corpus.json": [
            {"id": number, "path": f"val/val2014/COCO_val2014_{number:012d}.jpg"} for number in (42, 73, 277005, 500)
        ],
    }
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_records(root):
    source = LaSCo(root)
    assert isinstance(source, TripletSource)
    first, second, third = source.queries("val")
    assert (first.query_id, first.reference_image, first.text) == ("28714000", "28714", "The person is riding the bike")
    assert (first.target_image, first.relevant_ids) == ("277005", ("277005",))
    assert [second.query_id, third.query_id] == ["42001", "42001-2"]  # nothing says that a question has one record
    (triplet,) = source.triplets("train")
    assert (triplet.query_id, triplet.modification_texts, triplet.target_image) == ("9000", ("The cat sleeps",), "30")


def test_the_gallery_is_the_published_list_of_either_form(root):
    source = LaSCo(root)
    assert [image.image_id for image in source.gallery("val")] == ["42", "73", "277005", "500"]
    assert source.gallery("val")[0].path == root / "val2014/COCO_val2014_000000000042.jpg"
    assert [image.path for image in source.gallery("train")] == [
        root / "train2014/COCO_train2014_000000000030.jpg",
        root / "train2014/COCO_train2014_000000000009.jpg",
    ]
    assert source.image_path("val", "28714").name == "COCO_val2014_000000028714.jpg"  # a reference outside the list
    assert source.image_path("val", "500").name == "COCO_val2014_000000000500.jpg"  # in the list alone
    with pytest.raises(ValueError, match=r"lasco_val_corpus\.json: no image has the id '9'"):
        source.image_path("val", "9")


def test_training_needs_no_list_and_the_clone_is_read_as_it_is(root):
    downloads = root / "downloads"
    downloads.mkdir()
    for path in root.glob("*.json"):
        path.rename(downloads / path.name)
    (downloads / "lasco_train_corpus.json").unlink()
    source = LaSCo(root)
    (triplet,) = source.triplets("train")
    assert source.image_path("train", triplet.target_image).parent == root / "train2014"
    with pytest.raises(ValueError, match=r"lasco_train_corpus\.json is not there; docs/lasco\.md shows"):
        source.gallery("train")


def test_the_exclusion_stands_in_the_protocol(root):
    assert not LaSCo(root).protocol("val").exclude_reference
    protocol = LaSCo(root, exclude_reference=True).protocol("val")
    assert (protocol.name, protocol.exclude_reference, protocol.recall_ks) == ("lasco_val", True, (1, 5, 10, 50))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("lasco_val", lambda c: c[1].pop("qid"), r"lasco_val\.json, record 1: key 'qid' is missing"),
        ("lasco_val", lambda c: c[0].pop("query-text"), r"record 0 \(qid 28714000\): key 'query-text' is missing"),
        (
            "lasco_val",
            lambda c: c[0].update({"query-image": 5}),
            "'query-image' must be a list of an image's number and",
        ),
        ("lasco_val", lambda c: c[0]["target-image"].reverse(), "'target-image' must be a list of an image's number"),
        (
            "lasco_val",
            lambda c: c[0].update({"target-image": [1, "../val2014/../a.jpg"]}),
            "does not end in train2014/",
        ),
        ("lasco_val", lambda c: c[0].update({"target-image": [1, "val2014/"]}), "does not end in train2014/<file>"),
        ("lasco_val", lambda c: c[0].update({"target-image": [1, "val2014/.."]}), r"record 0 .*refused"),
        ("lasco_val", lambda c: c.clear(), "no records in it"),
        ("lasco_val_corpus", lambda c: c.append(c[0]), "record 4: image id 42 occurs twice"),
        (
            "lasco_val_corpus",
            lambda c: c[2].update(path="a.jpg"),
            r"val_corpus\.json, record 2: 'a\.jpg' does not end in",
        ),
        ("lasco_val_corpus", lambda c: c.insert(0, 3), "record 0: expected an object with the keys id and path"),
        ("lasco_val_corpus", lambda c: c.clear(), "no images in it"),
        ("lasco_train_corpus", lambda c: c.update(x="train2014/a.jpg"), "key 'x': key 'id' must be an integer"),
        ("lasco_train_corpus", lambda c: c.update({"7": 7}), "key '7': key 'path' must be a string"),
    ],
)
def test_broken_files(root, edit_json, name, change, message):
    edit_json(root / f"{name}.json", change)
    with pytest.raises(ValueError, match=message):
        LaSCo(root).gallery("train" if "train" in name else "val")
        LaSCo(root).queries("val")


def test_missing_data_names_the_page(tmp_path):
    with pytest.raises(ValueError, match=r"No LaSCo data: .*docs/lasco\.md says how to get it"):
        LaSCo(tmp_path / "none").queries("val")
    with pytest.raises(ValueError, match="no split 'test'; choose one of train, val"):
        LaSCo(tmp_path).queries("test")
