from __future__ import annotations

import pytest

from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.fashioniq import FashionIQ

VAL = [f"B0VAL00{i}" for i in range(4)]


def test_queries_and_joining(assets):
    source = FashionIQ(assets / "fashioniq", "dress")
    assert isinstance(source, TripletSource)
    assert source.name == "dress"
    first, second = source.queries("val")
    assert (first.query_id, first.reference_image, first.target_image) == ("dress-0", VAL[0], VAL[1])
    assert first.text == "Is longer, with dots and and has sleeves"
    assert second.text == " and is RED and (very) shiny!"  # '!' is not among the characters that CLIP4Cir strips


def test_wordings_of_triplets_are_the_captions_that_are_not_empty(assets):
    first, second = FashionIQ(assets / "fashioniq", "dress").triplets("train")
    assert first.modification_texts == ("Is longer, with dots", "and has sleeves")
    assert second.modification_texts == ("is RED and (very) shiny!",)


def test_original_protocol(assets):
    source = FashionIQ(assets / "fashioniq", "dress")
    assert [image.image_id for image in source.gallery("val")] == VAL
    protocol = source.protocol("val")
    assert (protocol.name, protocol.exclude_reference) == ("fashioniq_original", False)
    assert protocol.gallery == "all images of split.dress.val.json"
    assert protocol.recall_ks == (10, 50)
    assert protocol.average_of == ("recall_at_10", "recall_at_50")


def test_val_split_protocol(assets):
    source = FashionIQ(assets / "fashioniq", "dress", protocol="val_split")
    assert [image.image_id for image in source.gallery("val")] == [VAL[0], VAL[1], VAL[2]]
    assert source.protocol("val") != FashionIQ(assets / "fashioniq", "dress").protocol("val")
    with pytest.raises(ValueError, match="needs targets"):
        source.gallery("test")


def test_covr_protocol(copy_of, edit_json):
    root = copy_of("fashioniq")
    edit_json(
        root / "captions/cap.dress.val.json", lambda records: records[0].update(captions=["word " * 20, "more " * 20])
    )
    source = FashionIQ(root, "dress", protocol="covr")
    long, second = source.queries("val")
    assert long.text.split() == ["word"] * 20 + ["and"] + ["more"] * 9
    assert second.text == "and is red and very shiny"
    assert source.protocol("val").exclude_reference
    assert len(source.gallery("val")) == 4


def test_hidden_split(assets):
    source = FashionIQ(assets / "fashioniq", "dress")
    assert [query.target_image for query in source.queries("test")] == [None, None]
    assert source.protocol("test").answers_hidden
    with pytest.raises(ValueError, match="no targets"):
        source.triplets("test")


def test_jpeg_or_png(copy_of):
    root = copy_of("fashioniq")
    (root / "images").mkdir()
    (root / f"images/{VAL[1]}.png").touch()
    source = FashionIQ(root, "dress")
    assert [image.path.suffix for image in source.gallery("val")] == [".jpg", ".png", ".jpg", ".jpg"]
    assert source.image_path("val", VAL[1]) == root / f"images/{VAL[1]}.png"
    with pytest.raises(ValueError, match="no image is called 'x'"):
        source.image_path("val", "x")


def test_unknown_category_and_protocol(tmp_path):
    with pytest.raises(ValueError, match="no category 'hat'; choose one of dress, shirt, toptee"):
        FashionIQ(tmp_path, "hat")
    with pytest.raises(ValueError, match="choose original, val_split, covr"):
        FashionIQ(tmp_path, "dress", protocol="easy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records[0].pop("target"), r"record 0 \(candidate B0VAL000\): key 'target' is missing"),
        (lambda records: records[0].update(candidate="B0"), "key 'candidate' names 'B0', which is not in"),
        (lambda records: records[0].update(captions=["one"]), "must hold two captions, found 1"),
        (lambda records: records[0].update(captions=["", " . "]), "both captions are empty"),
        (lambda records: records.clear(), "no records in it"),
    ],
)
def test_broken_records(copy_of, edit_json, change, message):
    root = copy_of("fashioniq")
    edit_json(root / "captions/cap.dress.val.json", change)
    with pytest.raises(ValueError, match=message):
        FashionIQ(root, "dress").queries("val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda asins: asins.append(asins[0]), "occurs twice"),
        (lambda asins: asins.append(1), "list of image names"),
        (lambda asins: asins.append("../../secret"), "is refused"),
    ],
)
def test_broken_image_list(copy_of, edit_json, change, message):
    root = copy_of("fashioniq")
    edit_json(root / "image_splits/split.dress.val.json", change)
    with pytest.raises(ValueError, match=message):
        FashionIQ(root, "dress").gallery("val")


def test_absent_data(tmp_path):
    with pytest.raises(ValueError, match="experiment=cir_rooms"):
        FashionIQ(tmp_path / "none", "dress").queries("val")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("category", "counts", "union"),
    [
        ("dress", {"train": (5985, 11452), "val": (2017, 3817), "test": (2024, 3818)}, 2628),
        ("shirt", {"train": (5988, 19036), "val": (2038, 6346), "test": (2038, 6346)}, 3089),
        ("toptee", {"train": (6027, 16121), "val": (1961, 5373), "test": (2056, 5374)}, 2902),
    ],
)
def test_published_counts(published, category, counts, union):
    root = published("fashioniq")
    source = FashionIQ(root, category)
    found = {split: (len(source.queries(split)), len(source.gallery(split))) for split in source.splits}
    assert found == counts
    assert len(FashionIQ(root, category, protocol="val_split").gallery("val")) == union
    for split in ("train", "val"):
        pairs = [(triplet.reference_image, triplet.target_image) for triplet in source.triplets(split)]
        assert len(set(pairs)) == len(pairs)
        assert all(reference != target for reference, target in pairs)
        assert all(text for triplet in source.triplets(split) for text in triplet.modification_texts)


def test_published_joining(published):
    assert FashionIQ(published("fashioniq"), "dress").queries("val")[0].text == (
        "Is shiny and silver with shorter sleeves and fit and flare"
    )
