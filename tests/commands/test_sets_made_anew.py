"""CIRR_R and Hotel-CIR made anew: a dataset to pairs, annotated, exported in the published layout, read back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

import golden_files
from annotation_runs import KEY, annotate, serving
from diptych.commands.main import run
from diptych.data.pairs.image_pairs import read_pairs
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.cirr_rewritten import CIRRRewritten
from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.storage import record_log
from diptych.storage.json_files import write_json
from diptych.storage.record_log import RecordLog
from tiny_runs import TINY_ROOMS_SIZES, run_pipeline_with
from tiny_sets import tiny_set

pytestmark = pytest.mark.processes

QUIET = ["trainer=cpu", "trainer.enable_progress_bar=false", "num_workers=0"]
ASKING = ("describe_reference", "describe_target", "write_modifications")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("DIPTYCH_RUNS", str(tmp_path / "runs"))
    tiny_set("rooms", tmp_path / "rooms")
    return tmp_path


def cirr_of_rooms(folder, rooms):
    """A CIRR folder whose pictures are rooms, which the loopback server can describe."""
    triplets = list({(t.reference_image, t.target_image): t for t in rooms.triplets("train")}.values())[:5]
    images = sorted({image for triplet in triplets for image in (triplet.reference_image, triplet.target_image)})
    names = {image: f"train-{number}-0-img0" for number, image in enumerate(images)}
    for image, name in names.items():
        path = folder / f"img_raw/train/0/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(rooms.image_path("train", image), path)
    write_json(folder / "image_splits/split.rc2.train.json", {name: f"./train/0/{name}.png" for name in names.values()})
    records = []
    for number, triplet in enumerate([*triplets, triplets[0]]):  # one pair occurs twice
        pair = [names[triplet.reference_image], names[triplet.target_image]]
        members = [*pair, *(name for name in names.values() if name not in pair)][:6]
        records.append(
            {
                "pairid": 40 + number,
                "reference": pair[0],
                "target_hard": pair[1],
                "caption": "another",
                "img_set": {"members": members},
            }
        )
    write_json(folder / "captions/cap.rc2.train.json", records)
    return folder


def both_layouts(place, server, layout):
    """The same answers, exported in Diptych's own layout and in another."""
    common = [f"ledger={place / 'ledger.sqlite'}", *QUIET]
    for out, words in (("own", []), ("other", [f"layout={layout}"])):
        run_pipeline_with(*annotate(server, place / out, *words, *common, pairs=str(place / "pairs.jsonl")))
    return TripletJSONL(place / "own").triplets("train")


def same(own_root, expected, source, found):
    """Whether triplets are equal but for the images' names, and those are the same pictures."""
    own = TripletJSONL(own_root)
    for ours, theirs in zip(expected, found, strict=True):
        named = {key: getattr(theirs, key) for key in ("reference_image", "target_image")}
        assert replace(ours, **named) == theirs
        for key, name in named.items():
            assert own.image_path("train", getattr(ours, key)).read_bytes() == (
                source.image_path("train", name).read_bytes()
            )


def test_cirr_r(place, capsys, caplog):
    root = cirr_of_rooms(place / "cirr", HotelCIR(place / "rooms"))
    assert run("pairs", ["data=cirr", f"data_dir={place}", f"out={place / 'pairs.jsonl'}"]) == 0
    assert "5 pairs of" in capsys.readouterr().out and "1 records name the images of an earlier one" in caplog.text
    with serving(place) as server:
        expected = both_layouts(place, server, "cirr_rewritten")
        count = server.count()["total"]
    assert count["started"] == count["distinct"]  # the second export asked nothing
    shutil.copytree(place / "other/rewritten_captions", root / "rewritten_captions")
    source = CIRRRewritten(root)
    same(place / "own", expected, source, source.triplets("train"))
    assert [triplet.query_id for triplet in expected] == ["40", "41", "42", "43", "44"]
    assert all(len(triplet.modification_texts) > 1 and triplet.group for triplet in expected)


def test_hotel_cir(place, capsys):
    words = ["data=rooms", f"data_dir={place}", *TINY_ROOMS_SIZES, f"out={place / 'all.jsonl'}"]
    assert run("pairs", words) == 0
    lines = (place / "all.jsonl").read_text().splitlines()
    (place / "pairs.jsonl").write_text("\n".join(lines[:5]))
    with serving(place) as server:
        expected = both_layouts(place, server, "hotel_cir")
    source = HotelCIR(place / "other")
    same(place / "own", expected, source, source.triplets("train"))
    rooms = HotelCIR(place / "rooms")
    by_id = {triplet.query_id: triplet for triplet in rooms.triplets("train")}
    for triplet in source.triplets("train"):
        origin = by_id[triplet.query_id]
        assert (triplet.reference_image, triplet.target_image, triplet.group) == (
            origin.reference_image,
            origin.target_image,
            origin.group,
        )


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_real_annotation_of_cirr_to_pairs_and_back(place, split, capsys, monkeypatch):
    """Its own captions stand in for a model's sentences. The pictures are not with it: empty files stand for them."""
    monkeypatch.setattr(record_log, "sync_file", lambda file: None)  # thousands of records, each on the disk: a minute
    real = golden_files.beside_the_checkout("real/cirr")
    golden_files.beside_the_checkout(f"real/cirr/captions/cap.rc2.{split}.json")
    root = place / "cirr"
    for name in ("captions", "image_splits"):
        shutil.copytree(real / name, root / name)
    for path in json.loads((root / f"image_splits/split.rc2.{split}.json").read_text()).values():
        picture = root / "img_raw" / path
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.touch()
    originals = CIRR(root).triplets(split)
    pairs_file, out = place / "pairs.jsonl", place / "cirr_r"
    assert run("pairs", ["data=cirr", f"data_dir={place}", f"split={split}", f"out={pairs_file}"]) == 0
    assert f" from {len(originals):,} records of cirr/{split}" in capsys.readouterr().out

    captions = {triplet.query_id: triplet.modification_texts[0] for triplet in originals}
    for stage in ASKING:
        RecordLog(out / "work" / stage / "records.jsonl", "pair_id").write(
            {"pair_id": pair.pair_id, "sentences": [captions[pair.pair_id]]} for pair in read_pairs(pairs_file).pairs
        )
        write_json(out / "work" / stage / "manifest.json", {"key": stage, "done": len(captions), "failed": {}})
    filters = [f"combining.filters.{name}=null" for name in ("forbidden", "length", "diversity")]
    run_pipeline_with(
        *("pipeline=annotate_triplets", f"pairs={pairs_file}", f"out={out}", "model=none", "combine=off", *filters),
        *(f"~stages.{stage}" for stage in ASKING),
        *("layout=cirr_rewritten", f"exporting.layout.split={split}", *QUIET),
    )
    summary = json.loads((out / "summary.json").read_text())
    shutil.copytree(out / "rewritten_captions", root / "rewritten_captions")
    found = CIRRRewritten(root).triplets(split)
    print(f"{split}: {len(originals)} records, {summary['pairs']} pairs, {summary['triplets']} back")  # noqa: T201
    too_long = {
        failure["pair_id"]
        for line in (out / "work/combine/failures.jsonl").read_text().splitlines()
        for failure in [json.loads(line)]
        if "too_long" in failure["message"]
    }
    first = {}
    for triplet in originals:
        first.setdefault((triplet.reference_image, triplet.target_image), triplet)
    assert found == [triplet for triplet in first.values() if triplet.query_id not in too_long]
    assert summary["not_exported"] == ({"no_texts": len(too_long)} if too_long else {})
