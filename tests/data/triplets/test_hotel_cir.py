from __future__ import annotations

import json
import logging

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.hotel_cir import HotelCIR


def test_triplets(assets):
    source = HotelCIR(assets / "hotel_cir")
    assert isinstance(source, TripletSource)
    first, second = source.triplets("train")
    assert (first.query_id, first.reference_image, first.target_image) == ("hotel-0", "1/7/a.jpg", "1/7/b.jpg")
    assert first.modification_texts == ("Swap the lamp for a taller one.",)
    assert first.distractors == ("1/8/c.jpg", "1/8/d.jpg")
    assert second.target_image == "1/7/a.jpg"
    assert second.modification_texts == ("Remove the rug.", "Paint the wall green.", "Add a chair.")


def test_train_and_val_have_their_own_image_folders(assets):
    source = HotelCIR(assets / "hotel_cir")
    assert source.image_path("train", "1/7/a.jpg") == assets / "hotel_cir/images/train/1/7/a.jpg"
    for split in ("val", "test"):
        assert source.image_path(split, "1/7/a.jpg") == assets / "hotel_cir/images/val_test/1/7/a.jpg"


def test_queries_and_their_number_of_changes(assets):
    first, second, third = HotelCIR(assets / "hotel_cir").queries("val")
    assert first.text == "Remove the rug. Add a chair."
    assert first.relevant_ids == ("2/1/b.jpg",)
    assert [query.aspects for query in (first, second, third)] == [("changes_2",), ("changes_3",), ()]


def test_kinds_of_change_are_aspects_each_once(tmp_path):
    """As the rooms set writes them."""
    base = {"query_image": "a/b/1.jpg", "result_image": "a/b/2.jpg", "difference": "..."}
    colour, presence = {"object": "rug", "attribute": "colour"}, {"object": "lamp", "attribute": "presence"}
    records = [
        {**base, "changes": [colour, presence, {**colour, "object": "walls"}]},
        {**base, "changes": [{"object": "rug"}]},
        {**base, "changes": []},
    ]
    (tmp_path / "captions").mkdir()
    file = tmp_path / "captions/hotel_val_data.json"
    file.write_text(json.dumps(records))
    assert [query.aspects for query in HotelCIR(tmp_path).queries("val")] == [
        ("changes_3", "changed_colour", "changed_presence"),
        ("changes_1",),
        ("changes_0",),
    ]
    file.write_text(json.dumps([{**base, "changes": [{"attribute": 3}]}]))
    with pytest.raises(ValueError, match=r"record 0, key 'changes': key 'attribute' must be a string, found"):
        HotelCIR(tmp_path).queries("val")


def test_records_without_a_text_are_counted_and_left_out(assets, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(HotelCIR(assets / "hotel_cir").queries("val")) == 3
    assert "left out 1 records without a text" in caplog.text


def test_gallery_and_its_switches(assets):
    source = HotelCIR(assets / "hotel_cir")
    assert [image.image_id for image in source.gallery("val")] == ["2/1/a.jpg", "2/1/b.jpg", "2/1/c.jpg"]
    assert source.gallery("val")[0].path == assets / "hotel_cir/images/val_test/2/1/a.jpg"
    protocol = source.protocol("val")
    assert (protocol.exclude_reference, protocol.recall_ks) == (False, (1, 5, 10, 50, 100))
    assert protocol.aspect_metrics == ("recall_at_1",)
    other = HotelCIR(assets / "hotel_cir", exclude_reference=True, use_distractors=True)
    assert [image.image_id for image in other.gallery("val")][3:] == ["2/2/c.jpg"]
    assert other.protocol("val").exclude_reference
    assert "distractors" in other.protocol("val").gallery


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[0].pop("difference"), r"hotel_val_data\.json, record 0: key 'difference' is missing"),
        (lambda r: r[0].update(query_image="a.jpg"), "'query_image': 'a.jpg' does not end in <folder>/<folder>/<file>"),
        (lambda r: r[0].update(query_image="a//b.jpg"), "does not end in"),
        (lambda r: r[0].update(result_image="https://x/../../a.jpg"), "key 'result_image': .*is refused"),
        (lambda r: r[0].update(distractors=["x/y/z.jpg", 1]), "'distractors' must be a list of strings"),
        (lambda r: r[0].update(distractors=["../../z.jpg"]), "key 'distractors': .*is refused"),
        (lambda r: r[1].update(changes=3), "'changes' must be a list of objects"),
        (lambda r: r.__delitem__(slice(3)), "no record has a text under 'difference'"),
    ],
)
def test_broken_records(copy_of, edit_json, change, message):
    root = copy_of("hotel_cir")
    edit_json(root / "captions/hotel_val_data.json", change)
    with pytest.raises(ValueError, match=message):
        HotelCIR(root).queries("val")


def test_absent_data(assets, tmp_path):
    with pytest.raises(ValueError, match=r"looked in .*none.*docs/hotel_cir\.md.*experiment=cir_rooms"):
        HotelCIR(tmp_path / "none").triplets("train")
    with pytest.raises(ValueError, match=r"hotel_test_data\.json is not there"):
        HotelCIR(assets / "hotel_cir").queries("test")
