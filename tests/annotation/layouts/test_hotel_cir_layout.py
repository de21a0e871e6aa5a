"""An annotation in Hotel-CIR's layout, and its reader."""

from __future__ import annotations

import json

import pytest

from diptych.annotation.layouts.hotel_cir import HotelCIRLayout
from diptych.contracts.retrieval import Triplet
from diptych.data.triplets.hotel_cir import HotelCIR

RECORDS = [
    {
        "query_id": "a7",
        "reference_image": "1/7/a.jpg",
        "modification_texts": ["Add a lamp.", "Remove the rug."],
        "target_image": "1/7/b.jpg",
    },
    {
        "query_id": "b2",
        "reference_image": "1/8/a.jpg",
        "modification_texts": ["Add a rug."],
        "target_image": "1/7/b.jpg",
        "group": "chain",
    },
]


def read_back(folder, layout):
    layout.write(folder / layout.file, RECORDS)
    return HotelCIR(folder)


@pytest.mark.parametrize(("split", "images"), [("train", "train"), ("val", "val_test"), ("test", "val_test")])
def test_the_reader_gives_the_same_triplets(tmp_path, split, images):
    layout = HotelCIRLayout(split)
    source = read_back(tmp_path, layout)
    assert source.triplets(split) == [
        Triplet("a7", "1/7/a.jpg", ("Add a lamp.", "Remove the rug."), "1/7/b.jpg", group="1/7"),
        Triplet("b2", "1/8/a.jpg", ("Add a rug.",), "1/7/b.jpg", group="chain"),
    ]
    assert source.image_path(split, "1/7/a.jpg") == tmp_path / layout.image_file("1/7/a.jpg")
    assert layout.image_file("1/7/a.jpg") == f"images/{images}/1/7/a.jpg"


def test_one_string_a_record(tmp_path):
    source = read_back(tmp_path, HotelCIRLayout("val", "each"))
    assert [(query.query_id, query.text) for query in source.queries("val")] == [
        ("a7", "Add a lamp."),
        ("a7-2", "Remove the rug."),
        ("b2", "Add a rug."),
    ]
    captions = json.loads((tmp_path / "captions/hotel_val_data.json").read_text())
    assert all(isinstance(record["difference"], str) for record in captions)
    assert HotelCIRLayout(texts="joined").wordings(["b. a.", "a."], ["a.", "b."]) == ["a. b."]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("/data/images/1/7/a.jpg", "1/7/a.jpg"),
        ("https://x.org/data/1/7/a.jpg?small#top", "1/7/a.jpg"),
        ("/1/7/a.jpg", "1/7/a.jpg"),
    ],
)
def test_the_last_three_segments_are_the_name(image, name):
    assert HotelCIRLayout().image_name(image) == name


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("/a.jpg", "does not end in <folder>/<folder>/<file>"),
        ("https://x.org/a.jpg", "does not end in"),
        ("/b//a.jpg", "does not end in"),
        ("/data/c:/b\\7/a.jpg", "is refused"),
        ("/data/1/7/a#1.jpg", "cut names at '#'"),
    ],
)
def test_images_without_such_a_name_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        HotelCIRLayout().image_name(image)
