from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.circo import CIRCO


def test_queries(assets):
    source = CIRCO(assets / "circo")
    assert isinstance(source, TripletSource)
    first, second = source.queries("val")
    assert (first.query_id, first.reference_image, first.target_image) == ("0", "11", "12")
    assert first.relevant_ids == ("12", "14")
    assert first.text == "has a green boat"
    assert first.aspects == ("addition", "viewpoint")
    assert second.relevant_ids == ("15",)


def test_hidden_split(assets):
    source = CIRCO(assets / "circo")
    assert [(query.target_image, query.relevant_ids, query.aspects) for query in source.queries("test")] == [
        (None, (), ()),
        (None, (), ()),
    ]
    assert source.protocol("test").answers_hidden
    assert not source.protocol("val").answers_hidden


def test_there_is_no_training_split(assets):
    source = CIRCO(assets / "circo")
    for split in ("train", "val"):
        with pytest.raises(ValueError, match="no training split"):
            source.triplets(split)
    with pytest.raises(ValueError, match="no split 'train'; choose one of val, test"):
        source.queries("train")


def test_text_template_and_exclusion_stand_in_the_protocol(assets):
    template = "a picture of {shared_concept} that {relative_caption}"
    source = CIRCO(assets / "circo", exclude_reference=True, text_template=template)
    assert source.queries("val")[0].text == "a picture of a lake that has a green boat"
    protocol = source.protocol("val")
    assert (protocol.text_template, protocol.exclude_reference) == (template, True)
    default = CIRCO(assets / "circo").protocol("val")
    assert (default.text_template, default.exclude_reference) == ("{relative_caption}", False)
    assert default.map_ks == default.recall_ks == (5, 10, 25, 50)
    assert default.aspect_metrics == ("map_at_10",)


@pytest.mark.parametrize("template", ["{caption}", "{}", "plain", "{relative_caption", "{relative_caption!r}", "{0}"])
def test_wrong_templates_are_refused_before_anything_is_read(tmp_path, template):
    with pytest.raises(ValueError, match="text_template"):
        CIRCO(tmp_path, text_template=template)


def test_gallery_is_cocos_list_in_its_order(copy_of):
    root = copy_of("circo")
    source = CIRCO(root)
    gallery = source.gallery("val")
    assert [image.image_id for image in gallery] == ["16", "11", "12", "13", "14", "15"]
    assert gallery[0].path == root / "COCO2017_unlabeled/unlabeled2017/000000000016.jpg"
    assert source.image_path("test", "13").name == "000000000013.jpg"
    with pytest.raises(ValueError, match="no image has the id '99'"):
        source.image_path("test", "99")
    (root / "COCO2017_unlabeled/data").mkdir()
    assert CIRCO(root).gallery("val")[0].path.parent.name == "data"


def test_queries_need_the_annotations_only(copy_of):
    root = copy_of("circo")
    shutil.rmtree(root / "COCO2017_unlabeled")
    assert len(CIRCO(root).queries("val")) == 2
    with pytest.raises(ValueError, match=r"image_info_unlabeled2017\.json is not there; docs/circo\.md"):
        CIRCO(root).gallery("val")
    with pytest.raises(ValueError, match="experiment=cir_rooms"):
        CIRCO(root / "none").queries("val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records[1].pop("relative_caption"), r"val\.json, record 1 \(id 1\): key 'relative_caption'"),
        (lambda records: records[1].update(id=0), "query id '0' occurs twice"),
        (lambda records: records[1].update(reference_img_id="12"), "'reference_img_id' must be an integer"),
        (lambda records: records[1].update(gt_img_ids=[14]), "target_img_id 15 is not among gt_img_ids"),
        (lambda records: records[1].update(gt_img_ids=[15, 15]), "'gt_img_ids' holds 15 twice"),
        (lambda records: records[1].update(gt_img_ids=[15, 12]), "reference_img_id 12 is among its own gt_img_ids"),
        (lambda records: records[1].update(gt_img_ids=[15, 77]), "image 77 is not in"),
        (lambda records: records.clear(), "no records in it"),
    ],
)
def test_broken_records(copy_of, edit_json, change, message):
    root = copy_of("circo")
    edit_json(root / "annotations/val.json", change)
    with pytest.raises(ValueError, match=message):
        CIRCO(root).queries("val")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "lists at least one image"),
        ([3], r"images\[0\]: expected an object"),
        ([{"id": 1}], r"images\[0\]: key 'file_name' is missing"),
        ([{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "image id 1 occurs twice"),
        ([{"id": 1, "file_name": "../a.jpg"}], "is refused"),
    ],
)
def test_broken_image_list(copy_of, images, message):
    root = copy_of("circo")
    (root / "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json").write_text(json.dumps({"images": images}))
    with pytest.raises(ValueError, match=message):
        CIRCO(root).gallery("val")


def test_published_counts(published):
    source = CIRCO(published("circo"))
    queries = source.queries("val")
    assert [query.query_id for query in queries] == [str(number) for number in range(220)]
    assert [query.query_id for query in source.queries("test")] == [str(number) for number in range(800)]
    sizes = [len(query.relevant_ids) for query in queries]
    assert (sum(sizes), min(sizes), max(sizes)) == (916, 1, 14)
    assert all(query.target_image == query.relevant_ids[0] for query in queries)
    assert len({query.reference_image for query in queries}) == 220
    assert Counter(aspect for query in queries for aspect in query.aspects) == {
        "statement_with_conjunction": 164,
        "direct_addressing": 119,
        "spatial_relations_background": 100,
        "compare_change": 86,
        "addition": 80,
        "viewpoint": 54,
        "comparative_statement": 50,
        "cardinality": 37,
        "negation": 21,
    }
