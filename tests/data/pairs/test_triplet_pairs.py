"""Pairs of triplet sources: each once, under the ids of the records, and read back by what the annotation reads."""

from __future__ import annotations

import json

import pytest

from diptych.contracts.retrieval import Query
from diptych.data.pairs.image_pairs import ImagePair, read_pairs
from diptych.data.pairs.triplet_pairs import pairs_of
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.storage.record_log import RecordLog
from diptych.synthetic.rooms.source import Rooms
from tiny_sets import tiny_set


class OnlyEvaluated:
    """A source like CIRCO: no triplets, and a split whose targets are hidden."""

    name, splits = "only_evaluated", ("val", "test")

    def __init__(self, root):
        self.root = root

    def queries(self, split):
        target = None if split == "test" else "b.jpg"
        return [Query("7", "a.jpg", "text", target)]

    def image_path(self, split, image_id):
        return self.root / image_id


def own(folder, *triplets):
    """Triplets `(query id, reference, target)` of a folder of one's own."""
    folder.mkdir(exist_ok=True)
    records = [
        {"query_id": query_id, "reference_image": reference, "modification_texts": ["x"], "target_image": target}
        for query_id, reference, target in triplets
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, records)))
    for image in {image for _, *images in triplets for image in images}:
        (folder / image).write_bytes(b"x")
    return TripletJSONL(folder)


def test_the_annotation_reads_the_pairs_of_cirr_under_its_pairids(tmp_path):
    source = CIRR(tiny_set("cirr", tmp_path / "cirr"))
    found = pairs_of({"cirr": source}, "train")
    RecordLog(tmp_path / "pairs.jsonl").write(pair.line(tmp_path.resolve()) for pair in found.pairs)
    expected = tuple(
        ImagePair(
            triplet.query_id,
            str(source.image_path("train", triplet.reference_image).resolve()),
            str(source.image_path("train", triplet.target_image).resolve()),
            triplet.group,
        )
        for triplet in source.triplets("train")
    )
    assert len(expected) == found.num_records == 12 and expected[0].pair_id == "100"
    assert read_pairs(tmp_path / "pairs.jsonl").pairs == expected
    line = json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    assert (line["source"], line["query_ids"]) == ("cirr/train", ["100"])
    assert line["reference_image"].startswith("cirr/img_raw/train/")


def test_a_pair_that_occurs_again_is_kept_once_with_all_its_records(tmp_path):
    records = [("1", "a", "b"), ("2", "b", "a"), ("3", "a", "b"), ("4", "a", "a"), ("5", "b", "c")]
    found = pairs_of({"own": own(tmp_path, *records)}, "train")
    assert [(pair.pair_id, pair.query_ids) for pair in found.pairs] == [("1", ("1", "3")), ("2", ("2",)), ("5", ("5",))]
    assert (found.num_records, found.repeated, found.unchanged) == (5, ("3",), ("4",))
    assert [path.name for path in found.images] == ["a", "b", "c"]


def test_ids_of_several_sources_say_which(tmp_path):
    sources = {"one": own(tmp_path / "one", ("1", "a", "b")), "two": own(tmp_path / "two", ("1", "a", "b"))}
    rooms = HotelCIR(tiny_set("rooms", tmp_path / "rooms"))
    ids = [pair.pair_id for pair in pairs_of({**sources, "hotel": rooms}, "train").pairs]
    assert ids[:3] == ["one-1", "two-1", "hotel-0"]
    clash = own(tmp_path / "three", ("1", "a", "b"), ("two-1", "b", "a"))
    with pytest.raises(ValueError, match="two/train: two pairs have the id 'two-1'"):
        pairs_of({"one": sources["one"], "two": clash}, "train")


def test_sources_without_a_training_split_are_asked_for_their_queries(tmp_path):
    source = OnlyEvaluated(tmp_path)
    (pair,) = pairs_of({"only": source}, "val").pairs
    assert (pair.pair_id, pair.source, pair.target_image) == ("7", "only/val", tmp_path / "b.jpg")
    with pytest.raises(ValueError, match="only_evaluated's test split hides its targets"):
        pairs_of({"only": source}, "test")
    with pytest.raises(ValueError, match="CIRR's test split has no targets"):
        pairs_of({"cirr": CIRR(tiny_set("cirr", tmp_path / "cirr"))}, "test")


def test_a_linked_image_keeps_its_name(tmp_path):
    """Names of images are read from the ends of paths; a link to a file of another name must not change them."""
    source = own(tmp_path, ("1", "a.png", "b.png"))
    (tmp_path / "a.png").rename(tmp_path / "0123.bin")
    (tmp_path / "a.png").symlink_to("0123.bin")
    (pair,) = pairs_of({"own": source}, "train").pairs
    assert pair.line(tmp_path.resolve())["reference_image"] == "a.png"
    assert pair.line(tmp_path / "elsewhere")["reference_image"] == f"{tmp_path.resolve()}/a.png"


def test_pairs_of_an_aspect_alone(tmp_path):
    source = Rooms(tiny_set("rooms", tmp_path / "rooms"))
    queries = source.queries("train")
    wanted = {query.query_id for query in queries if "changes_2" in query.aspects}
    found = pairs_of({"rooms": source}, "train", ["changes_2"])
    assert 0 < len(wanted) < len(queries)
    assert {query_id for pair in found.pairs for query_id in pair.query_ids} == wanted
