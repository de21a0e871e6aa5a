"""The export in the published layouts: what it leaves out it names, and readers give what an annotation held."""

from __future__ import annotations

import json
import shutil

import lightning as L
import pytest
from PIL import Image

from diptych.annotation.layouts.cirr_rewritten import CIRRRewrittenLayout
from diptych.annotation.layouts.hotel_cir import HotelCIRLayout
from diptych.data.triplets.cirr_rewritten import CIRRRewritten
from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.stages.annotation.export_triplets import ExportTriplets
from diptych.stages.running.runner import PipelineRunner, StageRun
from diptych.storage.record_log import RecordLog
from tiny_sets import tiny_set

SENTENCES = ["Add a vase.", "Remove the rug."]


def annotate(folder, pairs, without=()):
    """A pair file, and the combine stage's records of all pairs but `without`."""
    lines = [dict(zip(("pair_id", "reference_image", "target_image"), pair, strict=True)) for pair in pairs]
    RecordLog(folder / "pairs.jsonl", "pair_id").write(lines)
    RecordLog(folder / "work/combine/records.jsonl", "pair_id").write(
        {
            "pair_id": pair_id,
            "sentences": SENTENCES,
            "texts": ["Add a vase.", "Remove the rug. Add a vase."],
            "parts": [[0], [1, 0]],
            "dropped": {},
        }
        for pair_id, *_ in pairs
        if pair_id not in without
    )
    return folder


def export(folder, layout=None, **settings):
    """Runs the stage; the failures by reason and the messages."""
    stage = ExportTriplets(
        folder / "pairs.jsonl", folder / "work/combine/records.jsonl", folder / "out", layout=layout, **settings
    )
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    run = StageRun("export", stage, folder / "work/export", {"layout": str(layout and layout.file)})
    PipelineRunner(trainer, folder / "work", show_progress=False).run([run])
    path = folder / "work/export/failures.jsonl"
    failures = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {failure["query_id"]: (failure["reason"], failure["message"]) for failure in failures}


def texts_of(triplets):
    return [(t.query_id, t.reference_image, t.modification_texts, t.target_image) for t in triplets]


def test_cirr_r_needs_no_picture_and_says_which_pairs_are_not_in_it(tmp_path):
    root = tiny_set("cirr", tmp_path / "cirr")
    names = [f"cirr/img_raw/train/0/train-{number}-0-img{number % 2}.png" for number in range(3)]
    (root / "img_raw/train/0/train-2-0-img0.png").unlink()
    (tmp_path / "photo.jpg").touch()
    pairs = [("100", names[0], names[1]), ("101", names[1], names[2]), ("102", names[2], names[0])]
    annotate(tmp_path, [*pairs, ("103", names[0], "photo.jpg")], without=("101",))
    failed = export(tmp_path, CIRRRewrittenLayout())
    assert {pair: reason for pair, (reason, _) in failed.items()} == {"101": "no_texts", "103": "no_name"}
    assert "photo.jpg is no image of CIRR" in failed["103"][1]
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["triplets"], summary["pairs"], summary["images"]) == (2, 4, 3)
    assert summary["not_exported"] == {"no_name": 1, "no_texts": 1}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["rewritten_captions", "summary.json"]

    shutil.copytree(tmp_path / "out/rewritten_captions", root / "rewritten_captions", dirs_exist_ok=True)
    texts = ("Add a vase.", "Remove the rug. Add a vase.")
    assert texts_of(CIRRRewritten(root).triplets("train")) == [
        ("100", "train-0-0-img0", texts, "train-1-0-img1"),
        ("102", "train-2-0-img0", texts, "train-0-0-img0"),
    ]


def test_what_a_review_rejects_is_in_no_form_of_the_texts(tmp_path):
    root = tiny_set("cirr", tmp_path / "cirr")
    images = [f"cirr/img_raw/train/0/train-{number}-0-img{number % 2}.png" for number in range(2)]
    annotate(tmp_path, [("100", *images), ("101", *images[::-1])])
    (tmp_path / "reviews.jsonl").write_text('{"pair_id": "100", "sentence": "Remove the rug.", "accepted": false}')
    export(tmp_path, CIRRRewrittenLayout(texts="joined"), reviews=tmp_path / "reviews.jsonl")
    shutil.copytree(tmp_path / "out/rewritten_captions", root / "rewritten_captions", dirs_exist_ok=True)
    found = {t.query_id: t.modification_texts for t in CIRRRewritten(root).triplets("train")}
    assert found == {"100": ("Add a vase.",), "101": ("Add a vase. Remove the rug.",)}


@pytest.fixture
def hotels(tmp_path):
    for number, name in enumerate(("1/7/a", "1/7/b", "2/7/a", "elsewhere/1/7/a")):
        path = tmp_path / f"photos/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (60 * number, 0, 0)).save(path)
    return tmp_path


def test_hotel_cir_has_its_pictures_under_their_own_names(hotels):
    photos = hotels / "photos"
    annotate(
        hotels, [("x", f"{photos}/1/7/a.png", f"{photos}/1/7/b.png"), ("y", "photos/2/7/a.png", "photos/1/7/b.png")]
    )
    assert export(hotels, HotelCIRLayout()) == {}
    source = HotelCIR(hotels / "out")
    texts = ("Add a vase.", "Remove the rug. Add a vase.")
    assert texts_of(source.triplets("train")) == [
        ("x", "1/7/a.png", texts, "1/7/b.png"),
        ("y", "2/7/a.png", texts, "1/7/b.png"),
    ]
    for name in ("1/7/a.png", "1/7/b.png", "2/7/a.png"):
        assert source.image_path("train", name).read_bytes() == (photos / name).read_bytes()
    first = (hotels / "out/captions/hotel_train_data.json").read_bytes()
    (hotels / "out/captions/hotel_train_data.json").unlink()
    assert export(hotels, HotelCIRLayout()) == {}
    assert (hotels / "out/captions/hotel_train_data.json").read_bytes() == first


def test_two_pictures_of_one_name_are_no_pair(hotels):
    photos = hotels / "photos"
    pairs = [
        ("x", f"{photos}/1/7/a.png", f"{photos}/1/7/b.png"),
        ("y", f"{photos}/elsewhere/1/7/a.png", f"{photos}/1/7/b.png"),
        ("z", f"{photos}/2/7/a.png", f"{photos}/1/7/b.png"),
    ]
    failed = export(annotate(hotels, pairs), HotelCIRLayout())
    assert {pair: reason for pair, (reason, _) in failed.items()} == {"x": "same_name", "y": "same_name"}
    assert "would both be called 1/7/a.png" in failed["x"][1]
    assert [triplet.query_id for triplet in HotelCIR(hotels / "out").triplets("train")] == ["z"]


def test_a_picture_of_an_earlier_export_is_not_taken_for_another(hotels):
    photos = hotels / "photos"
    place = hotels / "out/images/train/1/7/a.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"another")
    annotate(hotels, [("x", f"{photos}/1/7/a.png", f"{photos}/1/7/b.png")])
    with pytest.raises(ValueError, match=r"out/images/train/1/7/a\.png is another picture than .*photos/1/7/a\.png"):
        export(hotels, HotelCIRLayout())
    assert place.read_bytes() == b"another"


def test_back_to_the_own_layout(hotels):
    annotate(hotels, [("x", "photos/1/7/a.png", "photos/1/7/b.png")])
    export(hotels, HotelCIRLayout())
    export(hotels)
    assert [triplet.query_id for triplet in TripletJSONL(hotels / "out").triplets("train")] == ["x"]
