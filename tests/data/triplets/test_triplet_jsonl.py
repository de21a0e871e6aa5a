from __future__ import annotations

import json
import logging
import unicodedata

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.triplet_jsonl import TripletJSONL


def test_triplets(assets):
    source = TripletJSONL(assets / "jsonl")
    assert isinstance(source, TripletSource)
    first, second = source.triplets("train")
    assert (first.query_id, first.reference_image, first.target_image) == ("t1", "images/a.png", "images/b.png")
    assert first.modification_texts == ("make it blue", "a blue one")
    assert first.distractors == ("images/c.png",)
    assert (second.query_id, second.modification_texts) == ("2", ("make it red",))
    assert source.image_path("train", "images/a.png") == assets / "jsonl/images/a.png"


def test_queries_gallery_and_protocol_follow_the_records(assets):
    source = TripletJSONL(assets / "jsonl")
    first, second = source.queries("val")
    assert first.relevant_ids == ("images/b.png", "images/d.png")
    assert second.relevant_ids == ("images/a.png",)
    assert source.triplets("val")[0].relevant_ids == first.relevant_ids
    assert second.group_member_ids == ("images/a.png", "images/b.png", "images/c.png")
    order = [image.image_id for image in source.gallery("val")]
    assert order == [f"images/{name}.png" for name in "abdc"]
    protocol = source.protocol("val")
    assert (protocol.name, protocol.exclude_reference) == ("own_data_val", True)
    assert (protocol.subset_ks, protocol.map_ks) == ((1, 2, 3), (5, 10, 25, 50))
    assert source.protocol("train").subset_ks == source.protocol("train").map_ks == ()
    assert source.queries("train")[0].text == "make it blue a blue one"
    assert "images/c.png" in [image.image_id for image in source.gallery("train")]


def test_a_split_without_targets(assets):
    source = TripletJSONL(assets / "jsonl")
    assert source.queries("test")[0].target_image is None
    assert source.protocol("test").answers_hidden
    with pytest.raises(ValueError, match="query 'q1': cannot train without 'target_image'"):
        source.triplets("test")


def test_good4cir_output(assets, caplog):
    source = TripletJSONL(assets / "jsonl", files={"train": "dataset.json"}, name="mine")
    with caplog.at_level(logging.WARNING):
        (triplet,) = source.triplets("train")
    assert (triplet.query_id, triplet.target_image) == ("dataset-0", "images/b.png")
    assert triplet.modification_texts == ("Add a hat.", "Remove the scarf.")
    assert "left out 1 records without a caption" in caplog.text
    assert len(source.queries("val")) == 2
    assert source.protocol("val").name == "mine_val"


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "shop").mkdir()
    line = {"query_id": "1", "reference_image": "a.png", "modification_texts": ["x"], "target_image": "b.png"}
    (tmp_path / "shop/pairs.jsonl").write_text(json.dumps(line))
    source = TripletJSONL(tmp_path, files={"val": "shop/pairs.jsonl"})
    assert [image.path for image in source.gallery("val")] == [tmp_path / "shop/a.png", tmp_path / "shop/b.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_id": None}, "key 'query_id' is missing"),
        ({"query_id": ["a"]}, "key 'query_id' must be a string"),
        ({"query_id": "t1"}, "query id 't1' occurs twice"),
        ({"reference_image": None}, r"train\.jsonl:2 \(query_id 2\): key 'reference_image' is missing"),
        ({"modification_texts": []}, "key 'modification_texts' holds no text"),
        ({"modification_texts": [" "]}, "key 'modification_texts' holds no text"),
        ({"modification_texts": {"a": 1}}, "'modification_texts' must be a list of strings, found an object"),
        ({"target_image": "../b.png"}, "key 'target_image': .*is refused"),
        ({"target_image": "/data/b.png"}, "key 'target_image': .*is refused"),
        ({"target_image": None}, "1 of 2 records have no 'target_image'"),
        ({"relevant_ids": ["images/z.png"]}, "'target_image' must be among them"),
        ({"group_member_ids": ["images/a.png"]}, "must hold 'reference_image' and 'target_image'"),
        ({"distractors": "images/c.png"}, "'distractors' must be a list of strings"),
        ({"distractor": ["images/c.png"]}, "unknown key 'distractor'; did you mean 'distractors'"),
        ({"target_imag": "images/c.png"}, "did you mean 'target_image'"),
    ],
)
def test_broken_records(copy_of, change, message):
    path = copy_of("jsonl") / "train.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
    with pytest.raises(ValueError, match=message):
        TripletJSONL(path.parent).triplets("train")


def test_urls_are_refused_with_the_way_out(copy_of, edit_json):
    root = copy_of("jsonl")
    edit_json(
        root / "dataset.json", lambda records: records[0].update(reference_image="https://shop.example/images/a.png")
    )
    with pytest.raises(ValueError, match=r"record 0: key 'reference_image' is a URL.*Fetch them first.*docs/own_data"):
        TripletJSONL(root, files={"train": "dataset.json"}).triplets("train")


def test_files_are_below_the_root_and_for_known_splits(tmp_path):
    with pytest.raises(ValueError, match="is refused"):
        TripletJSONL(tmp_path, files={"train": "../x.jsonl"})
    with pytest.raises(ValueError, match="no split 'dev'"):
        TripletJSONL(tmp_path, files={"dev": "x.jsonl"})
    with pytest.raises(ValueError, match=r"val\.jsonl is not there; docs/own_data\.md"):
        TripletJSONL(tmp_path).queries("val")
    with pytest.raises(ValueError, match="experiment=cir_rooms"):
        TripletJSONL(tmp_path / "none").queries("val")


def _spelt(path: str, way: str) -> str:
    return {
        "dot": f"./{path}",
        "twice": path.replace("/", "//"),
        "inside": path.replace("/", "/./"),
        "apart": unicodedata.normalize("NFD", path),
    }[way]


@pytest.mark.parametrize("way", ["dot", "twice", "inside", "apart"])
@pytest.mark.parametrize("key", ["reference_image", "target_image", "relevant_ids", "group_member_ids", "distractors"])
def test_a_picture_in_two_spellings_is_one(tmp_path, key, way):
    names = [f"images/{name}é.png" for name in "abcd"]
    plain = [
        {
            "query_id": f"q{number}",
            "reference_image": names[number],
            "modification_texts": ["x"],
            "target_image": names[number + 1],
            "relevant_ids": names[number + 1 : number + 2],
            "group_member_ids": names[number : number + 2],
            "distractors": names[3:],
        }
        for number in range(2)
    ]
    respelt = [dict(record) for record in plain]
    value = respelt[0][key]
    respelt[0][key] = _spelt(value, way) if isinstance(value, str) else [_spelt(name, way) for name in value]
    for folder, records in (("plain", plain), ("respelt", respelt)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "val.jsonl").write_text("\n".join(map(json.dumps, records)))
    one, other = TripletJSONL(tmp_path / "plain"), TripletJSONL(tmp_path / "respelt")
    assert other.queries("val") == one.queries("val")
    assert other.triplets("val") == one.triplets("val")
    assert [image.image_id for image in other.gallery("val")] == [image.image_id for image in one.gallery("val")]
    assert len(other.gallery("val")) == 4


def test_a_list_that_holds_one_picture_in_two_spellings_is_refused(tmp_path):
    line = {"query_id": "1", "reference_image": "a.png", "modification_texts": ["x"], "target_image": "b.png"}
    (tmp_path / "val.jsonl").write_text(json.dumps({**line, "distractors": ["c.png", "./c.png"]}))
    with pytest.raises(ValueError, match=r"val\.jsonl:1 \(query_id 1\): key 'distractors' holds 'c.png' twice, in two"):
        TripletJSONL(tmp_path).queries("val")
