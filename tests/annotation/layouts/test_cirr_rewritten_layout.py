"""An annotation in CIRR_R's layout, and its reader."""

from __future__ import annotations

import json
import shutil

import pytest

from diptych.annotation.layouts.cirr_rewritten import CIRRRewrittenLayout
from diptych.contracts.retrieval import Triplet
from diptych.data.triplets.cirr_rewritten import CIRRRewritten
from tiny_sets import tiny_set

RECORDS = [
    {
        "query_id": "12060",
        "reference_image": "dev-0-0-img0",
        "modification_texts": ["Add a cat.", "Add a dog. Add a cat."],
        "target_image": "dev-1-0-img1",
        "group": "six images",
    },
    {
        "query_id": "7",
        "reference_image": "dev-2-0-img0",
        "modification_texts": ["Paint it blue."],
        "target_image": "dev-0-0-img0",
    },
]
FIRST = ("12060", "dev-0-0-img0", ("Add a cat.", "Add a dog. Add a cat."), "dev-1-0-img1")


def read_back(folder, layout, records=RECORDS):
    tiny_set("cirr", folder / "cirr")
    shutil.rmtree(folder / "cirr/rewritten_captions")
    layout.write(folder / "cirr" / layout.file, records)
    return CIRRRewritten(folder / "cirr").triplets(layout.split)


def test_the_reader_gives_the_same_triplets(tmp_path):
    triplets = read_back(tmp_path, CIRRRewrittenLayout("val"))
    assert triplets[0] == Triplet(*FIRST, group="six images")
    assert triplets[1] == Triplet("7", "dev-2-0-img0", ("Paint it blue.",), "dev-0-0-img0")
    written = json.loads((tmp_path / "cirr/rewritten_captions/rewritten_val.json").read_text())
    assert written[0] == {
        "query_image_url": "dev-0-0-img0.png",
        "retrieved_image_url": "dev-1-0-img1.png",
        "difference_captions": ["Add a cat.", "Add a dog. Add a cat."],
        "pair_id": "12060",
        "group": "six images",
    }


def test_with_each_every_text_is_a_record_of_one_string(tmp_path):
    layout = CIRRRewrittenLayout("val", texts="each")
    assert layout.wordings(["b a", "a"], ["a", "b"]) == ["b a", "a"]
    found = [(triplet.query_id, triplet.modification_texts) for triplet in read_back(tmp_path, layout)]
    assert found == [
        ("12060", ("Add a cat.",)),
        ("12060-2", ("Add a dog. Add a cat.",)),
        ("7", ("Paint it blue.",)),
    ]
    captions = json.loads((tmp_path / "cirr" / layout.file).read_text())
    assert [record["difference_captions"] for record in captions] == [text for _, (text,) in found]


def test_joined_has_every_sentence_once(tmp_path):
    layout = CIRRRewrittenLayout("val", texts="joined")
    texts = layout.wordings(["Add a cat.", "Add a dog. Add a cat."], ["Add a cat.", "Add a dog."])
    assert texts == ["Add a cat. Add a dog."]
    (triplet,) = read_back(tmp_path, layout, [{**RECORDS[0], "modification_texts": texts}])
    assert (triplet.query_id, triplet.modification_texts) == ("12060", ("Add a cat. Add a dog.",))
    (record,) = json.loads((tmp_path / "cirr" / layout.file).read_text())
    assert record["difference_captions"] == "Add a cat. Add a dog."


def test_names_are_those_of_cirr():
    layout = CIRRRewrittenLayout()
    assert layout.file == "rewritten_captions/rewritten_train.json"
    for image in ("/data/cirr/img_raw/train/34/train-1-0-img0.png", "https://x.org/train-1-0-img0.png?size=2#top"):
        assert layout.image_name(image) == "train-1-0-img0"
    for image, message in (("/a/b.jpg", "no image of CIRR"), ("/a/.png", "no image"), ("/a/b?.png", "rename the file")):
        with pytest.raises(ValueError, match=message):
            layout.image_name(image)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="texts=all is not known; choose one of list, each, joined"):
        CIRRRewrittenLayout(texts="all")
    with pytest.raises(ValueError, match="split=dev is not known; choose one of train, val, test"):
        CIRRRewrittenLayout("dev")


def test_ids_that_meet_are_told(tmp_path):
    records = [{**RECORDS[0], "query_id": query_id, "modification_texts": ["a", "b"]} for query_id in ("1", "1-2")]
    with pytest.raises(ValueError, match=r"rewritten_val\.json: query id '1-2' occurs twice"):
        read_back(tmp_path, CIRRRewrittenLayout("val", "each"), records)
