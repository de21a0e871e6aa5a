from __future__ import annotations

import logging
import shutil

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.cirr_rewritten import CIRRRewritten

NAMES = [f"dev-{i}-0-img0" for i in range(8)]


def test_one_caption_or_a_list(assets):
    source = CIRRRewritten(assets / "cirr")
    assert isinstance(source, TripletSource)
    first, second = source.triplets("val")
    assert (first.reference_image, first.target_image) == (NAMES[0], NAMES[2])  # the URL had a query string
    assert first.modification_texts == ("Add a second kite.",)
    assert second.modification_texts == ("Move the camera below the kite.", "Make the sky darker.")
    query = source.queries("val")[1]
    assert query.text == "Move the camera below the kite. Make the sky darker."
    assert query.relevant_ids == (NAMES[0],)


def test_records_that_cannot_be_used_are_counted_and_left_out(assets, caplog):
    with caplog.at_level(logging.WARNING):
        triplets = CIRRRewritten(assets / "cirr").triplets("val")
    assert [triplet.query_id for triplet in triplets] == ["cirr_r-0", "cirr_r-1"]
    assert "left out 1 records whose images are not in split.rc2.val.json, the first: dev-999-0-img0" in caplog.text
    assert "left out 1 records without a caption" in caplog.text


def test_test_reads_the_image_list_test1(assets):
    source = CIRRRewritten(assets / "cirr")
    (query,) = source.queries("test")
    assert query.reference_image == "test1-0-0-img0"
    assert source.gallery("test")[0].path == assets / "cirr/img_raw/test1/test1-0-0-img0.png"
    assert source.protocol("test").gallery == "all images of split.rc2.test1.json"


def test_png_is_removed_as_a_suffix_only(copy_of, edit_json):
    root = copy_of("cirr")
    edit_json(root / "image_splits/split.rc2.val.json", lambda paths: paths.update({"png.pgn": "./dev/png.pgn.png"}))
    edit_json(
        root / "rewritten_captions/rewritten_val.json",
        lambda records: records[0].update(query_image_url="https://x.example/png.pgn.png#top"),
    )
    assert CIRRRewritten(root).triplets("val")[0].reference_image == "png.pgn"


def test_gallery_is_that_of_cirr(assets):
    source = CIRRRewritten(assets / "cirr")
    assert [image.image_id for image in source.gallery("val")] == NAMES
    assert source.image_path("val", NAMES[1]).name == f"{NAMES[1]}.png"
    assert source.protocol("val").exclude_reference
    assert source.protocol("val").subset_ks == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records[0].pop("query_image_url"), "record 0: key 'query_image_url' is missing"),
        (lambda records: records[1].update(difference_captions=3), "record 1: key 'difference_captions' must be"),
        (lambda records: records.__delitem__(slice(2)), "no record names two images of"),
    ],
)
def test_broken_records(copy_of, edit_json, change, message):
    root = copy_of("cirr")
    edit_json(root / "rewritten_captions/rewritten_val.json", change)
    with pytest.raises(ValueError, match=message):
        CIRRRewritten(root).queries("val")


def test_absent_captions(copy_of):
    root = copy_of("cirr")
    with pytest.raises(ValueError, match=r"rewritten_train\.json is not there"):
        CIRRRewritten(root).triplets("train")
    shutil.rmtree(root / "rewritten_captions")
    with pytest.raises(ValueError, match=r"rewritten_captions is not there; docs/cirr\.md"):
        CIRRRewritten(root).triplets("val")
    with pytest.raises(ValueError, match="experiment=cir_rooms"):
        CIRRRewritten(root / "none").triplets("val")
