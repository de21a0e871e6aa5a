"""Files of rankings under other ids, from the command to metrics.json. There is no model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tiny_runs import run_evaluate

ASSETS = Path(__file__).parents[1] / "assets"
RIGHT = {"0": [12, 14, 13], "1": [15, 16, 11]}


@pytest.fixture(params=["with the list of images", "without it"])
def circo(request, tmp_path):
    root = shutil.copytree(ASSETS / "circo", tmp_path / "circo")
    if request.param == "without it":
        shutil.rmtree(root / "COCO2017_unlabeled")
    return root


def scored(circo, predictions, name="run"):
    path = circo.parent / f"{name}.json"
    path.write_text(json.dumps(predictions))
    words = ("data=circo", f"data.root={circo}", "split=val")
    return run_evaluate(circo.parent / name, f"predictions={path}", *words)


@pytest.mark.parametrize("written", ["{}", "{:012d}", "{:012d}.jpg"])
def test_cocos_numbers_are_read_as_files_spell_them(circo, written):
    record = scored(circo, {key: [written.format(number) for number in ids] for key, ids in RIGHT.items()})
    assert record["metrics"]["map_at_5"] == record["metrics"]["recall_at_5"] == 1.0
    assert record["counts"] == {"lists_with_an_answer": 2, "reference_first": 0}


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (
            {key: [f"img_{number}" for number in ids] for key, ids in RIGHT.items()},
            "'img_12'.* There is '1.'",
        ),
        ({"0": [12], "one": [15]}, r"1 predictions for unknown queries \(of 2 queries\): 'one'. There is '0'"),
        ({"0": [12]}, r"1 queries without a prediction \(of 2 queries\): 1"),
    ],
)
def test_other_ids_are_refused_and_named(circo, predictions, message):
    with pytest.raises(ValueError, match=message):
        scored(circo, predictions)
    assert not (circo.parent / "run/metrics.json").exists()


def test_where_no_list_holds_an_answer_it_is_said(circo):
    if not (circo / "COCO2017_unlabeled").exists():
        assert scored(circo, {"0": [0, 1, 2], "1": [0, 1, 2]}, "others")["counts"]["lists_with_an_answer"] == 0
    record = scored(circo, {"0": [11], "1": [11]})
    assert record["counts"]["lists_with_an_answer"] == 0
    assert "No list holds any accepted answer: are its ids those of this data?" in record["signatures"]


def test_a_small_gallery_is_measured_where_it_fits(circo):
    record = scored(circo, RIGHT)
    known = (circo / "COCO2017_unlabeled").exists()
    assert ("recall_at_50" in record["metrics"]) is not known
    assert ("recall_at_50" in record["protocol"].get("left_out", ())) is known


def test_paths_are_read_in_any_spelling(tmp_path):
    line = {"query_id": "1", "reference_image": "i/a.png", "modification_texts": "x", "target_image": "i/b.png"}
    (tmp_path / "val.jsonl").write_text(json.dumps(line))
    (tmp_path / "p.json").write_text(json.dumps({"1": ["./i/b.png", "i//a.png"]}))
    words = ("data=own_data", f"data.root={tmp_path}", "split=val")
    record = run_evaluate(tmp_path / "run", f"predictions={tmp_path / 'p.json'}", *words)
    assert record["metrics"]["recall_at_1"] == 1.0
    (tmp_path / "p.json").write_text(json.dumps({"1": ["b.PNG"]}))
    with pytest.raises(ValueError, match=r"'b.PNG' \(did you mean 'i/b.png'\?\). There is 'i/a.png', for example"):
        run_evaluate(tmp_path / "again", f"predictions={tmp_path / 'p.json'}", *words)


def test_the_lines_of_an_evaluation_are_scored_as_their_lists(circo):
    lines = [{"query_id": key, "ranked_ids": [str(number) for number in ids]} for key, ids in RIGHT.items()]
    path = circo.parent / "predictions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("data=circo", f"data.root={circo}", "split=val")
    record = run_evaluate(circo.parent / "lines", f"predictions={path}", *words)
    assert record["metrics"] == scored(circo, RIGHT)["metrics"]


def test_captions_of_several_files_are_scored_as_one(tmp_path):
    captions = {"00000000000000b1": "Water breaks through the dam", "1111111111111111": "A plain caption"}
    for number, (query_id, caption) in enumerate(captions.items()):
        (tmp_path / f"{number}.json").write_text(json.dumps({query_id: caption}))
    chosen = tmp_path / "chosen.jsonl"
    chosen.write_text("".join(json.dumps({"query_id": query_id}) + "\n" for query_id in captions))
    (tmp_path / "all.json").write_text(json.dumps(captions))
    words = (
        "data=openevents",
        f"data.root={ASSETS / 'openevents'}",
        "split=train",
        "data.sources.openevents.val_share=0",
    )
    words += (f"data.sources.openevents.photos={chosen}", "system/metrics@caption_metrics=[rouge_l,length]")
    parts = run_evaluate(tmp_path / "parts", f"predictions=[{tmp_path}/0.json,{tmp_path}/1.json]", *words)
    whole = run_evaluate(tmp_path / "whole", f"predictions={tmp_path}/all.json", *words)
    assert parts["metrics"] == whole["metrics"]
    with pytest.raises(ValueError, match=r"all\.json: query '00000000000000b1' has a caption in .*0\.json already"):
        run_evaluate(tmp_path / "twice", f"predictions=[{tmp_path}/0.json,{tmp_path}/all.json]", *words)
