from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_lasco import record as of_lasco

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.circo import CIRCO
from diptych.data.triplets.circus import CIRCUS
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.fashioniq import FashionIQ
from diptych.data.triplets.lasco import LaSCo


def listed(dataset: str, reference: str, target: str, text: str, kind: str = "composition_required") -> dict:
    """Invented, with the keys of the published list that are read."""
    return {
        "dataset": dataset,
        "hidden_category": kind,
        "query_idx": 4,
        "query_text": text,
        "query_image_path": f"<path_to_user_home>/somewhere/{reference}.jpg",
        "target_image_path": f"<path_to_user_home>/somewhere/{target}.jpg",
    }


LIST = [
    listed("circo", "000000000012", "000000000015", "is at night", "unresolved"),
    listed("cirr", "dev-1-0-img0", "dev-0-0-img0", "Same kite seen from below."),
    listed("fashioniq", "B0VAL002", "B0VAL001", "Is red and (very) shiny."),
    listed("fashioniq", "B0VAL009", "B0VAL001", "Is of another category."),
    listed("lasco", "COCO_val2014_000000000042", "COCO_val2014_000000000073", "there are NO dogs."),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "circus"
    (folder / "final_dataset").mkdir(parents=True)
    write(folder, LIST)
    return folder


def write(root: Path, records: list[dict]) -> None:
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (root / "final_dataset/all_validated_queries.jsonl").write_text(lines)


def test_the_listed_queries_are_the_sets_own(root, assets):
    cirr = CIRR(assets / "cirr")
    source = CIRCUS(root, "cirr", cirr)
    assert isinstance(source, TripletSource)
    (query,) = source.queries("val")
    assert query.query_id == "90" and query.text == cirr.queries("val")[1].text
    assert query.aspects == ("composition_required",)
    assert query.group_member_ids == cirr.queries("val")[1].group_member_ids
    assert source.gallery("val") == cirr.gallery("val")
    protocol = source.protocol("val")
    assert (protocol.name, protocol.primary_metric, protocol.average_of) == ("circus_cirr", "recall_at_10", ())
    assert protocol.aspect_metrics == ("recall_at_10",) and 10 in protocol.recall_ks
    assert (protocol.gallery, protocol.exclude_reference) == (
        cirr.protocol("val").gallery,
        cirr.protocol("val").exclude_reference,
    )


def test_ids_are_read_off_the_paths_of_every_set(root, assets):
    (of_circo,) = CIRCUS(root, "circo", CIRCO(assets / "circo")).queries("val")
    assert (of_circo.query_id, of_circo.relevant_ids, of_circo.aspects) == ("1", ("15",), ("unresolved",))
    (of_dress,) = CIRCUS(root, "fashioniq", FashionIQ(assets / "fashioniq", "dress")).queries("val")
    assert of_dress.query_id == "dress-1"


def test_of_two_queries_with_the_same_images_the_text_decides(root, tmp_path):
    folder = tmp_path / "lasco"
    folder.mkdir()
    records = [of_lasco(1, 42, "There are two dogs", 73), of_lasco(2, 42, "There are no dogs", 73)]
    (folder / "lasco_val.json").write_text(json.dumps(records))
    (query,) = CIRCUS(root, "lasco", LaSCo(folder)).queries("val")
    assert query.query_id == "2"
    write(root, [{**LIST[4], "query_text": "There are four dogs"}])
    with pytest.raises(ValueError, match="lasco has no query from 42 to 73 with this text: .*docs/circus"):
        CIRCUS(root, "lasco", LaSCo(folder)).queries("val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_category": "x"}, r"2 \(query_idx 4\): key 'hidden_category' must be one of composition_required, "),
        ({"target_image_path": "dev-7-0-img0.jpg"}, "cirr has no query from dev-1-0-img0 to dev-7-0-img0"),
        ({"query_image_path": None}, "key 'query_image_path' is missing"),
    ],
)
def test_a_list_that_does_not_fit_the_set(root, assets, change, message):
    write(root, [LIST[0], LIST[1] | change])
    with pytest.raises(ValueError, match=message):
        CIRCUS(root, "cirr", CIRR(assets / "cirr")).queries("val")


def test_what_is_twice_missing_or_unknown_is_named(root, assets, tmp_path):
    cirr = CIRR(assets / "cirr")
    write(root, [LIST[1], LIST[1]])
    with pytest.raises(ValueError, match="query 90 of cirr is listed twice"):
        CIRCUS(root, "cirr", cirr).queries("val")
    write(root, LIST[:1])
    with pytest.raises(ValueError, match=r"no query of cirr \(dataset 'cirr'\) is listed"):
        CIRCUS(root, "cirr", cirr).queries("val")
    write(root, [listed("circo", "photo", "000000000015", "")])
    with pytest.raises(ValueError, match="must end in the file name of a COCO image, found 'photo'"):
        CIRCUS(root, "circo", CIRCO(assets / "circo")).queries("val")
    with pytest.raises(ValueError, match="no benchmark 'genecis'; choose one of cirr, circo, fashioniq, lasco"):
        CIRCUS(root, "genecis", cirr)
    with pytest.raises(ValueError, match="no training split"):
        CIRCUS(root, "cirr", cirr).triplets("train")
    with pytest.raises(ValueError, match="no split 'test'; choose one of val"):
        CIRCUS(root, "cirr", cirr).queries("test")
    with pytest.raises(ValueError, match=r"No CIRCUS data: .*docs/circus\.md says how to get it"):
        CIRCUS(tmp_path / "none", "cirr", cirr).queries("val")


def test_the_set_is_what_is_missing_where_it_is(root, tmp_path):
    with pytest.raises(ValueError, match=r"No CIRR data: .*docs/cirr\.md"):
        CIRCUS(root, "cirr", CIRR(tmp_path / "none")).queries("val")
