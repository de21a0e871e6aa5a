"""Files of rankings under other ids, from the command to metrics.json. There is no model."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from PIL import Image

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


@pytest.fixture
def shop(tmp_path):
    """Three queries over four pictures, which lie in the data's folder."""
    root = tmp_path / "shop"
    (root / "i").mkdir(parents=True)
    for number, name in enumerate("abcd"):
        Image.new("RGB", (40, 30), (60 * number, 0, 90)).save(root / f"i/{name}.png")
    records = [
        {
            "query_id": query,
            "reference_image": f"i/{one}.png",
            "modification_texts": "x",
            "target_image": f"i/{other}.png",
        }
        for query, one, other in (("p", "a", "b"), ("q", "b", "c"), ("r", "c", "d"))
    ]
    (root / "val.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return root


SHOP = {"p": ["i/b.png", "i/c.png", "i/d.png"], "q": ["i/a.png", "i/c.png", "i/d.png"], "r": ["i/d.png"]}
RUN = "".join(
    f"{query} Q0 {image} {rank} {1 / rank} mine\n" for query, ids in SHOP.items() for rank, image in enumerate(ids, 1)
)


def of_shop(shop, text, name="file", *words):
    path = shop.parent / name
    path.write_text(text)
    more = (f"data.root={shop}", "split=val", "metrics=[recall_at_k,median_rank]", *words)
    return run_evaluate(shop.parent / f"run_{name}", f"predictions={path}", "data=own_data", *more)


def test_a_trec_run_is_scored_with_its_report_and_its_own_predictions_are_scored_again(shop, caplog):
    with caplog.at_level(logging.INFO):
        record = of_shop(shop, RUN, "run.trec")
    assert f"{shop.parent / 'run.trec'}: a TREC run: 3 queries with 1 to 3 images each" in caplog.messages
    assert record["metrics"]["recall_at_1"] == pytest.approx(2 / 3)
    assert record["gallery"]["size"] == 4
    first = shop.parent / "run_run.trec"
    page = (first / "report/index.html").read_text()
    assert page.count("data:image/") > 4 and (first / "report/sheet.jpg").is_file()
    lines = (first / "predictions.jsonl").read_text()
    assert json.loads(lines.splitlines()[0])["scores"] == [1, 0.5, 0.333333]
    again = of_shop(shop, lines, "again.jsonl")
    assert again["metrics"] == record["metrics"] and again["intervals"] == record["intervals"]
    assert (shop.parent / "run_again.jsonl/predictions.jsonl").read_text() == lines


def test_lists_shorter_than_k_stand_beside_the_metrics_and_in_a_sentence(circo):
    record = scored(circo, {"0": [12, 14], "1": [15, 16, 11]})
    ks = [name for name in record["metrics"] if name.startswith(("recall_at_", "map_at_")) and "/" not in name]
    assert set(record["short_lists"]) == {name for name in ks if name not in ("recall_at_1", "recall_at_2")}
    assert record["short_lists"]["map_at_5"] == {"lists": 2, "shortest": 2}
    (said,) = [sentence for sentence in record["signatures"] if "lower bounds" in sentence]
    assert "map_at_5" in said and "2 of 2 lists hold fewer images than K, the shortest 2" in said
    whole = {key: [number for number in range(1, 60) if number != int(key)] for key in RIGHT}
    if not (circo / "COCO2017_unlabeled").exists():
        assert "short_lists" not in scored(circo, whole, "whole")


def test_pictures_may_lie_elsewhere(shop, tmp_path, caplog):
    (shop / "i").rename(tmp_path / "photos")
    with caplog.at_level(logging.INFO):
        of_shop(shop, RUN, "none")
    assert f"there is no report of own_data: its pictures are not in {shop}; images=FOLDER" in caplog.text
    assert not (tmp_path / "run_none/report").exists()
    of_shop(shop, RUN, "some", f"images={tmp_path / 'photos'}")
    assert (tmp_path / "run_some/report/index.html").read_text().count("data:image/") > 4
    (tmp_path / "others").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "others/z.png")
    with pytest.raises(
        ValueError, match="none of its 1 pictures is one of the data, such as 'i/a.png'.* there is 'z.png'"
    ):
        of_shop(shop, RUN, "other", f"images={tmp_path / 'others'}")


def test_ids_of_queries_that_no_published_file_has_are_explained(tmp_path):
    root = shutil.copytree(ASSETS / "hotel_cir", tmp_path / "hotel")
    (tmp_path / "p.json").write_text('{"0": ["x"]}')
    with pytest.raises(
        ValueError, match=r"p.json: 1 predictions for unknown queries .* hotel-0 is the first record of"
    ):
        run_evaluate(
            *(
                tmp_path / "run",
                f"predictions={tmp_path / 'p.json'}",
                "data=hotel_cir",
                f"data.root={root}",
                "split=val",
            )
        )


def test_images_are_of_files_of_rankings(tmp_path):
    with pytest.raises(ValueError, match="images are those of a file of rankings"):
        run_evaluate(tmp_path / "run", "ckpt=nowhere", f"images={tmp_path}")
