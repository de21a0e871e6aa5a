from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.cirr import CIRR

MEMBERS = tuple(f"dev-{i}-0-img0" for i in range(6))


def test_is_a_source_and_construction_reads_nothing(tmp_path):
    source = CIRR(tmp_path / "none")
    assert isinstance(source, TripletSource)
    assert source.protocol("val").name == "cirr_val"


def test_queries(assets):
    first, second = CIRR(assets / "cirr").queries("val")
    assert (first.query_id, first.reference_image, first.target_image) == ("101", MEMBERS[0], MEMBERS[2])
    assert first.relevant_ids == (MEMBERS[2],)
    assert first.group_member_ids == MEMBERS
    # The second record's soft targets leave out its target and name an image outside the set.
    assert (second.query_id, second.target_image, second.text) == ("90", MEMBERS[0], "same kite  seen from below")


def test_triplets(assets):
    triplets = CIRR(assets / "cirr").triplets("train")
    assert [triplet.query_id for triplet in triplets] == ["101", "90"]
    assert triplets[0].modification_texts == ("two kites instead of one",)
    assert triplets[0].target_image == "train-2-0-img0"


def test_test_means_test1_and_hides_its_answers(assets):
    source = CIRR(assets / "cirr")
    queries = source.queries("test")
    assert source.queries("test1") is queries
    assert [query.text for query in queries] == ["turn the mug upside down", " "]
    assert all(query.target_image is None and query.relevant_ids == () for query in queries)
    assert source.protocol("test").answers_hidden
    assert source.protocol("test").name == "cirr_test1"
    with pytest.raises(ValueError, match="no targets"):
        source.triplets("test")
    with pytest.raises(ValueError, match="no split 'dev'"):
        source.queries("dev")


def test_official_gallery_is_the_split_file_in_its_order(assets):
    source = CIRR(assets / "cirr")
    gallery = source.gallery("val")
    assert [image.image_id for image in gallery] == [f"dev-{i}-0-img0" for i in range(8)]
    assert gallery[0].path == assets / "cirr/img_raw/dev/dev-0-0-img0.png"
    assert source.image_path("train", "train-3-0-img0") == assets / "cirr/img_raw/train/34/train-3-0-img0.png"
    protocol = source.protocol("val")
    assert (protocol.exclude_reference, protocol.recall_ks, protocol.subset_ks) == (True, (1, 5, 10, 50), (1, 2, 3))
    assert protocol.average_of == ("recall_at_5", "recall_subset_at_1")


def test_good4cir_gallery_is_the_union_with_the_reference_kept(assets):
    source = CIRR(assets / "cirr", protocol="good4cir")
    assert [image.image_id for image in source.gallery("val")] == [MEMBERS[0], MEMBERS[2], MEMBERS[1]]
    assert not source.protocol("val").exclude_reference
    assert source.protocol("val").subset_ks == ()
    assert source.protocol("test") == CIRR(assets / "cirr").protocol("test")
    assert len(source.gallery("test")) == 8
    with pytest.raises(ValueError, match="'cover' is not known"):
        CIRR(assets / "cirr", protocol="cover")


def test_layout_b(assets, tmp_path):
    shutil.copytree(assets / "cirr", tmp_path / "cirr")
    source = CIRR(tmp_path)
    assert len(source.queries("val")) == 2
    assert source.gallery("val")[0].path == tmp_path / "dev/dev-0-0-img0.png"


def test_neither_layout(tmp_path):
    with pytest.raises(ValueError, match=r"neither image_splits/ nor cirr/image_splits/; docs/cirr\.md"):
        CIRR(tmp_path).queries("val")
    with pytest.raises(ValueError, match="experiment=cir_rooms"):
        CIRR(tmp_path / "none").gallery("val")


def _set(key, value):
    return lambda records: records[1].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records[1].pop("reference"), r"val\.json, record 1 \(pairid 90\): key 'reference' is missing"),
        (_set("caption", None), "key 'caption' is missing"),
        (_set("caption", ["a"]), "key 'caption' must be a string, found a list"),
        (_set("pairid", "90"), "key 'pairid' must be an integer"),
        (_set("pairid", 101), "query id '101' occurs twice"),
        (_set("target_hard", "dev-9-9-img9"), "'target_hard' names 'dev-9-9-img9', which is not in the split's list"),
        (_set("target_hard", "dev-7-0-img0"), "'target_hard' names 'dev-7-0-img0', which is not among img_set.members"),
        (_set("img_set", {"members": MEMBERS[:5]}), "must name 6 images, found 5"),
        (_set("img_set", {"members": [*MEMBERS[:5], MEMBERS[0]]}), "holds 'dev-0-0-img0' twice"),
        (_set("img_set", []), "key 'img_set' must be an object"),
        (lambda records: records.clear(), "no records in it"),
    ],
)
def test_broken_records(copy_of, edit_json, change, message):
    root = copy_of("cirr")
    edit_json(root / "captions/cap.rc2.val.json", change)
    with pytest.raises(ValueError, match=message):
        CIRR(root).queries("val")


@pytest.mark.parametrize("path", ["../../secret.png", "/etc/passwd", "./../x.png", "C:/x.png", 3])
def test_unsafe_split_paths_are_refused(copy_of, edit_json, path):
    root = copy_of("cirr")
    edit_json(root / "image_splits/split.rc2.val.json", lambda paths: paths.update({"dev-0-0-img0": path}))
    with pytest.raises(ValueError, match=r"split\.rc2\.val\.json, key 'dev-0-0-img0'"):
        CIRR(root).gallery("val")


def test_unknown_image(assets):
    with pytest.raises(ValueError, match="no image is called 'x'"):
        CIRR(assets / "cirr").image_path("val", "x")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "pairs", "images", "references", "lowest", "highest"),
    [("val", 4181, 2297, 2165, 12060, 38762), ("test", 4148, 2315, 2178, 12063, 39059)],
)
def test_published_counts(published, split, pairs, images, references, lowest, highest):
    source = CIRR(published("cirr"))
    queries = source.queries(split)
    ids = [int(query.query_id) for query in queries]
    assert (len(queries), len(source.gallery(split)), min(ids), max(ids)) == (pairs, images, lowest, highest)
    assert len({query.reference_image for query in queries}) == references
    assert len({frozenset(query.group_member_ids) for query in queries}) == 503


def test_published_val_oddities(published):
    queries = CIRR(published("cirr")).queries("val")
    targets = {query.target_image for query in queries}
    assert len(targets) == 2206
    assert len(targets | {query.reference_image for query in queries}) == 2265
    assert all(query.reference_image != query.target_image for query in queries)
    assert len({(query.reference_image, query.target_image) for query in queries}) == 4181
    sets = {frozenset(query.group_member_ids) for query in queries}
    assert sum(count > 1 for count in Counter(name for members in sets for name in members).values()) == 549
    assert sum("  " in query.text for query in queries) == 48
    assert len(CIRR(published("cirr"), protocol="good4cir").gallery("val")) == 2265


def test_published_soft_targets_are_not_the_target(published):
    """37 records' soft labels leave the target out and 3 call it wrong: the target is `target_hard`, always."""
    root = published("cirr")
    records = json.loads((root / "captions/cap.rc2.val.json").read_text())
    soft = [record["target_soft"].get(record["target_hard"]) for record in records]
    assert (soft.count(None), soft.count(-1.0)) == (37, 3)
    targets = [query.target_image for query in CIRR(root).queries("val")]
    assert targets == [record["target_hard"] for record in records]


def test_published_test1_has_a_blank_caption(published):
    blank = [query for query in CIRR(published("cirr")).queries("test") if not query.text.strip()]
    assert [(query.query_id, query.text) for query in blank] == [("27098", " ")]


def test_published_train_list_is_in_a_hundred_folders(published):
    gallery = CIRR(published("cirr")).gallery("train")
    assert len(gallery) == 16_939
    assert {image.path.parent.name for image in gallery} == {str(number) for number in range(100)}


def test_published_files_in_layout_b(published, tmp_path):
    shutil.copytree(published("cirr") / "image_splits", tmp_path / "cirr/image_splits")
    (tmp_path / "cirr/captions").symlink_to(published("cirr") / "captions")
    source = CIRR(tmp_path)
    assert len(source.queries("val")) == 4181
    assert source.gallery("val")[0].path == tmp_path / "dev/dev-244-0-img0.png"
